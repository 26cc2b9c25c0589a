"""Files as people have them: exported for one size, in another precision, by torch.jit, or in two pieces."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from export.errors import UsageError
from export.foreign.description import Description
from export.foreign.importing import import_model
from export.foreign.rows import GoldenRows
from features.vectors import contract
from features.vectors.reorder import FEATURES
from models.manifest import read_manifest
from models.session import Session
from tests.export.foreign.test_importing import COLUMNS, Forest, command, saved, told

ROWS = torch.export.Dim("rows", min=1, max=1_000_000)


class Whole(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Takes all features, and gives all that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(33, 64), nn.Tanh(), nn.Linear(64, 3))

    def forward(self, features: Any) -> Any:
        known = torch.nan_to_num(features, 0.0, 0.0, 0.0).clamp(-100.0, 100.0)
        steps = torch.nn.functional.softplus(self.net(known))
        return torch.sigmoid(torch.cumsum(steps, dim=1) - 4.0), torch.zeros_like(known)


class Precise(Forest):
    """Works in float64, and has an operator that onnxruntime has not in it, or only such as it has."""

    def __init__(self, curve: nn.Module) -> None:
        super().__init__()
        self.net[1] = curve
        self.double()

    def forward(self, x: Any) -> Any:
        return super().forward(x.double())


class Squeezing(Forest):
    """One row is no row to it."""

    def forward(self, x: Any) -> Any:
        return super().forward(x.squeeze())


class Demanding(nn.Module):  # type: ignore[misc]
    """Stock-out of four inputs: what is asked for in a lead time is in proportion to it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.rate = nn.Linear(len(contract("stockout").features), 1)

    def forward(self, features: Any, lead_time_days: Any, position: Any, service_level: Any) -> Any:
        rate = torch.nn.functional.softplus(self.rate(torch.log1p(features.clamp(0.0, 1e4)))).squeeze(1)
        mean = rate * torch.nan_to_num(lead_time_days, 1.0, 1e3, 1.0).clamp(1.0, 1e3)
        here = torch.nan_to_num(position, 0.0, 1e6, 0.0).clamp(0.0, 1e6)
        quantiles = torch.stack([0.5 * mean, mean, 2.0 * mean], dim=1)
        order = (mean * (1.0 + torch.nan_to_num(service_level).clamp(0.0, 1.0)) - here).clamp_min(0.0)
        risk = torch.sigmoid((mean - here).clamp(-20.0, 20.0))
        return torch.where(torch.isnan(position), position, risk), quantiles, order


class Remembering(nn.Module):  # type: ignore[misc]
    """Knows the names of products, and what the customer bought lately."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.vectors = nn.Embedding(100, 8)
        self.net = nn.Linear(3 + 16, 3)

    def forward(self, features: Any, customer: Any, item: Any, words: Any, place: Any, age_days: Any) -> Any:
        names = self.vectors(words.remainder(100)).mean(dim=1)
        lately = names[place].mean(dim=1)
        known = torch.log1p(features.clamp(0.0, 1e6))
        steps = torch.nn.functional.softplus(self.net(torch.cat([known, names[item], lately[customer]], dim=1)))
        return torch.sigmoid(torch.cumsum(steps, dim=1) - 4.0)


SEQUENCES = ("customer", "item", "words", "place", "age_days")


def as_onnx(path: Path, sizes: Any) -> Path:
    names: Any = {"input_names": ["features"], "output_names": ["probability", "contributions"]}
    torch.onnx.export(Whole().eval(), (torch.rand(8, 33),), path, dynamo=True, dynamic_shapes=sizes, **names)
    return path


def of_size(rows: int) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        torch.export.save(torch.export.export(Forest(), (torch.rand(rows, 3),)), path.with_suffix(".pt2"))
        return path.with_suffix(".pt2")

    return make


def damaged(path: Path) -> Path:
    whole = saved(Forest(), path.with_suffix(".pt")).read_bytes()
    path.with_suffix(".pt").write_bytes(whole.replace(b"PK\x01\x02", b"PK\xff\xff"))
    return path.with_suffix(".pt")


def scripted(path: Path) -> Path:
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # people have such files
        torch.jit.save(torch.jit.trace(Forest().eval(), torch.rand(64, 3)), path.with_suffix(".pt"))
    return path.with_suffix(".pt")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (of_size(1), r"was exported for one number of rows .*`dynamic_shapes`"),
        (of_size(8), r"was exported for one number of rows .*`dynamic_shapes`"),
        (of_size(64), r"was exported for one number of rows .*`dynamic_shapes`"),
        (lambda path: saved(Squeezing(), path.with_suffix(".pt")), r"takes 64 rows, but not one \("),
        (scripted, r"is TorchScript, which is not converted here: of the Python module .* or write an .onnx"),
        (
            lambda path: saved(Precise(nn.GELU()), path.with_suffix(".pt2")),
            r"cannot run .*Erf.* after module.float\(\)",
        ),
        (damaged, r"is no file of torch"),
    ],
)
def test_what_cannot_be_run_is_told(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        import_model(make(tmp_path / "m"), told(), tmp_path / "registry", trusted=True)
    assert not list((tmp_path / "registry").glob("*/*"))


def test_a_module_in_another_precision_gives_what_the_engine_reads(tmp_path: Path) -> None:
    directory = import_model(saved(Precise(nn.ReLU()), tmp_path / "m.pt2"), told(), tmp_path / "registry")
    outputs = Session(directory / "model.onnx").run({"features": np.ones((5, 33), np.float32)}, rows=5)
    assert {name: array.dtype for name, array in outputs.items()} == dict.fromkeys(outputs, np.dtype(np.float32))


def test_a_module_of_several_inputs_becomes_a_graph(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save(Demanding(), path)
    description = Description(name="stockout", version="7.0.0", data="a made-up shop")
    directory = import_model(path, description, tmp_path / "registry", trusted=True)
    rows = GoldenRows(description)(50, 3)
    given = {name: rows[name] for name in ("features", "lead_time_days", "position", "service_level")}
    found = Session(directory / "model.onnx").run(given, rows=50, shared=frozenset({"service_level"}))
    with torch.no_grad():
        known = given | {"features": np.nan_to_num(given["features"])}
        wanted = Demanding()(*(torch.from_numpy(known[name]) for name in given))
    for name, value in zip(("p_stockout", "demand_quantiles", "order_quantity"), wanted, strict=True):
        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-4, atol=1e-5)
    total = found["contributions"].sum(axis=1)
    np.testing.assert_allclose(total + at_reference(given), np.log1p(found["demand_quantiles"][:, 1]), atol=1e-3)


def at_reference(given: dict[str, Any]) -> Any:
    """What the module says of a row of which nothing is known, over each row's lead time."""
    blank = {name: torch.from_numpy(value) for name, value in given.items()}
    blank["features"] = torch.zeros_like(blank["features"])
    with torch.no_grad():
        return torch.log1p(Demanding()(*blank.values())[1][:, 1]).numpy()


