"""Protocols: which baskets are asked, and which are known to whoever is fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from export.datasets.baskets import Baskets

#: Baskets of a customer before one that is asked.
EARLIER = 3
#: Where the last basket of each customer is asked, one basket less is enough: three with the one that is left out.
_EARLIER_LAST = 2


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is asked of whom.

    Args:
        what: its name in figures.
        asked: the baskets that are tested, bool of shape (b,).
        known: those that a baseline may be fitted on, bool of shape (b,).
    """

    what: str
    asked: NDArray[np.bool_]
    known: NDArray[np.bool_]

    def of_at_most(self, most: int, seed: int) -> Protocol:
        """The same of so many baskets, drawn where more are asked.

        >>> every = Protocol("next basket", np.ones(9, np.bool_), np.zeros(9, np.bool_))
        >>> int(every.of_at_most(4, seed=0).asked.sum()), every.of_at_most(9, seed=0) is every
        (4, True)
        """
        at = np.flatnonzero(self.asked)
        if len(at) <= most:
            return self
        asked = np.zeros(len(self.asked), np.bool_)
        asked[np.random.default_rng(seed).choice(at, most, replace=False)] = True
        return replace(self, asked=asked)


def next_baskets(baskets: Baskets, from_ms: int) -> Protocol:
    """Every basket from a time on, of customers with three before it."""
    late = baskets.time_ms >= from_ms
    return Protocol("next basket", late & (baskets.earlier >= EARLIER), ~late)


def last_baskets(baskets: Baskets, among: NDArray[np.bool_] | None = None) -> Protocol:
    """The last basket of each customer with three or more; all others are known.

    Args:
        baskets: of a log.
        among: which of them there are, bool of shape (b,); None: all.
    """
    there = np.ones(len(baskets.customer), np.bool_) if among is None else among
    count = np.bincount(baskets.customer[there], minlength=len(baskets.customers))
    last = there & (baskets.earlier == count[baskets.customer] - 1)
    return Protocol("last basket", last & (baskets.earlier >= _EARLIER_LAST), there & ~last)
