"""Decayed: a sum in which a row halves its weight every half-life; read as of any event time.

Late rows are weighted by their own age, so they count as they would have in order (up to float rounding). Times are
whole seconds and the sum is a 32-bit float: a rounding of 6e-8 of the sum a row, which decays as the rows do.

Source: G. Cormode et al., "Forward decay" (ICDE 2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Aggregation, Columns, Field, Slots, State, Times, kernel
from features.rows import FIXED_POINT

_DAY_S = DAY_MS // 1000


@kernel
def _update(
    total: Any, at: Any, slots: Any, kinds: Any, times: Any, values: Any, mask: int, half_life_s: float
) -> None:
    for i in range(slots.shape[0]):
        if mask & (1 << kinds[i]):
            s = slots[i]
            now = times[i] // 1000
            before = np.int64(at[s])
            held = np.float64(total[s])
            if now >= before:
                if before > 0:
                    held *= 2.0 ** ((before - now) / half_life_s)
                total[s] = held + values[i]
                at[s] = now
            else:
                total[s] = held + values[i] * 2.0 ** ((now - before) / half_life_s)


@dataclass(frozen=True)
class Decayed(Aggregation):
    """Exponentially decayed sum of the fixed-point column `value`, or count of rows where `value` is None."""

    half_life_days: float = 30.0
    value: str | None = None
    undone: ClassVar[str] = "Cancellations and returns take no part: what was added decays by itself."

    def fields(self) -> list[Field]:
        """The sum as of the newest event time, and that time in whole seconds."""
        return [Field("total", "f4"), Field("at_s", "u4")]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Decays to the row's time and adds."""
        values = np.ones(len(slots)) if self.value is None else columns[self.value] / FIXED_POINT
        _update(
            state["total"],
            state["at_s"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            values,
            self.mask,
            self.half_life_days * _DAY_S,
        )
        return 0

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """The sum decayed to `as_of_ms`."""
        elapsed_ms = np.maximum(as_of_ms - state["at_s"][slots].astype(np.int64) * 1000, 0)
        decay = np.exp2(-elapsed_ms / (self.half_life_days * DAY_MS))
        return {self.name: state["total"][slots].astype(np.float64) * decay}

    def describe(self) -> dict[str, str]:
        """One column."""
        return {self.name: f"{self.doc}, half-life {self.half_life_days:g} days"}
