"""Joined views: records of other entities, read for the scores of customers and items, and kept for a while.

What a score joins is as of the end of a period that is over (yesterday, the last full hour), so a record that was read
a minute ago says the same as one that is read now, unless its shards were behind. One that was read in an earlier
period is read again.

Costs a dict look-up an entity, and one round trip where one of them is not at hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.layout import Layouts
from features.shards import load_merged, shards_in
from features.store.base import Store
from features.view import View


class _Held(NamedTuple):
    record: bytes
    whole: bytes
    read_at_s: float
    period: int


class Read(NamedTuple):
    """Merged records of n entities, each with that of the whole as it was read in the same moment, both shape (n,)."""

    records: NDArray[np.void]
    whole: NDArray[np.void]


class JoinedView:
    """Reads one sharded view.

    Args:
        store: where the shards are.
        view: of which entity.
        whole: the entity that is all of them together.
        keep_s: how long a record is kept.
        max_entities: how many are kept; those read longest ago go first.
        now_s: a clock that never goes back.
    """

    def __init__(
        self,
        store: Store,
        view: View,
        whole: str,
        keep_s: float = 60.0,
        max_entities: int = 200_000,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.view, self._whole = view, whole
        self._store, self._layouts = store, Layouts(store)
        self._keep_s, self._most, self._now_s = keep_s, max_entities, now_s
        self._held: dict[str, _Held] = {}
        self._shards, self._counted_at_s = 0, -np.inf

    def records(self, entities: Sequence[str], period: int) -> Read:
        """The merged records of n entities; in their initial state where there is none.

        Args:
            entities: their keys.
            period: the number of the period as of which they are read, rising with event time.

        Raises:
            StoreUnavailable: no answer.
        """
        now_s = self._now_s()
        missing = [key for key in dict.fromkeys(entities) if not self._fresh(self._held.get(key), period, now_s)]
        if missing:
            self._load(missing, period, now_s)
        held = [self._held[key] for key in entities]
        self._make_room()
        return Read(self._joined([h.record for h in held]), self._joined([h.whole for h in held]))

    def _joined(self, records: Sequence[bytes]) -> NDArray[np.void]:
        return np.frombuffer(b"".join(records), self.view.dtype)

    def forget(self) -> None:
        """Drops what is kept: partitions came or went, or the store has lost something."""
        self._held.clear()
        self._layouts.forget_unknown()
        self._counted_at_s = -np.inf

    def _fresh(self, held: _Held | None, period: int, now_s: float) -> bool:
        return held is not None and held.period >= period and now_s - held.read_at_s < self._keep_s

    def _load(self, entities: Sequence[str], period: int, now_s: float) -> None:
        if now_s - self._counted_at_s >= self._keep_s or not self._shards:
            self._shards, self._counted_at_s = shards_in(self._store.clock()), now_s
        records = load_merged(self._store, self.view, [self._whole, *entities], self._shards, self._layouts)
        whole = records[0].tobytes()
        for key, record in zip(entities, records[1:], strict=True):
            self._held.pop(key, None)  # so that the dict stays in the order of reading
            self._held[key] = _Held(record.tobytes(), whole, now_s, period)

    def _make_room(self) -> None:
        while len(self._held) > self._most:
            del self._held[next(iter(self._held))]
