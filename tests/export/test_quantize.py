"""A gate that lets through what is as good and faster, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from export import quantize as module
from export.benchmark import Cost
from export.foreign.description import Description
from export.foreign.rows import GoldenRows
from export.quantize import quantize
from export.tasks import task_of
from models.manifest import versions
from models.registry import SHIPPED

ROWS = GoldenRows(Description(name="reorder", version="1", data=""))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    released = SHIPPED / "reorder" / versions(SHIPPED, "reorder")[-1]
    return Path(shutil.copyfile(released / "model.onnx", tmp_path / "model.onnx"))


def _scaled(by: float) -> Callable[[Path, Path], None]:
    """A graph whose first weight is another."""

    def make(graph: Path, out: Path) -> None:
        model = onnx.load(graph)
        weights = next(t for t in model.graph.initializer if t.data_type == 1 and len(t.dims) == 2)
        weights.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * np.float32(by), weights.name)
        )
        onnx.save(model, out)

    return make


def _costs(monkeypatch: pytest.MonkeyPatch, *us: float) -> None:
    given = iter(us)
    monkeypatch.setattr(module, "benchmark", lambda *_: [Cost(256, next(given), 1.0, 1.0)])


@pytest.mark.parametrize(
    ("by", "us", "why_not"),
    [
        (1.0, (1.0, 2.0), ""),
        (1.0, (1.9, 2.0), "not faster: 1.90 µs a row, float32 2.00"),
        (1.5, (1.0, 2.0), "outputs differ by up to"),
    ],
)
def test_only_what_is_as_good_and_faster_is_kept(
    graph: Path, monkeypatch: pytest.MonkeyPatch, by: float, us: tuple[float, float], why_not: str
) -> None:
    monkeypatch.setattr(module, "_KINDS", {"int8": _scaled(by)})
    _costs(monkeypatch, *us)
    (variant,) = quantize(task_of("reorder"), graph, ROWS)
    assert variant.why_not.startswith(why_not)
    assert bool(variant.why_not) == bool(why_not)
    assert graph.with_name("float32.onnx").exists() == (not why_not)


def test_the_fastest_of_those_that_pass_is_kept(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KINDS", {"int8": _scaled(1.0), "float16": _scaled(1.0 + 1e-7)})
    _costs(monkeypatch, 1.0, 2.0, 0.5, 2.0)
    quantize(task_of("reorder"), graph, ROWS)
    assert graph.read_bytes() == graph.with_name("float16.onnx").read_bytes()


def test_a_graph_that_has_no_such_form_stays(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_graph: Path, _out: Path) -> None:
        raise ValueError("no such operator")

    plain = graph.read_bytes()
    monkeypatch.setattr(module, "_KINDS", {"int8": fails})
    (variant,) = quantize(task_of("reorder"), graph, ROWS)
    assert variant.why_not == "the graph has no such form: no such operator"
    assert graph.read_bytes() == plain
