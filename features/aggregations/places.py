"""Places: where a product has been told of, and at how many of them the latest news is that there is none left.

At most so many places are told apart; of more, nothing is known any more. Order-free: each place keeps its newest news,
and of two of one millisecond the good one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel
from features.rows import InventoryKind

_COUNTED = int(InventoryKind.STOCK_COUNTED)
_RECEIVED = int(InventoryKind.STOCK_RECEIVED)
_RAN_OUT = int(InventoryKind.RAN_OUT)
_RESTOCKED = int(InventoryKind.RESTOCKED)


@kernel
def _take(place: Any, newest: Any, out: Any, more: Any, s: int, where: Any, t: int, gone: int) -> None:
    """Takes in news of a place; places stand in ascending order, so that states of the same rows are the same bytes."""
    size = place.shape[1]
    if where == 0 or more[s] != 0:
        return
    at = 0
    while at < size and place[s, at] != 0 and place[s, at] < where:
        at += 1
    if at < size and place[s, at] == where:
        if t > newest[s, at] or (t == newest[s, at] and gone == 0):
            newest[s, at] = t
            out[s, at] = gone
        return
    if place[s, size - 1] != 0:
        more[s] = 1
        for j in range(size):
            place[s, j] = 0
            newest[s, j] = 0
            out[s, j] = 0
        return
    for j in range(size - 1, at, -1):
        place[s, j] = place[s, j - 1]
        newest[s, j] = newest[s, j - 1]
        out[s, j] = out[s, j - 1]
    place[s, at] = where
    newest[s, at] = t
    out[s, at] = gone


@kernel
def _update(
    place: Any,
    newest: Any,
    out: Any,
    more: Any,
    slots: Any,
    kinds: Any,
    times: Any,
    quantities: Any,
    places: Any,
    mask: int,
) -> None:
    for i in range(slots.shape[0]):
        kind = kinds[i]
        if not mask & (1 << kind):
            continue
        # What tells nothing of the shelf is older than any news of it.
        t = 0
        gone = 0
        if kind in (_RAN_OUT, _RESTOCKED, _COUNTED):
            t = times[i]
            gone = 1 if kind == _RAN_OUT or (kind == _COUNTED and quantities[i] <= 0) else 0
        elif kind == _RECEIVED and quantities[i] > 0:
            t = times[i]
        _take(place, newest, out, more, slots[i], places[i], t, gone)


@kernel
def _merge(
    place: Any,
    newest: Any,
    out: Any,
    more: Any,
    other_place: Any,
    other_newest: Any,
    other_out: Any,
    other_more: Any,
) -> None:
    for s in range(place.shape[0]):
        if other_more[s] != 0:
            more[s] = 1
            for j in range(place.shape[1]):
                place[s, j] = 0
                newest[s, j] = 0
                out[s, j] = 0
        for j in range(place.shape[1]):
            _take(place, newest, out, more, s, other_place[s, j], other_newest[s, j], other_out[s, j])


@dataclass(frozen=True)
class Places(Aggregation):
    """The places in the column `place` (64-bit hashes, 0 is none), with the news of inventory rows of kinds `where`.

    A place has none left after `ran_out` or a count of nothing, and has some after `restocked`, any other count, or a
    delivery. What it sells, orders and adjusts says nothing of that.

    Args:
        size: how many places are told apart.
    """

    size: int = 8
    order_free = True
    mergeable = True
    undone: ClassVar[str] = "Nothing is undone: of each place the newest news counts."

    def fields(self) -> list[Field]:
        """Place, time of its news and what they are, and whether there are more places than are kept."""
        return [
            Field("place", "u8", self.size),
            Field("newest_ms", "i8", self.size),
            Field("out", "u1", self.size),
            Field("more", "u1"),
        ]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Takes in the rows; none is too late."""
        _update(
            *self._of(state),
            slots,
            columns["kind"],
            columns["event_time_ms"],
            columns["quantity"],
            columns["place"],
            self.mask,
        )
        return 0

    def merge(self, into: State, other: State) -> None:
        """The newest news of each place of both."""
        _merge(*self._of(into), *self._of(other))

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """How many places there are, and at how many there is none left; NaN where there are too many to tell."""
        known = state["more"][slots] == 0
        places, out = (state[name][slots] != 0 for name in ("place", "out"))
        return {
            self.name: np.where(known, places.sum(axis=1), np.nan),
            f"{self.name}_out": np.where(known, out.sum(axis=1), np.nan),
        }

    def describe(self) -> dict[str, str]:
        """Two columns."""
        most = f"unknown of more than {self.size}"
        return {
            self.name: f"{self.doc}, {most}",
            f"{self.name}_out": f"{self.doc}, of which the newest news is that none is left, {most}",
        }

    @staticmethod
    def _of(state: State) -> tuple[Any, Any, Any, Any]:
        return state["place"], state["newest_ms"], state["out"], state["more"]
