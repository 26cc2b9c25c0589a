"""Two versions of a worker side by side: partitions move between them, and neither misreads what the other wrote."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from features.aggregations import Count
from features.discovery import discover
from features.rows import ClickKind
from features.store import FenceConflict, MemoryStore
from features.table import EntityTable
from features.view import View
from tests.stream.build import DAY_MS, T0, Engine, Message, RecordingSink, click, message, metric
from tests.stream.test_commit import all_of

OLD = discover()["customer_clicks"]
SHARED = [a for a in OLD.aggregations if a.name != "carts"]
CARTS = next(a for a in OLD.aggregations if a.name == "carts")
#: The next version: one column is renamed, one is new, and all others stand elsewhere in the record.
NEW = replace(
    OLD,
    aggregations=(
        Count("searches", "searches", (ClickKind.SEARCH,)),
        *reversed(SHARED),
        replace(CARTS, name="put_into_cart", was=("carts",)),
    ),
    derived=(),
)
CUSTOMERS = ["a", "b", "c"]


def worker(store: MemoryStore, view: View) -> Engine:
    return Engine(store, RecordingSink(), views={**discover(), view.name: view})


def clicks(n: int, seed: int) -> list[Message]:
    random_ = random.Random(seed)
    kinds = ["product_view", "add_to_cart", "search"]
    records = []
    for i in range(n):
        customer, kind = random_.choice(CUSTOMERS), random_.choice(kinds)
        more: dict[str, Any] = {"query": "q"} if kind == "search" else {}
        at = T0 + i * DAY_MS // 20
        records.append(message("clicks", customer, click(customer, "V", at, kind, event_id=f"c{i}") | more, i))
    return records


def columns(store: MemoryStore, view: View) -> dict[str, list[float]]:
    table = EntityTable("customer", [view])
    slots = table.admit(CUSTOMERS, {view.name: store.load("f", view.name, CUSTOMERS)})
    read = table.read(view.name, slots, np.full(3, T0 + 10 * DAY_MS))
    return {name: column.tolist() for name, column in read.items()}


@pytest.mark.parametrize("seed", range(5))
def test_two_versions_take_turns_and_no_shared_column_is_harmed(seed: int) -> None:
    random_ = random.Random(seed)
    records, store = clicks(100, seed), MemoryStore()
    at = turns = 0
    versions = [OLD, NEW] * 5
    for turn, version in enumerate(versions):
        engine = worker(store, version)
        engine.assign({**all_of(), ("clicks", 0): at})
        turns += at < len(records)
        while at < len(records) and (random_.random() < 0.6 or turn == len(versions) - 1):
            end = at + random_.randint(1, 8)
            engine.commit.process(records[at:end])
            at = min(end, len(records))
    assert at == len(records)
    alone = MemoryStore()
    engine = worker(alone, NEW)
    engine.assign(all_of())
    engine.commit.process(records)
    assert turns > 2, "they did take turns"
    through, expected = columns(store, NEW), columns(alone, NEW)
    # What the old version does not know, it cannot carry: that column begins anew after its turn, and is no more.
    searches, all_searches = through.pop("searches"), expected.pop("searches")
    assert through == expected
    assert all(some <= whole for some, whole in zip(searches, all_searches, strict=True))


def test_a_migration_is_counted() -> None:
    store, records = MemoryStore(), clicks(10, 1)
    old, new = worker(store, OLD), worker(store, NEW)
    old.assign(all_of())
    old.commit.process(records[:5])
    new.assign({**all_of(), ("clicks", 0): 5})
    new.commit.process(records[5:])
    touched = {r.key() for r in records[:5]} & {r.key() for r in records[5:]}
    assert metric(new.metrics, "tidecast_records_migrated_total", view="customer_clicks") == len(touched)
    assert touched


def test_the_older_version_is_fenced_off_while_the_newer_owns_the_partition() -> None:
    store, records = MemoryStore(), clicks(10, 2)
    old, new = worker(store, OLD), worker(store, NEW)
    old.assign(all_of())
    new.assign(all_of())
    new.commit.process(records[:5])
    before = store.scan("f", "customer_clicks")
    with pytest.raises(FenceConflict):
        old.commit.process(records[:5])
    assert store.scan("f", "customer_clicks") == before
