"""Joining: puts what the shop says of products into reorder rows, and tells which version of it that was."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from features.aggregations.base import Times
from features.vectors.joined import VIEW, put_in
from features.vectors.reorder import ReorderRows
from stream.joins import JOINED_VERSION, UNJOINED, Joined, Joins


def join(joins: Joins, rows: ReorderRows, as_of_ms: Times) -> Joined:
    """Fills in the joined columns of rows; in place.

    Args:
        joins: reads the views of products.
        rows: of c customers.
        as_of_ms: of each customer, int64 of shape (c,).
    """
    found = joins.products(rows.product, as_of_ms[rows.customer])
    put_in(rows, found.columns)
    return found


def fresh(joined: Joined | None) -> dict[str, int]:
    """How far the view that was joined had come, as a score tells it of each view."""
    return {} if joined is None else {VIEW: joined.event_time_ms}


def versions(joined: Joined | None, rows: ReorderRows, customers: int) -> list[Mapping[str, float]]:
    """What parity must know of what was joined to each customer: the least version of its rows.

    Args:
        joined: what was joined to `rows`; None: nothing.
        rows: of so many customers.
        customers: how many.
    """
    if joined is None:
        return [{}] * customers
    least = np.full(customers, np.inf)
    np.minimum.at(least, rows.customer, np.where(np.isnan(joined.version), UNJOINED, joined.version))
    return [{JOINED_VERSION: version} if version < np.inf else {} for version in least.tolist()]
