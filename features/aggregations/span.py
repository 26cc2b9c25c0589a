"""Span: the first and the last event time, in whole seconds. Order-free (minimum and maximum)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel
from features.aggregations.seconds import second_age_days


@kernel
def _update(first: Any, last: Any, slots: Any, kinds: Any, times: Any, mask: int) -> None:
    for i in range(slots.shape[0]):
        if mask & (1 << kinds[i]):
            s = slots[i]
            second = times[i] // 1000
            if first[s] == 0 or second < np.int64(first[s]):
                first[s] = second
            if second > np.int64(last[s]):
                last[s] = second


@dataclass(frozen=True)
class Span(Aggregation):
    """Ages of the first and of the last row of the kinds `where`."""

    order_free = True
    undone: ClassVar[str] = "Cancellations and returns take no part: an order that was undone was still one."

    def fields(self) -> list[Field]:
        """Two event times in whole seconds; 0 means never."""
        return [Field("first_s", "u4"), Field("last_s", "u4")]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Widens the span."""
        _update(
            state["first_s"],
            state["last_s"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            self.mask,
        )
        return 0

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """Days since the first and the last row; NaN where there was none."""
        return {
            f"{self.name}_first_age_days": second_age_days(state["first_s"][slots], as_of_ms),
            f"{self.name}_last_age_days": second_age_days(state["last_s"][slots], as_of_ms),
        }

    def describe(self) -> dict[str, str]:
        """Two columns."""
        return {
            f"{self.name}_first_age_days": f"{self.doc}: days since the first (NaN: none yet)",
            f"{self.name}_last_age_days": f"{self.doc}: days since the last (NaN: none yet)",
        }
