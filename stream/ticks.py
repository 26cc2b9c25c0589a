"""Ticks: how far event time has come in each partition, told to the readers of the store."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from features.store import Store, StoreUnavailable, Tick
from stream.ownership import Ownership, Partition
from stream.watermark import Watermarks

log = logging.getLogger(__name__)


@dataclass
class Ticks:
    """Writes the watermarks of owned partitions that have moved."""

    store: Store
    watermarks: Watermarks
    ownership: Ownership
    _told: dict[Partition, int] = field(default_factory=dict)

    def write(self) -> None:
        """Without a store, readers will hear of it later."""
        newest = self.watermarks.newest
        moved = {p: t for p, t in newest.items() if p in self.ownership.owned and self._told.get(p) != t}
        if moved:
            wall_ms = int(time.time() * 1000)
            try:
                self.store.tick({f"{topic}:{p}": Tick(t, wall_ms) for (topic, p), t in moved.items()})
                self._told |= moved
            except StoreUnavailable as error:
                log.warning("the clock was not written: %s", error)

    def forget(self) -> None:
        """The store may have lost what it was told."""
        self._told.clear()
