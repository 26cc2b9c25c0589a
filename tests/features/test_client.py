"""The reader library: four statuses told apart, ages on the stream's clock, and records of other versions."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.aggregations import Count, Recent, Span
from features.aggregations.base import DAY_MS
from features.client import FeatureClient
from features.discovery import discover
from features.layout import layout_of
from features.rows import ClickKind, OrderKind
from features.store import FenceMove, Guard, MemoryStore, Record, StoreUnavailable, Tick, Wanted, Write
from features.store.base import bucket_of
from features.view import SHARDED, View
from tests.features.streams import START_MS, Event, folded

DOCUMENT = Path(__file__).parents[2] / "docs" / "feature-client.md"
VIEWED = (ClickKind.PRODUCT_VIEW,)
CLICKS = View(
    "seen",
    "clicks",
    "what is looked at",
    (Count("n", "pages", VIEWED), Span("page", "pages", VIEWED), Recent("last", "pages", VIEWED, length=3)),
    ttl_days=10,
    stale_after_days=4,
)
ORDERS = View("bought", "orders", "what is ordered", (Count("orders", "orders", (OrderKind.PLACED,)),), ttl_days=100)
STOCK = View("shelf", "inventory", "what is there", (Count("counts", "counts", (0,)),), ttl_days=100)
VIEWS = {view.name: view for view in (CLICKS, ORDERS, STOCK)}
PAGE = {"product": 7}


class Counting(MemoryStore):
    """Counts round trips for records."""

    loads = 0

    def load_all(self, wanted: Sequence[Wanted], guards: Sequence[Guard] = ()) -> list[list[bytes | None]]:
        self.loads += 1
        return super().load_all(wanted, guards)


class Gone(MemoryStore):
    """A server that does not answer."""

    def load_all(self, wanted: Sequence[Wanted], guards: Sequence[Guard] = ()) -> list[list[bytes | None]]:
        raise StoreUnavailable("redis://nowhere: refused")

    def clock(self) -> dict[str, Tick]:
        raise StoreUnavailable("redis://nowhere: refused")


def write(store: MemoryStore, view: View, events: Sequence[Event], registered: bool = True) -> None:
    """Folds events and puts the records into the store, as a worker does."""
    names, records = folded(view, events)
    put(store, view.name, {name: records[i].tobytes() for i, name in enumerate(names)})
    if registered:
        store.remember_layouts({view.fingerprint: layout_of(view).encode()})


def put(store: MemoryStore, view: str, blobs: Mapping[str, bytes]) -> None:
    for key, blob in blobs.items():
        bucket = bucket_of(key, store.buckets)
        fence = store.claim("t", 0)[bucket]
        move = FenceMove("t", 0, fence.epoch, fence.next_offset, (fence.next_offset or 0) + 1)
        store.commit([Write(bucket, [move], [Record("f", view, key, blob, 10**12)])])


def client(store: MemoryStore, views: Mapping[str, View] = VIEWS, wall_ms: int = START_MS) -> FeatureClient:
    return FeatureClient(store=store, views=views, wall_ms=lambda: wall_ms)


def page(key: str, days: float = 0.0) -> Event:
    return Event(ClickKind.PRODUCT_VIEW, START_MS + int(days * DAY_MS), key, PAGE)


@pytest.fixture
def store() -> Counting:
    """Customer a saw two pages, b one; a has ordered."""
    store = Counting()
    write(store, CLICKS, [page("a"), page("b"), page("a", 1)])
    write(store, ORDERS, [Event(OrderKind.PLACED, START_MS, "a")])
    return store


# --- status -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "max_age_days", "status"),
    [
        (1.0, None, "fresh"),
        (5.0, None, "fresh"),
        (5.001, None, "stale"),
        (11.0, None, "stale"),
        (11.001, None, "expired"),
        (2.0, 0.5, "stale"),
        (9.0, 9.0, "fresh"),
        (12.0, 100.0, "expired"),
    ],
)
def test_status_follows_the_age_of_the_newest_event(
    store: Counting, days: float, max_age_days: float | None, status: str
) -> None:
    at = START_MS + int(days * DAY_MS)
    seen = client(store).get("customer", "a", ["seen"], at, max_age_days)["seen"]
    assert seen.status == status
    assert seen.event_time_ms == START_MS + DAY_MS
    assert seen.age_days == pytest.approx(days - 1)
    assert seen.ttl_share == pytest.approx((days - 1) / 10)
    assert (seen.version, seen.layout) == (2, f"{CLICKS.fingerprint:016x}")


def test_missing_and_expired_serve_no_values(store: Counting) -> None:
    reader = client(store)
    missing = reader.get("customer", "nobody", as_of_ms=START_MS)["seen"]
    expired = reader.get("customer", "a", as_of_ms=START_MS + 20 * DAY_MS)["seen"]
    assert (missing.status, expired.status) == ("missing", "expired")
    for view in (missing, expired):
        assert (view.values, view.lists) == ({}, {})
    assert (missing.event_time_ms, missing.age_days, missing.ttl_share, missing.version) == (None, None, None, None)
    assert expired.age_days == 19


def test_values_and_lists_are_those_of_the_view(store: Counting) -> None:
    at = START_MS + 2 * DAY_MS
    found = client(store).get("customer", "a", as_of_ms=at)
    names, records = folded(CLICKS, [page("a"), page("a", 1)])
    assert names == ["a"]
    columns = CLICKS.read(records, np.zeros(1, np.int64), np.array([at]))
    assert found["seen"].values == {name: column[0] for name, column in columns.items()}
    lists = CLICKS.read_lists(records, np.zeros(1, np.int64), np.array([at]))
    assert found["seen"].lists.keys() == lists.keys()
    for name, expected in lists.items():
        np.testing.assert_array_equal(found["seen"].lists[name], expected[0])
    assert found.values["bought__orders"] == 1
    assert set(found.values) == {f"seen__{name}" for name in CLICKS.describe()} | {"bought__orders"}


def test_unknown_columns_are_nan_not_zero() -> None:
    store = MemoryStore()
    write(store, CLICKS, [Event(ClickKind.SEARCH, START_MS, "a")])
    seen = client(store).get("customer", "a", as_of_ms=START_MS)["seen"]
    assert seen.status == "fresh"
    assert np.isnan(seen.values["page_last_age_days"])


def test_a_record_newer_than_asked_for_has_age_0(store: Counting) -> None:
    seen = client(store).get("customer", "a", as_of_ms=START_MS - DAY_MS)["seen"]
    assert (seen.status, seen.age_days) == ("fresh", 0)


# --- many -------------------------------------------------------------------------------------------------------------


def test_many_keys_and_all_views_are_one_round_trip_in_order(store: Counting) -> None:
    keys = ["b", "nobody", "a", "b"]
    found = client(store).get_many("customer", keys, as_of_ms=START_MS + DAY_MS)
    assert store.loads == 1
    assert [one.key for one in found] == keys
    assert [one["seen"].values.get("n") for one in found] == [1, None, 2, 1]
    assert [one["bought"].status for one in found] == ["missing", "missing", "fresh", "missing"]
    assert client(store).get_many("customer", [], as_of_ms=START_MS) == []


def test_the_matrix_has_what_a_model_is_fed_where_nothing_is_or_has_expired(store: Counting) -> None:
    columns = ["bought__orders", "seen__n", "seen__page_first_age_days"]
    matrix = client(store).matrix("customer", ["a", "nobody", "b"], columns, START_MS + int(10.5 * DAY_MS))
    np.testing.assert_array_equal(matrix.values, [[1, 2, 10.5], [0, 0, np.nan], [0, 0, np.nan]])
    assert matrix.status.tolist() == [["fresh", "stale"], ["missing", "missing"], ["missing", "expired"]]


def test_the_matrix_has_nan_there_if_it_is_asked_to(store: Counting) -> None:
    columns = ["bought__orders", "seen__n", "seen__page_first_age_days"]
    at = START_MS + int(10.5 * DAY_MS)
    matrix = client(store).matrix("customer", ["a", "nobody", "b"], columns, at, absent="nan")
    assert store.loads == 1
    nan = np.nan
    np.testing.assert_array_equal(matrix.values, [[1, 2, 10.5], [nan, nan, nan], [nan, nan, nan]])
    assert matrix.values.dtype == np.float64
    assert matrix.views == ("bought", "seen")
    assert matrix.status.tolist() == [["fresh", "stale"], ["missing", "missing"], ["missing", "expired"]]
    assert client(store).matrix("customer", [], columns, START_MS).values.shape == (0, 3)


@pytest.mark.parametrize("buckets", [1, 8])
def test_matrix_and_get_many_agree_for_every_shipped_view(buckets: int) -> None:
    store = MemoryStore(buckets)
    store.tick({"demand:0": Tick(START_MS, 1)})
    for view in discover().values():
        kind, shard = view.aggregations[0].where[0], "#0" if view.stream in SHARDED else ""
        write(store, view, [Event(kind, START_MS + day * DAY_MS, f"e{day % 5}{shard}") for day in range(9)])
    reader = FeatureClient(store=store)
    for entity in {view.entity for view in discover().values()}:
        keys, at = [f"e{n}" for n in range(7)], START_MS + 20 * DAY_MS
        found = reader.get_many(entity, keys, as_of_ms=at)
        matrix = reader.matrix(entity, keys, list(found[0].values), at, absent="nan")
        assert len(matrix.columns) >= 5
        rows = [[one.values.get(column, np.nan) for column in matrix.columns] for one in found]
        np.testing.assert_array_equal(matrix.values, rows)


# --- clock ------------------------------------------------------------------------------------------------------------


def test_now_is_that_of_the_stream_and_goes_on_while_the_engine_stands_still(store: Counting) -> None:
    assert client(store, wall_ms=77).now_ms() == 77
    wall = START_MS + 5000 * DAY_MS
    store.tick({"orders:0": Tick(START_MS + DAY_MS, wall - 500), "orders:1": Tick(START_MS, wall)})
    assert client(store, wall_ms=wall).now_ms() == START_MS + DAY_MS + 500
    later = client(store, wall_ms=wall + 6 * DAY_MS).get("customer", "a")
    assert later.as_of_ms == START_MS + 7 * DAY_MS + 500
    assert later["seen"].status == "stale"


def test_a_wall_clock_that_is_behind_does_not_take_time_back(store: Counting) -> None:
    store.tick({"orders:0": Tick(START_MS, 1_000_000)})
    assert client(store, wall_ms=0).now_ms() == START_MS


# --- other versions ---------------------------------------------------------------------------------------------------

OLDER = replace(CLICKS, aggregations=(CLICKS.aggregations[0], Count("gone", "no more", VIEWED)))


def test_a_record_of_another_layout_is_taken_over_and_the_answer_says_so() -> None:
    store = MemoryStore()
    write(store, OLDER, [page("a"), page("a", 1)])
    write(store, CLICKS, [page("b")])
    old, new = client(store).get_many("customer", ["a", "b"], ["seen"], START_MS + DAY_MS)
    assert old["seen"].migrated is not None
    assert old["seen"].migrated.kept == ("n",)
    assert old["seen"].migrated.dropped == ("gone",)
    assert old["seen"].values["n"] == 2
    assert np.isnan(old["seen"].values["page_last_age_days"])
    assert (old["seen"].status, old["seen"].version) == ("fresh", 2)
    assert old["seen"].layout == f"{OLDER.fingerprint:016x}"
    assert new["seen"].migrated is None


def test_a_layout_that_nobody_registered_reads_as_missing_until_somebody_does() -> None:
    store = MemoryStore()
    write(store, OLDER, [page("a")], registered=False)
    reader = client(store)
    unknown = reader.get("customer", "a", as_of_ms=START_MS)["seen"]
    assert (unknown.status, unknown.values) == ("missing", {})
    assert unknown.layout == f"{OLDER.fingerprint:016x}"
    store.remember_layouts({OLDER.fingerprint: layout_of(OLDER).encode()})
    assert reader.get("customer", "a", as_of_ms=START_MS)["seen"].values["n"] == 1


def test_raw_names_fields_of_views_that_this_code_does_not_know() -> None:
    store = MemoryStore()
    write(store, OLDER, [page("a"), page("a", 1)])
    reader = client(store, {"bought": ORDERS})
    raw = reader.raw("customer", "a", "seen")
    assert raw is not None
    assert {name: values.tolist() for name, values in raw.fields.items()} == {"n.n": [2], "gone.n": [2]}
    assert (raw.event_time_ms, raw.version) == (START_MS + DAY_MS, 2)
    assert raw.layout.stream == "clicks"
    assert reader.raw("customer", "b", "seen") is None


def test_raw_refuses_what_it_cannot_name() -> None:
    store = MemoryStore()
    write(store, CLICKS, [page("a")], registered=False)
    with pytest.raises(ValueError, match=rf"'seen' of customer 'a' has layout {CLICKS.fingerprint:016x}, which nobody"):
        client(store).raw("customer", "a", "seen")
    store.remember_layouts({CLICKS.fingerprint: layout_of(CLICKS).encode()})
    with pytest.raises(ValueError, match="its layout is of customer and"):
        client(store).raw("item", "a", "seen")


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_unknown_entities_views_and_columns_are_told_with_what_there_is(store: Counting) -> None:
    reader = client(store)
    with pytest.raises(ValueError, match="no features of 'shop'; there are features of customer, item"):
        reader.get("shop", "a")
    with pytest.raises(ValueError, match="no view shelf of customer; there are bought, seen"):
        reader.get("customer", "a", ["bought", "shelf"])
    with pytest.raises(ValueError, match="no column seen__m; there are seen__n, seen__page_first_age_days"):
        reader.matrix("customer", ["a"], ["seen__n", "seen__m"])
    with pytest.raises(ValueError, match=r'FeatureClient\("redis://'):
        FeatureClient()


def test_a_store_that_does_not_answer_is_named() -> None:
    for read in (
        lambda: client(Gone()).get("customer", "a"),
        lambda: client(Gone()).get("customer", "a", as_of_ms=0),
        lambda: client(Gone()).raw("customer", "a", "seen"),
    ):
        with pytest.raises(StoreUnavailable, match=r"does not answer \(redis://nowhere: refused\); check that it runs"):
            read()


# --- for people -------------------------------------------------------------------------------------------------------


def test_it_prints_what_a_notebook_wants(store: Counting) -> None:
    shown = repr(client(store).get("customer", "a", as_of_ms=START_MS + 11 * DAY_MS + DAY_MS // 2))
    assert shown.splitlines()[0] == "customer 'a' as of 2020-01-17 12:00:00 UTC"
    assert "bought: fresh, 11.5 days old, 12% of its TTL\n    orders 1" in shown
    assert "seen: expired, 10.5 days old, 105% of its TTL" in shown
    assert "seen: missing" in repr(client(store).get("customer", "nobody", as_of_ms=START_MS))


def test_it_needs_no_engine() -> None:
    code = "import sys, features.client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "features.client" in loaded
    assert not loaded & {"stream", "models", "confluent_kafka", "onnxruntime", "polars"}


def test_the_document_runs() -> None:
    store = MemoryStore()
    orders, stock = discover()["customer_orders"], discover()["item_stock"]
    june = 1_306_886_400_000
    placed = [
        Event(OrderKind.PLACED, june - days * DAY_MS, "17850", {"value": 20_000, "units": 1000, "lines": 1000})
        for days in (20, 10, 3)
    ]
    write(store, orders, placed)
    write(store, stock, [Event(0, june - DAY_MS, "warehouse:85123A", {"quantity": 36_000})])
    store.tick({"orders:0": Tick(june, 1_000)})
    reader = FeatureClient(store=store, wall_ms=lambda: 1_000)
    done = doctest.testfile(
        str(DOCUMENT),
        module_relative=False,
        globs={"client": reader, "june": june},
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
        encoding="utf-8",
    )
    assert done.attempted > 5
    assert done.failed == 0


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda c: c.get_many("customer", "42"), "keys are texts, and several"),
        (lambda c: c.get_many("customer", [42]), "keys are texts, and several"),
        (lambda c: c.get("customer", "42", views="seen"), "views are several"),
    ],
)
def test_what_looks_right_and_is_not_is_told(store: Counting, ask: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask(client(store))
