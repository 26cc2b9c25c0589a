"""Recent: the last N products of a customer with their ages, newest first, for sequence models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel


@kernel
def _update(product: Any, second: Any, n: Any, slots: Any, kinds: Any, times: Any, products: Any, mask: int) -> None:
    length = product.shape[1]
    for i in range(slots.shape[0]):
        if mask & (1 << kinds[i]) and products[i] != 0:
            s = slots[i]
            at = n[s] % length
            product[s, at] = products[i]
            second[s, at] = times[i] // 1000
            n[s] += 1


@dataclass(frozen=True)
class Recent(Aggregation):
    """A ring of the last `length` products in order of arrival."""

    length: int = 16

    def fields(self) -> list[Field]:
        """Product ids, event times in whole seconds, and how many there have been."""
        return [Field("product", "u8", self.length), Field("second", "u4", self.length), Field("n", "u4")]

    def update(self, state: State, slots: Slots, columns: Columns) -> None:
        """Overwrites the oldest."""
        _update(
            state["product"],
            state["second"],
            state["n"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            columns["product"],
            self.mask,
        )

    def sequence(self, state: State, slots: Slots, as_of_ms: Times) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
        """The sequence, newest first.

        Returns:
            Product ids, uint64 of shape (n, length), 0 where there is none; ages in days, float64 of that shape,
            NaN where there is none.
        """
        back = np.arange(1, self.length + 1, dtype=np.int64)
        seen = state["n"][slots].astype(np.int64)[:, None]
        at = (seen - back) % self.length
        held = back <= seen
        rows = slots[:, None]
        product = np.where(held, state["product"][rows, at], np.uint64(0))
        age = (as_of_ms[:, None] - state["second"][rows, at].astype(np.int64) * 1000) / 86_400_000
        return product, np.where(held, np.maximum(age, 0.0), np.nan)

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """How many products the sequence holds."""
        return {f"{self.name}_length": np.minimum(state["n"][slots].astype(np.int64), self.length).astype(np.float64)}

    def describe(self) -> dict[str, str]:
        """One column; the sequence itself is read by `sequence`."""
        return {f"{self.name}_length": f"{self.doc}: how many are held, at most {self.length}"}
