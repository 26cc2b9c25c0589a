"""Tiles: sums over sliding windows of event time, from a ring of fixed-width tiles. Order-free.

A row lands in the tile of its own event time; one older than the oldest tile would have slid out already and changes
nothing but the count of late rows, so the ring holds the same numbers whatever the order of arrival. A window of w
tiles as of time t covers the tile of t and the w - 1 before it: exact to one tile.

A tile of a sum takes six bytes and holds ±1.4e11 units; a tile of a count takes four, or two where ±32,767 rows a tile
are enough. Beyond that they wrap around.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import (
    DAY_MS,
    HOUR_MS,
    Aggregation,
    Columns,
    Field,
    Slots,
    State,
    Times,
    kernel,
    kinds_mask,
)
from features.aggregations.words import WORDS, get48, set48
from features.rows import FIXED_POINT

_MINUTE_MS = 60_000
#: What a small tile holds.
_MOST_SMALL = 32_767
_UNITS = (("d", DAY_MS), ("h", HOUR_MS), ("m", _MINUTE_MS))


@kernel
def _get(ring: Any, s: int, at: int, words: int) -> Any:
    return get48(ring, s, at) if words == 3 else np.int64(ring[s, at])


@kernel
def _set(ring: Any, s: int, at: int, words: int, value: int) -> None:
    if words == 3:
        set48(ring, s, at, value)
    else:
        ring[s, at] = value


@kernel
def _update(
    ring: Any,
    head: Any,
    words: int,
    slots: Any,
    kinds: Any,
    times: Any,
    values: Any,
    plus: int,
    minus: int,
    tile_ms: int,
) -> int:
    length = ring.shape[1] // words
    late = 0
    for i in range(slots.shape[0]):
        bit = 1 << kinds[i]
        if not (plus | minus) & bit:
            continue
        s = slots[i]
        tile = times[i] // tile_ms
        if tile > head[s]:
            steps = min(tile - head[s], length)
            for k in range(steps):
                _set(ring, s, (tile - k) % length, words, 0)
            head[s] = tile
        if tile > head[s] - length:
            at = tile % length
            value = values[i] if plus & bit else -values[i]
            _set(ring, s, at, words, _get(ring, s, at, words) + value)
        else:
            late += 1
    return late


@kernel
def _merge(ring: Any, head: Any, other: Any, other_head: Any, words: int) -> None:
    length = ring.shape[1] // words
    for s in range(ring.shape[0]):
        top: Any = max(np.int64(head[s]), np.int64(other_head[s]))
        for k in range(min(top - head[s], length)):
            _set(ring, s, (top - k) % length, words, 0)
        head[s] = top
        for tile in range(max(top, np.int64(length)) - length + 1, np.int64(other_head[s]) + 1):
            at = tile % length
            _set(ring, s, at, words, _get(ring, s, at, words) + _get(other, s, at, words))


@kernel
def window_sums(
    ring: Any, head: Any, words: int, slots: Any, as_of: Any, first_back: Any, last_back: Any, tile_ms: int, out: Any
) -> None:
    """out[i, w] = sum of the tiles from `last_back[i, w]` to `first_back[i, w]` tiles before that of as_of[i]."""
    length = ring.shape[1] // words
    for i in range(slots.shape[0]):
        s = slots[i]
        now = as_of[i] // tile_ms
        top = np.int64(head[s])
        for w in range(out.shape[1]):
            newest = min(now - first_back[i, w], top)
            oldest = max(now - last_back[i, w], top - length + 1)
            total = 0
            for tile in range(oldest, newest + 1):
                total += _get(ring, s, tile % length, words)
            out[i, w] = total


@kernel
def _furthest(ring: Any, head: Any, words: int, slots: Any, as_of: Any, most: int, tile_ms: int, out: Any) -> None:
    """out[i] = how many tiles back from that of as_of[i] the oldest of the last `most` is that is not 0; 0 for none."""
    length = ring.shape[1] // words
    for i in range(slots.shape[0]):
        s = slots[i]
        top = np.int64(head[s])
        for back in range(most, 0, -1):
            tile = as_of[i] // tile_ms - back
            if top - length < tile <= top and _get(ring, s, tile % length, words):
                out[i] = back
                break


def span_name(span_ms: int) -> tuple[int, str]:
    """A span in the largest unit that divides it: days, else hours, else minutes.

    >>> span_name(7 * 86_400_000), span_name(6 * 3_600_000), span_name(15 * 60_000)
    ((7, 'd'), (6, 'h'), (15, 'm'))
    """
    unit, unit_ms = next((unit, ms) for unit, ms in _UNITS if span_ms % ms == 0)
    return span_ms // unit_ms, unit


@dataclass(frozen=True)
class Tiles(Aggregation):
    """Sums of the fixed-point column `value` (or counts, where None) over the last `windows` tiles.

    Args:
        value: the column; None counts rows.
        minus: kinds that are taken off, in the tile of their own event time.
        windows: how many tiles each window covers.
        length: tiles in the ring.
        tile_ms: width of a tile: whole minutes.
        small: a tile of a count takes two bytes, not four.

    Raises:
        ValueError: a window longer than the ring, a tile that is no whole number of minutes, a ring of one tile, or a
            small tile for sums.
    """

    value: str | None = None
    minus: tuple[int, ...] = ()
    windows: tuple[int, ...] = (1, 7, 28)
    length: int = 56
    tile_ms: int = DAY_MS
    small: bool = False
    order_free = True
    mergeable = True
    undone: ClassVar[str] = "The kinds in `minus` are taken off exactly, in the tile of their own event time."
    read_only: ClassVar[frozenset[str]] = frozenset({"windows"})

    def __post_init__(self) -> None:
        if max(self.windows) > self.length or min(self.windows) < 1:
            raise ValueError(
                f"tiles {self.name!r}: windows {self.windows} are not within a ring of {self.length} tiles"
            )
        if self.tile_ms < _MINUTE_MS or self.tile_ms % _MINUTE_MS:
            raise ValueError(f"tiles {self.name!r}: a tile is a whole number of minutes, not {self.tile_ms} ms")
        if self.length < 2:
            raise ValueError(f"tiles {self.name!r}: a ring has at least two tiles")
        if self.small and self.value is not None:
            raise ValueError(f"tiles {self.name!r}: small tiles are for counts, not for sums of {self.value!r}")

    #: Whether a tile of a sum takes eight bytes.
    _wide: ClassVar[bool] = False

    @property
    def _words(self) -> int:
        return 1 if self.value is None or self._wide else WORDS

    def fields(self) -> list[Field]:
        """The ring, and the number of its newest tile counted from 1970."""
        count = "i2" if self.small else "i4"
        dtype = count if self.value is None else "i8" if self._wide else "u2"
        return [Field("ring", dtype, self.length * self._words), Field("head", "i4")]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Slides the ring on and adds to the row's tile; rows older than the oldest tile are too late."""
        values = np.ones(len(slots), np.int64) if self.value is None else columns[self.value]
        return _update(
            state["ring"],
            state["head"],
            self._words,
            slots,
            columns["kind"],
            columns["event_time_ms"],
            values,
            self.mask,
            kinds_mask(self.minus),
            self.tile_ms,
        )

    def merge(self, into: State, other: State) -> None:
        """The later ring, with the tiles of the other that it still covers."""
        _merge(into["ring"], into["head"], other["ring"], other["head"], self._words)

    def sums(
        self, state: State, slots: Slots, as_of_ms: Times, first_back: NDArray[Any], last_back: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Sums over arbitrary tile ranges, float64 of the shape of `first_back`, (n, windows)."""
        out = np.zeros(first_back.shape, np.int64)
        ring, head = state["ring"], state["head"]
        window_sums(ring, head, self._words, slots, as_of_ms, first_back, last_back, self.tile_ms, out)
        return out / (1 if self.value is None else FIXED_POINT)

    def furthest(self, state: State, slots: Slots, as_of_ms: Times, tiles: int) -> NDArray[np.int64]:
        """How many tiles back the oldest one that is not 0 is, among `tiles` before that of as_of; 0 for none; (n,)."""
        out = np.zeros(len(slots), np.int64)
        _furthest(state["ring"], state["head"], self._words, slots, as_of_ms, tiles, self.tile_ms, out)
        return out

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
        """One column a window, named by its length, with the width of its tiles."""
        width, tile_unit = span_name(self.tile_ms)
        out = {}
        for tiles in self.windows:
            span, unit = span_name(tiles * self.tile_ms)
            exact = f"exact to one tile of {width} {tile_unit}"
            out[f"{self.name}_{span}{unit}"] = f"{self.doc}, last {span} {unit} ({exact})"
        return out

    def understands(self, kinds: Mapping[str, str]) -> bool:
        """Counts may have been kept in small tiles or in larger ones."""
        ring = kinds.get("ring")
        same = ring in ("i2", "i4") if self.value is None else ring == self.fields()[0].dtype
        return same and kinds.keys() == {"ring", "head"} and kinds["head"] == "i4"

    def carry(self, old: Mapping[str, str], source: State, target: State) -> bool:
        """Keeps the tiles that both rings cover; anew where a tile means something else than it did.

        A count that a small tile cannot hold becomes the largest that it can.
        """
        new = self.parameters()
        if any(old.get(name) != new[name] for name in new if name not in ("length", "small")):
            return False
        held, kept = source["ring"][0].reshape(-1, self._words), target["ring"][0].reshape(-1, self._words)
        if self.small:
            held = np.clip(held, -_MOST_SMALL, _MOST_SMALL)
        head = int(source["head"][0])
        tiles = head - np.arange(min(len(held), len(kept), head + 1))
        kept[tiles % len(kept)] = held[tiles % len(held)]
        target["head"][0] = head
        return True


@dataclass(frozen=True)
class WideTiles(Tiles):
    """Tiles whose sums take eight bytes, for money: ±9.2e15 units a tile."""

    _wide: ClassVar[bool] = True
