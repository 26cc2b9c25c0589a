"""Watermarks: the newest event time of each partition, and how many events come late behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Watermarks:
    """The newest event time seen, by (topic, partition).

    An event is late if it is more than `late_after_ms` behind the newest event before it in its partition. Late
    events are taken in all the same: they land in the tile of their own time.

    >>> marks = Watermarks(late_after_ms=10)
    >>> marks.advance("orders", np.array([0, 0, 0]), np.array([100, 80, 95]))
    1
    >>> marks.newest
    {('orders', 0): 100}
    """

    def __init__(self, late_after_ms: int) -> None:
        self._late_after_ms = late_after_ms
        self.newest: dict[tuple[str, int], int] = {}

    def advance(self, topic: str, partitions: NDArray[np.int64] | Sequence[int], times: NDArray[np.int64]) -> int:
        """Moves the watermarks on; returns how many of the events are late."""
        late = 0
        parts = np.asarray(partitions)
        for partition in np.unique(parts).tolist():
            own = times[parts == partition]
            before = self.newest.get((topic, partition), 0)
            high = np.maximum.accumulate(np.concatenate([[before], own]))
            late += int((own < high[:-1] - self._late_after_ms).sum())
            self.newest[topic, partition] = int(high[-1])
        return late
