"""Gap: mean and deviation of the time between events, by Welford's method (no E[x²] − E[x]² cancellation).

Rows at or before the last event time add no gap: a late event cannot be inserted between two gaps already folded.

Source: B. P. Welford, Technometrics 4 (1962), 419-420.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Aggregation, Columns, Field, Slots, State, Times, kernel


@kernel
def _update(
    last: Any, n: Any, mean: Any, m2: Any, slots: Any, kinds: Any, times: Any, mask: int, day_ms: float
) -> None:
    for i in range(slots.shape[0]):
        if mask & (1 << kinds[i]):
            s = slots[i]
            t = times[i]
            if last[s] == 0:
                last[s] = t
            elif t > last[s]:
                gap = (t - last[s]) / day_ms
                n[s] += 1
                delta = gap - mean[s]
                mean[s] += delta / n[s]
                m2[s] += delta * (gap - mean[s])
                last[s] = t


@dataclass(frozen=True)
class Gap(Aggregation):
    """Statistics of the days between consecutive rows of the kinds `where`."""

    def fields(self) -> list[Field]:
        """Last event time, number of gaps, running mean and sum of squared deviations (days)."""
        return [Field("last_ms", "i8"), Field("mean", "f8"), Field("m2", "f8"), Field("n", "u4")]

    def update(self, state: State, slots: Slots, columns: Columns) -> None:
        """One Welford step a gap."""
        _update(
            state["last_ms"],
            state["n"],
            state["mean"],
            state["m2"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            self.mask,
            float(DAY_MS),
        )

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """Mean gap (NaN before the second row) and its standard deviation (NaN before the third)."""
        n = state["n"][slots].astype(np.float64)
        mean = np.where(n > 0, state["mean"][slots], np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            deviation = np.where(n > 1, np.sqrt(state["m2"][slots] / np.maximum(n - 1, 1)), np.nan)
        return {f"{self.name}_mean_days": mean, f"{self.name}_std_days": deviation}

    def describe(self) -> dict[str, str]:
        """Two columns."""
        return {
            f"{self.name}_mean_days": f"{self.doc}: mean, days (NaN: fewer than two)",
            f"{self.name}_std_days": f"{self.doc}: sample standard deviation, days (NaN: fewer than three)",
        }
