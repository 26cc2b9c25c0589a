"""Chores: what a worker does every so often, between micro-batches."""

from __future__ import annotations

import time
from collections.abc import Callable


class Chore:
    """Something to do every so often.

    Args:
        every_s: at most.
        call: what to do.
        clock: in seconds, never going back.

    >>> times, done = iter([0.0, 0.5, 1.0, 1.5]), []
    >>> chore = Chore(1.0, lambda: done.append("done"), lambda: next(times))
    >>> for _ in range(3):
    ...     chore.turn()
    >>> done
    ['done']
    """

    def __init__(self, every_s: float, call: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s, self._call, self._clock = every_s, call, clock
        self._done = clock()

    def turn(self) -> None:
        """Does it if its time has come."""
        now = self._clock()
        if now - self._done >= self._every_s:
            self._call()
            self._done = now
