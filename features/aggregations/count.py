"""Count: how many rows there have been. Order-free; cancellations subtract what they name in `minus`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel, kinds_mask


@kernel
def _update(count: Any, slots: Any, kinds: Any, plus: int, minus: int) -> None:
    for i in range(slots.shape[0]):
        bit = 1 << kinds[i]
        if plus & bit:
            count[slots[i]] += 1
        elif minus & bit:
            count[slots[i]] -= 1


@dataclass(frozen=True)
class Count(Aggregation):
    """Counts rows of the kinds `where`, less those of the kinds `minus`."""

    minus: tuple[int, ...] = ()
    order_free = True
    mergeable = True
    undone: ClassVar[str] = "The kinds in `minus` take one off each, exactly, whatever the order they come in."

    def fields(self) -> list[Field]:
        """One signed integer: with late order, a subtraction may come before its addition."""
        return [Field("n", "i4")]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Adds or subtracts one a row."""
        _update(state["n"], slots, columns["kind"], self.mask, kinds_mask(self.minus))
        return 0

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """The count."""
        return {self.name: state["n"][slots].astype(np.float64)}

    def merge(self, into: State, other: State) -> None:
        """The sum."""
        into["n"] += other["n"]

    def describe(self) -> dict[str, str]:
        """One column."""
        return {self.name: self.doc}
