"""Rows of sessions: at every view but the first, the views before it ask for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.datasets.sessions import Sessions

#: How many of the newest views a row holds.
LENGTH = 20


@dataclass(frozen=True, slots=True)
class Prefixes:
    """n rows; a row is a place in the views of all sessions.

    Args:
        item: products of all views, int64 of shape (v,).
        begin: where the row's session begins, int64 of shape (n,).
        place: of the view that is asked for, int64 of shape (n,), above `begin`.
        session: of the row, int64 of shape (n,).
    """

    item: NDArray[np.int64]
    begin: NDArray[np.int64]
    place: NDArray[np.int64]
    session: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.place)

    @property
    def target(self) -> NDArray[np.int64]:
        """The product that was viewed next, of shape (n,)."""
        return self.item[self.place]

    def take(self, rows: NDArray[np.int64]) -> Prefixes:
        """Some of the rows."""
        return Prefixes(self.item, self.begin[rows], self.place[rows], self.session[rows])

    def window(self, rows: NDArray[np.int64], length: int = LENGTH) -> NDArray[np.int64]:
        """The views before: product + 1, newest last, 0 where there is none; of shape (rows, length)."""
        at = self.place[rows, None] + np.arange(-length, 0)
        held = at >= self.begin[rows, None]
        return np.where(held, self.item[np.maximum(at, 0)] + 1, 0)


def prefixes_of(sessions: Sessions) -> Prefixes:
    """All rows of sessions, in their order.

    >>> sessions = Sessions(["a", "b"], np.array([0, 1, 1, 0]), np.array([0, 2, 4]), np.array([5, 9]))
    >>> rows = prefixes_of(sessions)
    >>> rows.window(np.arange(2), 3).tolist(), rows.target.tolist()
    ([[0, 0, 1], [0, 0, 2]], [1, 0])
    """
    session = sessions.session
    begin = sessions.starts[session]
    place = np.flatnonzero(np.arange(len(sessions.item)) > begin)
    return Prefixes(sessions.item, begin[place], place, session[place])