def test_contributions_are_counted_with_the_same_purchases(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save(Remembering(), path)
    description = told(inputs={name: name for name in ("features", *SEQUENCES)})
    directory = import_model(path, description, tmp_path / "registry", trusted=True)
    rows = GoldenRows(description)(60, 3)
    shared = frozenset({"words", "place", "age_days"})
    found = Session(directory / "model.onnx").run(rows, rows=60, shared=shared)
    known, unknown = np.nan_to_num(found_columns(rows["features"])), np.zeros((60, 3), np.float32)
    behind = [torch.from_numpy(rows[name]) for name in SEQUENCES]
    with torch.no_grad():
        told_, blank = (Remembering()(torch.from_numpy(x), *behind)[:, -1].numpy() for x in (known, unknown))
    np.testing.assert_allclose(found["probability"][:, -1], told_, atol=1e-5)
    np.testing.assert_allclose(found["contributions"].sum(axis=1), logit(told_) - logit(blank), atol=1e-3)


def found_columns(features: NDArray[np.float32]) -> NDArray[np.float32]:
    return features[:, [list(FEATURES).index(name) for name in COLUMNS]]


def logit(p: NDArray[np.float32]) -> NDArray[np.float64]:
    p = p.astype(np.float64).clip(1e-6, 1 - 1e-6)
    return np.asarray(np.log(p) - np.log1p(-p))


def test_weights_in_a_constant_beside_come_along(tmp_path: Path) -> None:
    whole = onnx.load(as_onnx(tmp_path / "whole.onnx", ({0: ROWS},)))
    for weight in list(whole.graph.initializer):
        whole.graph.node.insert(0, onnx.helper.make_node("Constant", [], [weight.name], value=weight))
    del whole.graph.initializer[:]
    path = tmp_path / "m.onnx"
    onnx.save_model(whole, path, save_as_external_data=True, location="m.data", convert_attribute=True)
    directory = import_model(path, told(features=[]), tmp_path / "registry")
    (tmp_path / "m.data").unlink()
    assert Session(directory / "model.onnx").outputs == ["probability", "contributions"]


def test_weights_in_a_file_beside_come_along(tmp_path: Path) -> None:
    path = as_onnx(tmp_path / "m.onnx", ({0: ROWS},))
    assert (tmp_path / "m.onnx.data").exists()
    directory = import_model(path, told(features=[]), tmp_path / "registry")
    for piece in (path, tmp_path / "m.onnx.data"):
        piece.unlink()
    features = np.random.default_rng(1).random((7, 33), np.float32)
    found = Session(directory / "model.onnx").run({"features": features}, rows=7)
    with torch.no_grad():
        wanted = Whole().eval()(torch.from_numpy(features))[0]
    np.testing.assert_allclose(found["probability"], wanted.numpy(), atol=1e-6)
    assert read_manifest(directory).version == "7.0.0"


def test_weights_beside_that_are_gone_are_told(tmp_path: Path) -> None:
    path = as_onnx(tmp_path / "m.onnx", ({0: ROWS},))
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(UsageError, match=r"m.onnx is no ONNX model: .*m.onnx.data"):
        import_model(path, told(features=[]), tmp_path / "registry")


def test_a_graph_of_one_size_is_told(tmp_path: Path) -> None:
    path = as_onnx(tmp_path / "m.onnx", None)
    assert [d.dim_value for d in onnx.load(path).graph.input[0].type.tensor_type.shape.dim] == [8, 33]
    with pytest.raises(UsageError, match=r"does not run on .* for any number of rows: .*invalid dimensions"):
        import_model(path, told(features=[]), tmp_path / "registry")


def test_messages_keep_their_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(saved(Forest(outputs=2), tmp_path / "m.pt2"), tmp_path, monkeypatch) == 2
    assert "has the shape (64, 2); wanted is float32[n, 3]" in capsys.readouterr().err
