"""Decayed: a sum in which a row halves its weight every half-life; read as of any event time.

Late rows are weighted by their own age, so they count as they would have in order (up to float rounding).

Source: G. Cormode et al., "Forward decay" (ICDE 2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Aggregation, Columns, Field, Slots, State, Times, kernel
from features.rows import FIXED_POINT


@kernel
def _update(
    total: Any, at: Any, slots: Any, kinds: Any, times: Any, values: Any, mask: int, half_life_ms: float
) -> None:
    for i in range(slots.shape[0]):
        if mask & (1 << kinds[i]):
            s = slots[i]
            t = times[i]
            if t >= at[s]:
                if at[s] > 0:
                    total[s] = total[s] * 2.0 ** ((at[s] - t) / half_life_ms)
                total[s] += values[i]
                at[s] = t
            else:
                total[s] += values[i] * 2.0 ** ((t - at[s]) / half_life_ms)


@dataclass(frozen=True)
class Decayed(Aggregation):
    """Exponentially decayed sum of the fixed-point column `value`, or count of rows where `value` is None."""

    half_life_days: float = 30.0
    value: str | None = None

    def fields(self) -> list[Field]:
        """The sum as of the newest event time, and that time."""
        return [Field("total", "f8"), Field("at_ms", "i8")]

    def update(self, state: State, slots: Slots, columns: Columns) -> None:
        """Decays to the row's time and adds."""
        values = np.ones(len(slots)) if self.value is None else columns[self.value] / FIXED_POINT
        _update(
            state["total"],
            state["at_ms"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            values,
            self.mask,
            self.half_life_days * DAY_MS,
        )

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """The sum decayed to `as_of_ms`."""
        elapsed = np.maximum(as_of_ms - state["at_ms"][slots], 0) / (self.half_life_days * DAY_MS)
        return {self.name: state["total"][slots] * np.exp2(-elapsed)}

    def describe(self) -> dict[str, str]:
        """One column."""
        return {self.name: f"{self.doc}, half-life {self.half_life_days:g} days"}
