"""Trees in torch and in onnxruntime decide as LightGBM does, whatever the features, and agree to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from export.convert import convert, reference
from export.networks.reorder import ReorderNet
from export.networks.trees import ToldTrees, Trees, translations
from export.work import Work
from features.vectors.reorder import FEATURES
from models.session import Session
from tests.export.networks.test_reorder import sequences

WIDTH = len(FEATURES)


def rows(count: int, seed: int, unknown: float = 0.1) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    made = rng.lognormal(0.0, 2.0, (count, WIDTH)).astype(np.float32)
    made[:, 1::3] = np.round(made[:, 1::3])
    made[rng.random(made.shape) < unknown] = np.nan
    return made


def booster(trees: int = 40, unknown: float = 0.1) -> Any:
    known = rows(3000, 1, unknown)
    cause = np.nan_to_num(known[:, 0], nan=3.0) * (1.0 + np.isnan(known[:, 2])) > np.nan_to_num(known[:, 1])
    how = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1, "deterministic": True}
    return lgb.train(how, lgb.Dataset(known, cause.astype(int)), num_boost_round=trees)


def trees_of(of: Any, weight: float = 1.0) -> Trees:
    made = Trees()
    made.learn(of, weight)
    return made


def asked(trees: Trees) -> NDArray[np.float32]:
    """Rows as in training, of absurd values, and of every threshold with the values next to it."""
    absurd = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, -0.0, 1e-40], np.float32)
    limits = np.unique(trees.threshold.numpy())
    limits = limits[np.abs(limits) < 1e38]
    near = [limits, np.nextafter(limits, np.float32(np.inf)), np.nextafter(limits, np.float32(-np.inf))]
    every = np.concatenate([absurd, *near])
    mixed = np.random.default_rng(5).choice(every, (4000, WIDTH))
    return np.concatenate([rows(4000, 2), np.repeat(every[:, None], WIDTH, axis=1), mixed])


def told(trees: Trees, features: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        return np.asarray(trees(torch.from_numpy(features)).numpy())


def network(trees: Any) -> ReorderNet:
    torch.manual_seed(1)
    made = ReorderNet()
    made.inputs.learn(np.nan_to_num(rows(500, 3)))
    if trees is not None:
        made.trees.learn(trees, 0.4)
        torch.nn.init.zeros_(made.places.net.last)  # the rank is that of the trees alone
    return made.eval()  # type: ignore[no-any-return]


def inputs(features: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    return {"features": features} | {k: v.numpy() for k, v in sequences(rows=len(features)).items()}


def written(of: ReorderNet, into: Path) -> Session:
    convert(of, "reorder", inputs(rows(64, 4)), into / "model.onnx")
    return Session(into / "model.onnx")


@pytest.mark.parametrize("unknown", [0.1, 0.0])
def test_torch_decides_as_lightgbm(unknown: float) -> None:
    """Also where no value was unknown in training: LightGBM takes unknown ones for 0 then."""
    of = booster(unknown=unknown)
    trees = trees_of(of)
    features = asked(trees)
    expected = of.predict(features, raw_score=True, num_threads=1)
    np.testing.assert_allclose(told(trees, features), expected, rtol=0, atol=1e-5)
    assert (np.bincount(trees.tree.numpy()) > 3).all()


def test_onnxruntime_gives_what_torch_gives(tmp_path: Path) -> None:
    net = network(booster())
    session = written(net, tmp_path)
    features = asked(net.trees)
    for size in (1, 16, 33, 256, len(features)):
        given = inputs(features[-size:])
        found = session.run(given, rows=size, shared=frozenset({"words", "place", "age_days"}))["rank"]
        np.testing.assert_array_equal(found, reference(net, "reorder", given)["rank"])
        np.testing.assert_array_equal(found, told(net.trees, features[-size:]))
    assert (tmp_path / "model.onnx").stat().st_size < 3_000_000
    assert "TreeEnsembleRegressor" in {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}


@pytest.mark.parametrize("weight", [0.4, 1.0, 1e3])
def test_the_order_of_a_sum_does_not_matter(weight: float) -> None:
    trees = trees_of(booster(), weight)
    leaves = trees.value.numpy()[trees.left.numpy() == np.arange(len(trees.left))]
    lot = np.random.default_rng(6)
    for _ in range(200):
        some = lot.choice(leaves, 12, replace=False)
        sums = {np.add.accumulate(lot.permutation(some))[-1] for _ in range(10)}
        assert len(sums) == 1
    largest = [np.abs(trees.value.numpy()[trees.tree.numpy() == t]).max() for t in range(40)]
    assert {np.add.accumulate(lot.permutation(largest))[-1] for _ in range(50)} == {np.sum(largest, dtype=np.float64)}


def told_trees(of: Any) -> ToldTrees:
    made = ToldTrees(WIDTH)
    made.learn(of, 0.5)
    return made


def test_what_features_add_sums_to_what_the_trees_say() -> None:
    of = booster()
    trees = told_trees(of)
    features = asked(trees)
    adds = told(trees, features)
    assert adds.shape == (len(features), WIDTH)
    sums = adds.sum(axis=1)
    np.testing.assert_allclose(sums, 0.5 * of.predict(features, raw_score=True, num_threads=1), rtol=0, atol=5e-5)
    np.testing.assert_array_equal(sums, adds[:, ::-1].sum(axis=1))
    never = of.feature_importance() == 0
    assert never.any()
    assert not adds[:, never].any()
    blame = np.abs(told(trees, rows(2000, 9))).mean(axis=0)
    assert set(np.argsort(-blame)[:3]) == {0, 1, 2}  # the booster was taught that these are the cause


def test_onnxruntime_gives_what_features_add(tmp_path: Path) -> None:
    trees = told_trees(booster())
    features = asked(trees)
    path, rows_of = tmp_path / "told.onnx", torch.export.Dim("n", min=1, max=1_000_000)
    torch.onnx.export(
        trees.eval(),
        (torch.from_numpy(features[:64]),),
        dynamo=True,
        input_names=["features"],
        output_names=["adds"],
        dynamic_shapes=({0: rows_of},),
        custom_translation_table=translations(trees),
        verbose=False,
    ).save(path)
    session = Session(path)
    for size in (1, 16, 33, len(features)):
        found = session.run({"features": features[-size:]}, rows=size)["adds"]
        np.testing.assert_array_equal(found, told(trees, features[-size:]))


def test_each_trees_of_a_network_are_written_as_they_are(tmp_path: Path) -> None:
    """The rank's, and those that correct the chances, whose contributions still add up."""
    net = network(booster())
    net.corrections.learn(booster(20, unknown=0.0), 0.3)
    session = written(net, tmp_path)
    given, shared = inputs(rows(512, 10)), frozenset({"words", "place", "age_days"})
    found, expected = session.run(given, rows=512, shared=shared), reference(net, "reorder", given)
    for name in ("rank", "probability", "contributions"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)
    odds = np.log(found["probability"][:, 2]) - np.log1p(-found["probability"][:, 2].astype(np.float64))
    np.testing.assert_allclose(found["contributions"].sum(axis=1) + net.baseline, odds, rtol=0, atol=1e-3)
    assert np.abs(found["contributions"]).max() > 0.1


