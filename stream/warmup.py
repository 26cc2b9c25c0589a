"""Warm-up: compiles (or loads from cache) every kernel that the worker runs, before the first event waits for it.

python -m stream.warmup      # at image build, so that containers start fast
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from features.aggregations.base import Times
from features.discovery import discover, views_of
from features.duplicates import Seen, event_ids
from features.ids import IdCache
from features.rows import STREAMS, rows_of
from features.shards import merged
from features.table import EntityTable
from features.vectors import joined, regional, shelf
from features.vectors.next_best_offer import offer_rows
from features.vectors.reorder import JOINED, join, reorder_rows
from features.vectors.stockout import stockout_rows
from features.view import SHARDED
from stream.ownership import fresh_positions
from stream.reference import Reference
from stream.scorers import reasons


def warm_up() -> None:
    """Folds and reads one made-up row of every stream, in tables of its own."""
    tables = {entity: EntityTable(entity, views_of(entity)) for entity in sorted({e for e, _ in STREAMS.values()})}
    for stream, (entity, columns) in STREAMS.items():
        table = tables[entity]
        missing = table.missing(["warm:up"])
        if missing:
            table.admit_new(missing)
        ones = {name: [1] for name in columns}
        table.fold(rows_of(stream, ["warm:up"], kind=[0], event_time_ms=[86_400_000], **ones))
    as_of = np.array([2 * 86_400_000], np.int64)
    customers, items = tables["customer"], tables["item"]
    rows = reorder_rows(customers, customers.slots_of(["warm:up"]), as_of)
    join(rows.customer, rows.features, rows.features[:, : len(JOINED)])
    offer_rows(customers, customers.slots_of(["warm:up"]), as_of)
    stockout_rows(items, items.slots_of(["warm:up"]), as_of, np.array([7.0]))
    shelf.shelf_rows(items, items.slots_of(["warm:up"]), as_of)
    _join(tables, as_of)
    reasons.warm_up()
    Reference(IdCache()).words(np.zeros(1, np.uint64))
    one = np.zeros(1, np.int64)
    Seen(horizon=1).take_in_all(event_ids(["warm:up"]), one, folded_to=0)
    fresh_positions(one[:, None], one, one, np.full((1, 1), -1, np.int64))


def _join(tables: Mapping[str, EntityTable], as_of_ms: Times) -> None:
    """Merges shards, and reads what is joined of them."""
    shards = {name: np.stack([records[:1]] * 2) for table in tables.values() for name, records in table.records.items()}
    for view in discover().values():
        if view.stream in SHARDED:
            merged(view, shards[view.name])
    products = shards.get(joined.VIEW)
    if products is not None:
        joined.product_columns(products[0], products[1], as_of_ms)
    regions = shards.get(regional.VIEW)
    if regions is not None:
        regional.region_columns(regions[0], as_of_ms)


if __name__ == "__main__":
    warm_up()
    print("kernels are compiled")
