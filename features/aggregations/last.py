"""Last: the value of the newest row by event time, and its age.

Of rows at one time (in whole seconds) the later arrival counts, so the order of arrival matters there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel
from features.aggregations.seconds import second_age_days
from features.rows import FIXED_POINT


@kernel
def _update(value: Any, at: Any, slots: Any, kinds: Any, times: Any, values: Any, mask: int) -> None:
    for i in range(slots.shape[0]):
        if mask & (1 << kinds[i]):
            s = slots[i]
            second = times[i] // 1000
            if second >= np.int64(at[s]):
                value[s] = values[i]
                at[s] = second


@dataclass(frozen=True)
class Last(Aggregation):
    """The fixed-point column `value` of the newest row of the kinds `where`."""

    value: str = "value"
    undone: ClassVar[str] = "Cancellations and returns take no part: the value before it is not kept."

    def fields(self) -> list[Field]:
        """The value in thousandths, and its event time in whole seconds; 0 means never."""
        return [Field("value", "i8"), Field("at_s", "u4")]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Takes each row's value that is not older than the one held."""
        _update(
            state["value"],
            state["at_s"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            columns[self.value],
            self.mask,
        )
        return 0

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """The value in whole units and the days since; NaN where there was none."""
        at = state["at_s"][slots]
        value = np.where(at > 0, state["value"][slots] / FIXED_POINT, np.nan)
        return {self.name: value, f"{self.name}_age_days": second_age_days(at, as_of_ms)}

    def describe(self) -> dict[str, str]:
        """Two columns."""
        return {
            self.name: f"{self.doc} (NaN: none yet)",
            f"{self.name}_age_days": f"{self.doc}: days since (NaN: none yet)",
        }
