"""Recent: the last N products of a customer with their ages, newest arrival first, for sequence models.

An arrival moves those before it back by one place: sixteen places cost about ten nanoseconds an event, and need no
counter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel
from features.aggregations.seconds import second_age_days


@kernel
def _update(product: Any, second: Any, slots: Any, kinds: Any, times: Any, products: Any, mask: int) -> None:
    for i in range(slots.shape[0]):
        if mask & (1 << kinds[i]) and products[i] != 0:
            s = slots[i]
            for j in range(product.shape[1] - 1, 0, -1):
                product[s, j] = product[s, j - 1]
                second[s, j] = second[s, j - 1]
            product[s, 0] = products[i]
            second[s, 0] = times[i] // 1000


@kernel
def _update_kinds(held: Any, slots: Any, kinds: Any, products: Any, mask: int) -> None:
    for i in range(slots.shape[0]):
        if mask & (1 << kinds[i]) and products[i] != 0:
            s = slots[i]
            for j in range(held.shape[1] - 1, 0, -1):
                held[s, j] = held[s, j - 1]
            held[s, 0] = kinds[i]


@dataclass(frozen=True)
class Recent(Aggregation):
    """The last `length` products in order of arrival.

    Args:
        length: how many are held, at least two.
        keep_kind: keeps what kind of row each was, a byte each.
    """

    length: int = 16
    keep_kind: bool = False
    undone: ClassVar[str] = "Cancellations and returns take no part: what was bought or seen stays in its place."

    def __post_init__(self) -> None:
        if self.length < 2:
            raise ValueError(f"recent {self.name!r}: a sequence has at least two places, not {self.length}")

    def fields(self) -> list[Field]:
        """Product ids, 0 where there is none; event times in whole seconds; and kinds where they are kept."""
        kinds = [Field("kind", "u1", self.length)] if self.keep_kind else []
        return [Field("product", "u8", self.length), Field("second", "u4", self.length), *kinds]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Puts each row first; the last one falls out."""
        kinds, products = columns["kind"], columns["product"]
        _update(state["product"], state["second"], slots, kinds, columns["event_time_ms"], products, self.mask)
        if self.keep_kind:
            _update_kinds(state["kind"], slots, kinds, products, self.mask)
        return 0

    def sequence(self, state: State, slots: Slots, as_of_ms: Times) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
        """The sequence, newest first.

        Returns:
            Product ids, uint64 of shape (n, length), 0 where there is none; ages in days, float64 of that shape,
            NaN where there is none.
        """
        return state["product"][slots], second_age_days(state["second"][slots], as_of_ms[:, None])

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """How many products the sequence holds."""
        return {f"{self.name}_length": (state["product"][slots] != 0).sum(axis=1).astype(np.float64)}

    def describe(self) -> dict[str, str]:
        """One column; the sequence itself is in `describe_lists`."""
        return {f"{self.name}_length": f"{self.doc}: how many are held, at most {self.length}"}

    def read_lists(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[Any]]:
        """The sequence as columns; kinds are int8."""
        product, age = self.sequence(state, slots, as_of_ms)
        lists: dict[str, NDArray[Any]] = {f"{self.name}_product": product, f"{self.name}_age_days": age}
        if self.keep_kind:
            lists[f"{self.name}_kind"] = np.where(product != 0, state["kind"][slots].astype(np.int8), np.int8(-1))
        return lists

    def describe_lists(self) -> dict[str, str]:
        """Two or three columns."""
        lists = {
            f"{self.name}_product": f"{self.doc}: 64-bit product ids (0: none)",
            f"{self.name}_age_days": f"{self.doc}: days since each (NaN: none)",
        }
        if self.keep_kind:
            lists[f"{self.name}_kind"] = f"{self.doc}: the kind of each (-1: none)"
        return lists

    def carry(self, old: Mapping[str, str], source: State, target: State) -> bool:
        """Keeps the newest that fit; anew where other rows are taken in."""
        new = self.parameters()
        if any(old.get(name) != new[name] for name in new if name != "length"):
            return False
        for name, kept in target.items():
            n = min(kept.shape[1], source[name].shape[1])
            kept[:, :n] = source[name][:, :n]
        return True
