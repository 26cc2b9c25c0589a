from __future__ import annotations

import numpy as np
import pytest

from features.aggregations import Count
from features.aggregations.base import DAY_MS
from features.discovery import discover, views_of
from features.rows import ClickKind, Rows
from features.store import MemoryStore, Record, Write
from features.table import EntityTable
from features.view import View
from tests.features.streams import START_MS, Event, folded, rows

VIEWED = View("viewed", "clicks", "views", (Count("n", "views", (ClickKind.PRODUCT_VIEW,)),), ttl_days=1)


def clicks(keys: list[str], start_ms: int = START_MS) -> Rows:
    events = [
        Event(i % 7, start_ms + i * 1000, key, {"product": 1 + i % 5 if i % 7 < 3 else 0}) for i, key in enumerate(keys)
    ]
    return rows("clicks", events)


def process(table: EntityTable, store: MemoryStore, batch: Rows) -> None:
    """A micro-batch as the worker does it: load, fold, write through."""
    table.next_batch()
    missing = table.missing(batch.entities)
    table.admit(missing, {view: store.load("f", view, missing) for view in table.views})
    table.fold(batch)
    keys = list(dict.fromkeys(batch.entities))
    for view in table.views.values():
        if view.stream == batch.stream:
            packed = table.pack(view.name, table.slots_of(keys))
            records = [Record("f", view.name, key, blob, 3_600_000) for key, blob in zip(keys, packed, strict=True)]
            store.commit([Write(0, [], records)])


def random_batches(keys: int, batches: int, size: int) -> list[Rows]:
    random = np.random.default_rng(5)
    drawn = [random.integers(0, keys, size).tolist() for _ in range(batches)]
    return [clicks([f"c{k}" for k in some], START_MS + n * DAY_MS) for n, some in enumerate(drawn)]


@pytest.mark.parametrize("max_entities", [1, 40, 150, 1300, 10_000])
def test_a_table_smaller_than_the_key_set_loses_nothing(max_entities: int) -> None:
    """Keys come back after an eviction, beside keys that are at hand but were not used lately."""
    batches = random_batches(keys=2000, batches=60, size=100)
    table, store = EntityTable("customer", views_of("customer"), max_entities), MemoryStore()
    for batch in batches:
        process(table, store, batch)
        assert len(table) <= max(max_entities, len(set(batch.entities)))
    view = discover()["customer_clicks"]
    everything = [
        Event(int(b.columns["kind"][i]), int(b.columns["event_time_ms"][i]), b.entities[i], {"product": int(p)})
        for b in batches
        for i, p in enumerate(b.columns["product"])
    ]
    names, records = folded(view, everything)
    assert store.scan("f", "customer_clicks") == {name: records[i].tobytes() for i, name in enumerate(names)}


def test_the_least_recently_used_gives_way() -> None:
    table, store = EntityTable("customer", [VIEWED], max_entities=3), MemoryStore()
    for keys in (["a"], ["b"], ["c"], ["a"], ["d"]):
        process(table, store, clicks(keys))
    assert [key for key in "abcd" if key in table] == ["a", "c", "d"]


def test_what_a_batch_touches_stays_even_if_it_was_the_least_recently_used() -> None:
    table, store = EntityTable("customer", [VIEWED], max_entities=3), MemoryStore()
    for keys in (["a"], ["b"], ["c"], ["d", "a"]):
        process(table, store, clicks(keys))
    assert "a" in table
    assert "d" in table


def test_a_batch_larger_than_the_table_stays_whole_and_the_next_one_shrinks_it() -> None:
    table, store = EntityTable("customer", [VIEWED], max_entities=10), MemoryStore()
    many = [f"c{n}" for n in range(3000)]
    process(table, store, clicks(many))
    assert table.missing(many) == []
    process(table, store, clicks(["new"]))
    assert len(table) <= 10
    assert "new" in table


def test_eviction_makes_room_for_many_batches_at_once() -> None:
    """A scan of the whole table for every cold entity would make large tables slow."""
    table, store = EntityTable("customer", [VIEWED], max_entities=1000), MemoryStore()
    process(table, store, clicks([f"c{n}" for n in range(1000)]))
    process(table, store, clicks(["new"]))
    assert len(table) < 950


