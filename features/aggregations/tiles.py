"""Tiles: sums over sliding windows of event time, from a ring of fixed-width tiles. Order-free.

A row lands in the tile of its own event time; one older than the oldest tile would have slid out already and changes
nothing, so the ring holds the same numbers whatever the order of arrival. A window of w tiles as of time t covers the
tile of t and the w - 1 before it: exact to one tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import (
    DAY_MS,
    Aggregation,
    Columns,
    Field,
    Slots,
    State,
    Times,
    kernel,
    kinds_mask,
)
from features.rows import FIXED_POINT


@kernel
def _update(
    ring: Any,
    head: Any,
    slots: Any,
    kinds: Any,
    times: Any,
    values: Any,
    plus: int,
    minus: int,
    tile_ms: int,
) -> None:
    length = ring.shape[1]
    for i in range(slots.shape[0]):
        bit = 1 << kinds[i]
        if not (plus | minus) & bit:
            continue
        s = slots[i]
        tile = times[i] // tile_ms
        if tile > head[s]:
            steps = min(tile - head[s], length)
            for k in range(steps):
                ring[s, (tile - k) % length] = 0
            head[s] = tile
        if tile > head[s] - length:
            ring[s, tile % length] += values[i] if plus & bit else -values[i]


@kernel
def window_sums(
    ring: Any, head: Any, slots: Any, as_of: Any, first_back: Any, last_back: Any, tile_ms: int, out: Any
) -> None:
    """out[i, w] = sum of the tiles from `last_back[i, w]` to `first_back[i, w]` tiles before that of as_of[i]."""
    length = ring.shape[1]
    for i in range(slots.shape[0]):
        s = slots[i]
        now = as_of[i] // tile_ms
        for w in range(out.shape[1]):
            newest = min(now - first_back[i, w], head[s])
            oldest = max(now - last_back[i, w], head[s] - length + 1)
            total = 0
            for tile in range(oldest, newest + 1):
                total += ring[s, tile % length]
            out[i, w] = total


@dataclass(frozen=True)
class Tiles(Aggregation):
    """Sums of the fixed-point column `value` (or counts, where None) over the last `windows` tiles."""

    value: str | None = None
    minus: tuple[int, ...] = ()
    windows: tuple[int, ...] = (1, 7, 28)
    length: int = 56
    tile_ms: int = DAY_MS
    order_free = True

    def fields(self) -> list[Field]:
        """The ring, and the number of its newest tile counted from 1970."""
        return [Field("ring", "i4" if self.value is None else "i8", self.length), Field("head", "i8")]

    def update(self, state: State, slots: Slots, columns: Columns) -> None:
        """Slides the ring on and adds to the row's tile."""
        values = np.ones(len(slots), np.int64) if self.value is None else columns[self.value]
        _update(
            state["ring"],
            state["head"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            values,
            self.mask,
            kinds_mask(self.minus),
            self.tile_ms,
        )

    def sums(
        self, state: State, slots: Slots, as_of_ms: Times, first_back: NDArray[Any], last_back: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Sums over arbitrary tile ranges, float64 of the shape of `first_back`, (n, windows)."""
        out = np.zeros(first_back.shape, np.int64)
        window_sums(state["ring"], state["head"], slots, as_of_ms, first_back, last_back, self.tile_ms, out)
        return out / (1 if self.value is None else FIXED_POINT)

    def daily(self, state: State, slots: Slots, as_of_ms: Times, tiles: int) -> NDArray[np.float64]:
        """The last `tiles` tiles one by one, newest first, float64 of shape (n, tiles)."""
        back = np.broadcast_to(np.arange(tiles), (len(slots), tiles)).copy()
        return self.sums(state, slots, as_of_ms, back, back)

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """One column a window."""
        shape = (len(slots), len(self.windows))
        last = np.broadcast_to(np.asarray(self.windows) - 1, shape).copy()
        sums = self.sums(state, slots, as_of_ms, np.zeros(shape, np.int64), last)
        return {name: sums[:, w] for w, name in enumerate(self.describe())}

    def describe(self) -> dict[str, str]:
        """One column a window, named by its length."""
        unit, unit_ms = ("d", DAY_MS) if self.tile_ms % DAY_MS == 0 else ("h", 3_600_000)
        spans = [w * self.tile_ms // unit_ms for w in self.windows]
        return {f"{self.name}_{span}{unit}": f"{self.doc}, last {span} {unit}" for span in spans}
