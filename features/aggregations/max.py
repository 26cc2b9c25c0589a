"""Max: the largest value of a column. Order-free; a value that was taken in cannot be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel
from features.rows import FIXED_POINT

_NONE = np.iinfo(np.int64).min


@kernel
def _update(value: Any, slots: Any, kinds: Any, values: Any, mask: int) -> None:
    for i in range(slots.shape[0]):
        if mask & (1 << kinds[i]) and values[i] > value[slots[i]]:
            value[slots[i]] = values[i]


@dataclass(frozen=True)
class Max(Aggregation):
    """The largest value of the fixed-point column `value` over the kinds `where`."""

    value: str = "value"
    order_free = True
    undone: ClassVar[str] = "Cancellations and returns take no part: what was the largest value stays it."

    def fields(self) -> list[Field]:
        """The value in thousandths."""
        return [Field("value", "i8")]

    def init(self, state: State) -> None:
        """A value lower than any, so that 0 and negative values are values."""
        state["value"][...] = _NONE

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Compares each row's value."""
        _update(state["value"], slots, columns["kind"], columns[self.value], self.mask)
        return 0

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """The value in whole units; NaN where there was none."""
        value = state["value"][slots]
        return {self.name: np.where(value == _NONE, np.nan, value / FIXED_POINT)}

    def describe(self) -> dict[str, str]:
        """One column."""
        return {self.name: f"{self.doc} (NaN: none yet)"}
