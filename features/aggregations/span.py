"""Span: the first and the last event time. Order-free (minimum and maximum)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import (
    Aggregation,
    Columns,
    Field,
    Slots,
    State,
    Times,
    age_days,
    kernel,
)


@kernel
def _update(first: Any, last: Any, slots: Any, kinds: Any, times: Any, mask: int) -> None:
    for i in range(slots.shape[0]):
        if mask & (1 << kinds[i]):
            s = slots[i]
            t = times[i]
            if first[s] == 0 or t < first[s]:
                first[s] = t
            if t > last[s]:
                last[s] = t


@dataclass(frozen=True)
class Span(Aggregation):
    """Ages of the first and of the last row of the kinds `where`."""

    order_free = True

    def fields(self) -> list[Field]:
        """Two event times in ms; 0 means never."""
        return [Field("first_ms", "i8"), Field("last_ms", "i8")]

    def update(self, state: State, slots: Slots, columns: Columns) -> None:
        """Widens the span."""
        _update(
            state["first_ms"],
            state["last_ms"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            self.mask,
        )

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """Days since the first and the last row; NaN where there was none."""
        return {
            f"{self.name}_first_age_days": age_days(state["first_ms"][slots], as_of_ms),
            f"{self.name}_last_age_days": age_days(state["last_ms"][slots], as_of_ms),
        }

    def describe(self) -> dict[str, str]:
        """Two columns."""
        return {
            f"{self.name}_first_age_days": f"{self.doc}: days since the first (NaN: none yet)",
            f"{self.name}_last_age_days": f"{self.doc}: days since the last (NaN: none yet)",
        }
