"""What a graph costs: each batch size with all inputs, and with what each caller sends."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from export.benchmark import benchmark


class Counting:
    """In place of a session: remembers what it was fed."""

    def __init__(self) -> None:
        self.fed: set[tuple[int, frozenset[str]]] = set()

    def run(self, feeds: dict[str, Any], rows: int, shared: frozenset[str]) -> None:
        self.fed.add((rows, frozenset(feeds)))


def test_callers_send_their_own_rows_apart() -> None:
    session = Counting()
    inputs = ("features", "shelf", "hours", "days")
    callers = {"a worker": ("shelf",), "a batch": ("hours", "days")}
    costs = benchmark(
        cast(Any, session),
        lambda rows, seed: {name: np.zeros((rows, 1), np.float32) for name in inputs},
        frozenset(),
        batches=(2, 8),
        callers=callers,
    )
    assert [(cost.rows, cost.caller) for cost in costs] == [(2, ""), (8, ""), (8, "a worker"), (8, "a batch")]
    assert session.fed == {
        (2, frozenset(inputs)),
        (8, frozenset(inputs)),
        (8, frozenset({"features", "shelf"})),
        (8, frozenset({"features", "hours", "days"})),
    }
