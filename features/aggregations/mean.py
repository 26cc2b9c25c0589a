"""Mean: the mean of a column, from an exact sum and a count. Order-free and exactly invertible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel, kinds_mask
from features.rows import FIXED_POINT


@kernel
def _update(total: Any, n: Any, slots: Any, kinds: Any, values: Any, plus: int, minus: int) -> None:
    for i in range(slots.shape[0]):
        bit = 1 << kinds[i]
        if plus & bit:
            total[slots[i]] += values[i]
            n[slots[i]] += 1
        elif minus & bit:
            total[slots[i]] -= values[i]
            n[slots[i]] -= 1


@dataclass(frozen=True)
class Mean(Aggregation):
    """The mean of the fixed-point column `value` over the kinds `where`, less those of the kinds `minus`."""

    value: str = "value"
    minus: tuple[int, ...] = ()
    order_free = True
    undone: ClassVar[str] = "The kinds in `minus` are taken out of the mean exactly."

    def fields(self) -> list[Field]:
        """The total in thousandths, and of how many rows."""
        return [Field("total", "i8"), Field("n", "i4")]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Adds or takes out each row."""
        _update(
            state["total"],
            state["n"],
            slots,
            columns["kind"],
            columns[self.value],
            self.mask,
            kinds_mask(self.minus),
        )
        return 0

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """The mean in whole units; NaN where no row is left."""
        n = state["n"][slots]
        mean = state["total"][slots] / (np.maximum(n, 1) * float(FIXED_POINT))
        return {self.name: np.where(n > 0, mean, np.nan)}

    def describe(self) -> dict[str, str]:
        """One column."""
        return {self.name: f"{self.doc} (NaN: none)"}
