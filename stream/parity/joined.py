"""Joined columns, recomputed: what all order lines of the log say of a product as of the end of yesterday.

Live, they are read from shards that other partitions write, whenever a score needs them. So a logged vector tells how
many order lines the shards had until the end of that day: where the log has as many, they are the same lines, and the
columns are compared; else the shards were behind, or order lines came late, and the vector counts as behind.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Times
from features.discovery import discover
from features.ids import hash64
from features.pointintime import count_before, grouped, snapshots
from features.rows import ALL
from features.vectors import joined, reads_products
from features.vectors.joined import ProductColumns
from features.vectors.reorder import ReorderRows
from stream.events import FeatureVector
from stream.joins import JOINED_VERSION, UNJOINED
from stream.parity.events import StreamRows


def products_of(vectors: Sequence[FeatureVector]) -> frozenset[int]:
    """The ids of all products that vectors join something of, and of all products together; empty if none does."""
    joining = [v for v in vectors if reads_products(v.values)]
    found = {int(str(i), 16) for v in joining for i in v.values["product"]}
    return frozenset({hash64(ALL), *found}) if joining else frozenset()


def product_values(rows: StreamRows | None, product: NDArray[np.uint64], as_of_ms: Times) -> ProductColumns:
    """What the log says of products as of the end of the day before.

    Args:
        rows: of the stream `product_lines`, all of these products and of all products together.
        product: ids, uint64 of shape (n,).
        as_of_ms: int64 of shape (n,).
    """
    day_ms = as_of_ms // DAY_MS * DAY_MS
    every = np.full(len(product), hash64(ALL), np.uint64)
    records = _records(rows, np.concatenate([product, every]), np.concatenate([day_ms, day_ms]))
    return joined.product_columns(records[: len(product)], records[len(product) :], day_ms)


def _records(rows: StreamRows | None, ids: NDArray[np.uint64], before_ms: Times) -> NDArray[np.void]:
    """The record of each id, made of its rows before a time."""
    view = discover()[joined.VIEW]
    if rows is None or not len(rows.rows):
        return view.empty(len(ids))
    hashes = {name: hash64(name) for name in set(rows.rows.entities)}
    of_row = np.array([hashes[name] for name in rows.rows.entities], np.uint64)
    distinct, entity = np.unique(np.concatenate([of_row, ids]), return_inverse=True)
    own, asked = entity[: len(of_row)].astype(np.int64), entity[len(of_row) :].astype(np.int64)
    by_time = np.argsort(rows.rows.columns["event_time_ms"], kind="stable")
    columns = {name: column[by_time] for name, column in rows.rows.columns.items()}
    order, first = grouped(own[by_time], len(distinct))
    visible = count_before(columns["event_time_ms"][order], first, asked, before_ms, equal=False)
    return _distinct_snapshots(columns, own[by_time], asked, visible)


def _distinct_snapshots(
    columns: dict[str, NDArray[Any]], own: NDArray[np.int64], asked: NDArray[np.int64], visible: NDArray[np.int64]
) -> NDArray[np.void]:
    """Many ask for the same: each is folded once."""
    pairs, inverse = np.unique(np.column_stack([asked, visible]), axis=0, return_inverse=True)
    records = snapshots(discover()[joined.VIEW], columns, own, pairs[:, 0].copy(), pairs[:, 1].copy())
    return records[inverse.ravel()]


def behind(vector: FeatureVector, versions: Collection[float]) -> bool:
    """Whether what a vector joined is not of all order lines that the log has until the end of its yesterday.

    Args:
        vector: a logged one.
        versions: those of its rows, by the log.
    """
    logged = vector.context.get(JOINED_VERSION, UNJOINED)
    return bool(versions) and any(version != logged for version in versions)


def join(rows: ReorderRows, vectors: Sequence[FeatureVector], lines: StreamRows | None) -> list[bool]:
    """Fills in the joined columns of recomputed rows.

    Args:
        rows: of the customers of the vectors, in their order.
        vectors: logged ones.
        lines: the rows of the stream `product_lines`.

    Returns:
        Which vectors were behind.
    """
    as_of_ms = np.array([v.as_of_ms for v in vectors], np.int64)[rows.customer]
    found = product_values(lines, rows.product, as_of_ms)
    joined.put_in(rows, found.columns)
    bounds = np.searchsorted(rows.customer, np.arange(len(vectors) + 1)).tolist()
    return [
        behind(v, set(found.version[low:high].tolist()))
        for v, (low, high) in zip(vectors, itertools.pairwise(bounds), strict=True)
    ]
