"""A graph is told to be wrong where one of its values is, and not because two good ones are off in two ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export import verify as module
from export.tasks.stockout import Stockout
from export.verify import Verdict, gaps, verify

Floats = NDArray[np.float32]


class Given(Stockout):
    """A task whose graph gives what it is told to."""

    def hostile(self, inputs: Any) -> list[Any]:
        return []

    def problems(self, inputs: Any, outputs: Any) -> list[str]:
        return []


class Graph:
    """Gives the first rows of what it is made with."""

    def __init__(self, **outputs: Floats) -> None:
        self.outputs = outputs

    def run(self, inputs: Any, rows: int, shared: frozenset[str]) -> dict[str, Floats]:
        return {name: np.resize(value, rows) for name, value in self.outputs.items()}


def verified(
    monkeypatch: pytest.MonkeyPatch, torch_says: dict[str, Floats], graph_says: dict[str, Floats], position: Floats
) -> Verdict:
    monkeypatch.setattr(
        module,
        "reference",
        lambda network, task, inputs: Graph(**torch_says).run(inputs, len(inputs["position"]), frozenset()),
    )
    graph: Any = Graph(**graph_says)
    return verify(Given(), None, graph, lambda rows, seed: {"position": np.resize(position, rows)})


def of(*values: float) -> Floats:
    return np.array(values, np.float32)


def test_rounding_of_a_large_value_and_of_a_small_one_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_says = {"p": of(0.1, 0.2), "order_quantity": of(30_000.0, 0.0293)}
    graph_says = {"p": of(0.1, 0.2), "order_quantity": of(30_000.004, 0.02934)}
    found = verified(monkeypatch, torch_says, graph_says, of(0.0, 0.0))
    assert found.problems == []
    assert found.parity.max_abs_difference == pytest.approx(0.0039, abs=1e-3)
    assert found.parity.max_rel_difference == pytest.approx(0.0014, abs=1e-3)


@pytest.mark.parametrize("wrong", [31_000.0, float("nan"), float("inf")])
def test_one_wrong_value_among_many_is_told(monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    p, right = of(0.1, 0.2, 0.3), of(30_000.0, 5.0, 1.0)
    found = verified(
        monkeypatch,
        {"p": p, "order_quantity": right},
        {"p": p, "order_quantity": of(wrong, 5.0, 1.0)},
        of(0.0, 0.0, 0.0),
    )
    assert len(found.problems) == len(module.BATCHES)
    assert found.problems[0].startswith("batch 1: order_quantity differs in 1 places, by ")


def test_what_is_left_of_two_large_numbers_is_known_as_well_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    p, position = of(0.1, 0.2), of(60_000.0, 60_000.0)
    right = {"p": p, "order_quantity": of(1.0, 0.5)}
    assert verified(monkeypatch, right, {"p": p, "order_quantity": of(1.004, 0.5)}, position).problems == []
    assert verified(monkeypatch, right, {"p": p, "order_quantity": of(1.004, 0.5)}, of(3.0, 3.0)).problems != []
    assert verified(monkeypatch, right, {"p": p, "order_quantity": of(3.0, 0.5)}, position).problems != []


def test_outputs_of_another_shape_are_as_far_off_as_can_be() -> None:
    assert gaps(of(1.0, 2.0), of(1.0))[0].tolist() == [np.inf]