def test_growth_keeps_records_and_slots() -> None:
    table = EntityTable("customer", [VIEWED])
    first = table.admit_new(["a", "b"])
    table.fold(rows("clicks", [Event(0, START_MS, "a"), Event(0, START_MS, "a"), Event(0, START_MS, "b")]))
    more = table.admit_new([f"c{n}" for n in range(5000)])
    assert table.read("viewed", first, np.full(2, START_MS))["n"].tolist() == [2.0, 1.0]
    assert table.slots_of(["a", "b"]).tolist() == first.tolist()
    assert len({*first.tolist(), *more.tolist()}) == len(table) == 5002
    assert not table.read("viewed", more, np.full(5000, START_MS))["n"].any()


def test_a_slot_that_is_used_again_begins_empty() -> None:
    table = EntityTable("customer", [VIEWED])
    (slot,) = table.admit_new(["a"])
    table.fold(rows("clicks", [Event(0, START_MS, "a")]))
    table.forget(["a"])
    assert table.admit_new(["b"]).tolist() == [slot]
    assert table.read("viewed", np.array([slot]), np.array([START_MS]))["n"].tolist() == [0.0]
    assert table.event_time_ms(np.array([slot])).tolist() == [0]


def test_forget_drops_some_or_all_and_only_from_memory() -> None:
    table, store = EntityTable("customer", [VIEWED]), MemoryStore()
    process(table, store, clicks(["a", "b", "c"]))
    table.forget(["b", "never seen"])
    assert (len(table), "a" in table, "b" in table) == (2, True, False)
    table.forget()
    assert len(table) == 0
    assert set(store.scan("f", "viewed")) == {"a", "b", "c"}


def test_missing_is_in_order_and_once() -> None:
    table = EntityTable("customer", [VIEWED])
    table.admit_new(["b"])
    assert table.missing(["c", "b", "a", "c"]) == ["c", "a"]


def test_admitted_records_are_those_that_were_packed() -> None:
    table = EntityTable("customer", views_of("customer"))
    slots = table.admit_new(["a", "b"])
    table.fold(clicks(["a", "b", "a", "b", "b"]))
    packed = {view: table.pack(view, slots) for view in table.views}
    other = EntityTable("customer", views_of("customer"))
    other.admit_new(["z"])
    again = other.admit(["a", "b"], packed)
    assert {view: other.pack(view, again) for view in other.views} == packed
    assert other.event_time_ms(again).tolist() == table.event_time_ms(slots).tolist()


def test_a_record_of_another_layout_starts_anew() -> None:
    elsewhere = View("viewed", "clicks", "views", (Count("n", "carts", (ClickKind.ADD_TO_CART,)),), ttl_days=1)
    assert elsewhere.dtype == VIEWED.dtype, "the bytes fit, the meaning does not"
    source = EntityTable("customer", [elsewhere])
    slots = source.admit_new(["a"])
    source.fold(rows("clicks", [Event(ClickKind.ADD_TO_CART, START_MS, "a")]))
    (foreign,) = source.pack("viewed", slots)
    table = EntityTable("customer", [VIEWED])
    admitted = table.admit(["a", "b", "c"], {"viewed": [foreign, foreign[:8], b""]})
    assert table.read("viewed", admitted, np.full(3, START_MS))["n"].tolist() == [0.0, 0.0, 0.0]
    assert table.pack("viewed", admitted) == [bytes(VIEWED.dtype.itemsize)] * 3


def test_the_event_time_is_the_newest_of_all_views() -> None:
    table = EntityTable("item", views_of("item"))
    slots = table.admit_new(["w:A", "w:B"])
    table.fold(rows("demand", [Event(0, 5000, "w:A"), Event(0, 3000, "w:A")]))
    table.fold(rows("inventory", [Event(0, 4000, "w:A"), Event(0, 9000, "w:B")]))
    assert table.event_time_ms(slots).tolist() == [5000, 9000]


def test_a_fold_touches_only_the_views_of_its_stream() -> None:
    table = EntityTable("item", views_of("item"))
    slots = table.admit_new(["w:A"])
    table.fold(rows("demand", [Event(0, 5000, "w:A")]))
    table.fold(rows("demand", []))
    assert table.pack("item_stock", slots) == [bytes(table.views["item_stock"].dtype.itemsize)]
