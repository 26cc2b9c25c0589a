"""Exploration: now and then another of the best offers comes first, so that what was not shown can be learnt about.

Epsilon-greedy over the list. The draw is a hash of customer, event time and the best offer: a replay shows the same.
The propensity of each offer is the chance that the policy puts it at the place where it is. Costs 1 µs a customer
where it is on, nothing where it is off.

Source: L. Bottou et al., "Counterfactual reasoning and learning systems" (JMLR 2013), for why it is logged.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from features.ids import hash64
from stream.events import OfferScore

_SPAN = 2.0**64


def explored(best: Sequence[OfferScore], customer: str, as_of_ms: int, share: float) -> list[OfferScore]:
    """With chance `share`, a uniform draw of the list comes first; the others keep their order.

    Args:
        best: the offers to show, best first.
        customer: whose list it is.
        as_of_ms: event time of the score.
        share: how often a draw decides, 0 to 1; 0 leaves the list as it is.

    Returns:
        The list to show, with the propensity of each offer at its place.
    """
    if share == 0.0 or len(best) < 2:
        return list(best)
    draw = hash64(f"explore\0{customer}\0{as_of_ms}\0{best[0].offer_id}") / _SPAN
    first = min(int(draw / share * len(best)), len(best) - 1) if draw < share else 0
    order = [first, *(rank for rank in range(len(best)) if rank != first)]
    return [
        msgspec.structs.replace(best[rank], propensity=propensity(rank, place, len(best), share))
        for place, rank in enumerate(order)
    ]


def propensity(rank: int, place: int, length: int, share: float) -> float:
    """The chance that the offer of this rank is shown at this place, over all draws.

    >>> [round(propensity(rank, 0, 4, 0.2), 3) for rank in range(4)]
    [0.85, 0.05, 0.05, 0.05]
    >>> [round(propensity(rank, 2, 4, 0.2), 3) for rank in range(4)]
    [0.0, 0.1, 0.9, 0.0]
    """
    if place == 0:
        return 1.0 - share + share / length if rank == 0 else share / length
    moved_down = share * (length - place) / length
    if rank == place - 1:
        return moved_down
    return 1.0 - moved_down if rank == place else 0.0
