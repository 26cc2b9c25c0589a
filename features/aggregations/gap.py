"""Gap: mean and deviation of the time between events, by Welford's method (no E[x²] − E[x]² cancellation).

Gaps between ordered times add up to the span from the first to the last, so the mean is exact at any number of events.
Times are whole seconds. Rows at or before the last event time add no gap: a late event cannot be inserted between two
gaps already folded.

Source: B. P. Welford, Technometrics 4 (1962), 419-420.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Aggregation, Columns, Field, Slots, State, Times, kernel

_DAY_S = float(DAY_MS // 1000)


@kernel
def _update(
    m2: Any, first: Any, last: Any, n: Any, slots: Any, kinds: Any, times: Any, mask: int, day_s: float
) -> None:
    for i in range(slots.shape[0]):
        if mask & (1 << kinds[i]):
            s = slots[i]
            now = times[i] // 1000
            start, before, gaps = np.int64(first[s]), np.int64(last[s]), np.int64(n[s])
            if start == 0:
                first[s] = now
                last[s] = now
            elif now > before:
                gap = (now - before) / day_s
                old = (before - start) / day_s / gaps if gaps > 0 else 0.0
                new = (now - start) / day_s / (gaps + 1)
                m2[s] += max((gap - old) * (gap - new), 0.0)  # rounding may bring equal gaps below 0
                n[s] = gaps + 1
                last[s] = now


@dataclass(frozen=True)
class Gap(Aggregation):
    """Statistics of the days between consecutive rows of the kinds `where`."""

    undone: ClassVar[str] = "Cancellations and returns take no part: an order that was undone keeps its place."

    def fields(self) -> list[Field]:
        """Sum of squared deviations (days²), first and last event time in whole seconds, and number of gaps."""
        return [Field("m2", "f8"), Field("first_s", "u4"), Field("last_s", "u4"), Field("n", "u4")]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """One Welford step a gap."""
        _update(
            state["m2"],
            state["first_s"],
            state["last_s"],
            state["n"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            self.mask,
            _DAY_S,
        )
        return 0

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """Mean gap (NaN before the second row) and its standard deviation (NaN before the third)."""
        n = state["n"][slots].astype(np.float64)
        span = state["last_s"][slots].astype(np.int64) - state["first_s"][slots].astype(np.int64)
        mean = np.where(n > 0, span / _DAY_S / np.maximum(n, 1), np.nan)
        deviation = np.where(n > 1, np.sqrt(state["m2"][slots] / np.maximum(n - 1, 1)), np.nan)
        return {f"{self.name}_mean_days": mean, f"{self.name}_std_days": deviation}

    def describe(self) -> dict[str, str]:
        """Two columns."""
        return {
            f"{self.name}_mean_days": f"{self.doc}: mean, days (NaN: fewer than two)",
            f"{self.name}_std_days": f"{self.doc}: sample standard deviation, days (NaN: fewer than three)",
        }