def test_without_trees_features_add_nothing() -> None:
    trees = ToldTrees(WIDTH)
    assert told(trees, rows(5, 7)).shape == (5, WIDTH)
    assert not told(trees, rows(5, 7)).any()


def test_without_trees_there_is_nothing_to_add(tmp_path: Path) -> None:
    flat = lgb.train({"objective": "binary", "verbose": -1}, lgb.Dataset(np.ones((50, WIDTH)), np.arange(50) % 2), 5)
    for none in (None, flat):
        assert not told(trees_of(none), rows(5, 7)).any()
    net = network(None)
    session, given = written(net, tmp_path), inputs(rows(64, 8))
    found = session.run(given, rows=64, shared=frozenset({"words", "place", "age_days"}))["rank"]
    np.testing.assert_allclose(found, reference(net, "reorder", given)["rank"], rtol=1e-4, atol=1e-5)


def test_a_checkpoint_holds_them(tmp_path: Path) -> None:
    net, work = network(booster()), Work("reorder", tmp_path)
    work.save_network(net)
    again = work.network(ReorderNet())
    features = asked(net.trees)
    np.testing.assert_array_equal(told(again.trees, features), told(net.trees, features))
    assert len(again.trees.tree) == len(net.trees.tree) > 0


def test_a_split_by_category_is_refused() -> None:
    known = np.random.default_rng(1).integers(0, 6, (900, 2)).astype(np.float64)
    data = lgb.Dataset(known, np.isin(known[:, 0], (1, 4)).astype(int), categorical_feature=[0])
    of = lgb.train({"objective": "binary", "verbose": -1, "min_data_per_group": 10, "max_cat_to_onehot": 1}, data, 3)
    with pytest.raises(ValueError, match="only numeric splits"):
        trees_of(of)
