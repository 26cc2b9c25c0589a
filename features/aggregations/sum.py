"""Sum: an exact total in fixed point. Order-free and exactly invertible, since integers add without rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel, kinds_mask
from features.rows import FIXED_POINT


@kernel
def _update(total: Any, slots: Any, kinds: Any, values: Any, plus: int, minus: int) -> None:
    for i in range(slots.shape[0]):
        bit = 1 << kinds[i]
        if plus & bit:
            total[slots[i]] += values[i]
        elif minus & bit:
            total[slots[i]] -= values[i]


@dataclass(frozen=True)
class Sum(Aggregation):
    """Adds the fixed-point column `value` of the kinds `where`, subtracts it for the kinds `minus`."""

    value: str = "value"
    minus: tuple[int, ...] = ()
    order_free = True
    undone: ClassVar[str] = "The kinds in `minus` are taken off exactly, whatever the order they come in."

    def fields(self) -> list[Field]:
        """The total in thousandths."""
        return [Field("total", "i8")]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Adds or subtracts each row's value."""
        _update(state["total"], slots, columns["kind"], columns[self.value], self.mask, kinds_mask(self.minus))
        return 0

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """The total in whole units."""
        return {self.name: state["total"][slots] / FIXED_POINT}

    def describe(self) -> dict[str, str]:
        """One column."""
        return {self.name: self.doc}
