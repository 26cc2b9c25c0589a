"""Stock-out from a log of sales by the hour: alone, and beside a log of orders, to one graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export import steps
from export.datasets.hourly import has_hours, read_hourly
from export.datasets.hourset import TEST, TRAIN, VALIDATION, build
from export.datasets.periods import held_out
from export.errors import UsageError
from export.tasks import task_of
from export.work import Work
from features.vectors.shelf import joined_columns
from models.registry import load
from models.session import Session
from tests.export.hours import made_up, write_hours
from tests.export.shop import write_shop

SHARED = frozenset({"service_level"})


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hours(tmp_path_factory.mktemp("hours"), made_up(days=44, shops=10))


@pytest.fixture(scope="module")
def alone(hours: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Trained on hours alone, converted."""
    work = Work("stockout", tmp_path_factory.mktemp("alone"))
    steps.make_dataset(work, hours, seed=1)
    steps.train(work, epochs=1, tell=lambda text, share: None)
    steps.convert_graph(work)
    return work


def test_the_log_says_what_the_hours_were(hours: Path) -> None:
    made, read = made_up(days=44, shops=10), read_hourly(hours)
    assert has_hours(hours)
    assert read.items == made.items
    assert np.array_equal(read.sold, made.sold)
    assert np.array_equal(read.state, made.state)


def test_training_leaves_shops_and_the_test_period_out(hours: Path) -> None:
    arrays, periods = build(hours, seed=1)
    kept = (~held_out(made_up(days=44, shops=10).items, 0)).sum()
    assert (periods.test - periods.validation, periods.end - periods.test) == (7, 7)
    whole = arrays["days.part"]
    assert len(whole) == kept * 30
    assert [(whole == part).sum() for part in (VALIDATION, TEST)] == [kept * 7, kept * 7]
    assert len(arrays["hours.features"]) == len(arrays["hours.part"]) == len(arrays["hours.out"])
    assert len(arrays["shelf.features"]) == len(arrays["hours.features"])
    assert np.array_equal(arrays["shelf.part"], arrays["hours.part"])
    joined = np.isfinite(arrays["shelf.features"][:, joined_columns()]).sum(axis=1)
    part = arrays["shelf.part"]
    assert 0.09 < (joined[part == TRAIN] == 0).mean() < 0.16  # so that it copes where nothing can be joined
    assert (joined[part == VALIDATION] > 0).all()


def test_a_log_of_hours_teaches_hazards_and_leaves_the_position_unknown(alone: Work) -> None:
    assert steps.verify_graph(alone).problems == []
    arrays, origin = alone.dataset()
    task = task_of("stockout")
    inputs = task.inputs(arrays, origin.split, 64, seed=3)
    out = Session(alone.path("model.onnx")).run(inputs, 64, SHARED)
    assert np.isnan(out["p_stockout"]).all()
    network = alone.network(task.network())
    score = -np.log1p(-out["hazards"].astype(np.float64)).sum(axis=1)
    parts = out["hours_contributions"].sum(axis=1)
    assert np.abs(parts + network.hours.baseline - score).max() < 1e-3
    median = np.log(out["next_day"][:, 1].astype(np.float64))
    assert np.abs(out["days_contributions"].sum(axis=1) + network.days.baseline - median).max() < 1e-3
    soon = -np.log1p(-out["shelf_hazards"].astype(np.float64)).sum(axis=1)
    assert np.abs(out["shelf_contributions"].sum(axis=1) + network.shelf.baseline - soon).max() < 1e-3
    assert [head.input for head in task.heads(network, arrays, origin)] == ["hours", "days", "shelf"]
    with pytest.raises(UsageError, match="has no orders"):
        steps.release_model(alone, Path(origin.events), "", "", "1.0", alone.directory)


def test_the_same_seed_gives_the_same_model(alone: Work) -> None:
    """Whatever the process has drawn before."""
    arrays, origin = alone.dataset()
    first = alone.network(task_of("stockout").network()).state_dict()
    torch.manual_seed(99)
    again, _ = task_of("stockout").train(arrays, origin.split, 1, origin.seed, lambda text, share: None)
    assert [name for name, weights in again.state_dict().items() if not torch.equal(weights, first[name])] == []


def test_two_logs_make_one_model_that_is_released(hours: Path, tmp_path: Path) -> None:
    shop, work = write_shop(tmp_path / "shop"), Work("stockout", tmp_path / "work")
    steps.make_dataset(work, shop, seed=1, hours_events=hours)
    assert work.is_of(shop, hours)
    assert not work.is_of(shop)
    steps.train(work, epochs=1, tell=lambda text, share: None)
    evaluation = steps.evaluate(work)
    told = {metric.name for metric in evaluation.metrics}
    assert {"pinball 0.9 of demand over the lead time", "AUC of out within 4 h", "WAPE of the next day"} <= told
    assert "AUC of out within 4 h, as a worker tells it, less LightGBM" in told
    assert [metric.name for metric in evaluation.metrics if metric.ci95 is None] == []
    steps.convert_graph(work)
    assert steps.verify_graph(work).problems == []
    steps.quantize_graph(work)
    steps.benchmark_graph(work)
    steps.release_model(work, shop, "made up", "CC0", "9.9", tmp_path / "released")
    model = load(tmp_path / "released", "stockout")
    heads = [(head.input, len(head.features)) for head in model.manifest.heads]
    assert heads == [("hours", 143), ("days", 103), ("shelf", 41)]
    assert [model.session.widths[name] for name, _ in heads] == [143, 103, 41]
    assert {"item_stock.shelf", "region_stock.turns"} <= model.manifest.reads.keys()


def test_other_models_learn_from_one_log(hours: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--hours-events goes with stockout"):
        steps.make_dataset(Work("reorder", tmp_path), hours, seed=1, hours_events=hours)


def test_a_worker_that_has_no_hours_sends_none(alone: Work) -> None:
    arrays, origin = alone.dataset()
    inputs = task_of("stockout").inputs(arrays, origin.split, 20, seed=3)
    only = {name: array for name, array in inputs.items() if name not in ("hours", "days")}
    out = Session(alone.path("model.onnx")).run(only, 20, SHARED)
    assert (len(out["p_stockout"]), len(out["hazards"]), len(out["next_day"])) == (20, 0, 0)
    assert len(out["shelf_hazards"]) == 20
