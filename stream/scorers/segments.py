"""Segments: what a customer is to the shop, by how likely it orders again."""

from __future__ import annotations

from stream.events.scores import Segment

#: With fewer orders than this a customer is new: it has no habit yet.
NEW_BELOW_ORDERS = 2
#: From this chance of an order within 30 days on a customer is loyal, below the other it is lost; between, at risk.
LOYAL_FROM, LOST_BELOW = 0.35, 0.1


def segment(orders: float, active: float) -> Segment:
    """The segment of a customer.

    Args:
        orders: so far.
        active: the chance that it orders within 30 days.

    >>> segment(1, 0.9), segment(5, 0.5), segment(5, 0.2), segment(5, 0.05)
    ('new', 'loyal', 'at_risk', 'lost')
    """
    if orders < NEW_BELOW_ORDERS:
        return "new"
    if active >= LOYAL_FROM:
        return "loyal"
    return "lost" if active < LOST_BELOW else "at_risk"
