"""`tidecast features`: describe, show, size and forget, on a real store and broker."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from features.client import FeatureClient
from features.discovery import VARIABLE, discover
from features.ids import hash64
from features.layout import layout_of
from features.store import FenceConflict, FenceMove, MemoryStore, Record, Store, Tick, Write
from features.store.base import bucket_of
from features.store.redis import RedisStore
from stream.cli import main
from stream.cli.size import Sizes, measure
from stream.embedded import Embedded, free_port
from stream.erase import forget, places_of, registered_views, topics_of
from stream.reader import TopicReader
from stream.settings import KafkaSettings
from stream.sink import SinkFailed
from tests.features.streams import START_MS, Event, folded

SCORE = {"model": "reorder", "version": "0.1.0", "products": [{"sku": "85123A"}]}


@pytest.fixture(autouse=True)
def _plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file by chance, no colours, wide lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def tidecast(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the entry point in this process: exit code, stdout, stderr."""

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tidecast", *args])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return int(code), *capsys.readouterr()

    return run


class FakeSink:
    """Keeps what is produced, or refuses."""

    def __init__(self, refuses: bool = False) -> None:
        self.produced: list[tuple[str, bytes | None, bytes | None]] = []
        self.flushed = 0
        self._refuses = refuses

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        self.produced.append((topic, key, value))

    def flush(self, timeout_s: float = 60.0) -> None:
        if self._refuses:
            raise SinkFailed("no leader")
        self.flushed = len(self.produced)


def records_of(key: str, entity: str) -> list[Record]:
    """A record of everything that the store may have of an entity."""
    out = []
    for kind, name in places_of(entity, discover()):
        value = json.dumps(SCORE).encode()
        if kind == "f":
            view = discover()[name]
            product = {"product": hash64("85123A"), "quantity": 1000}
            events = [Event(view.aggregations[0].where[0], START_MS, key, product)]
            value = folded(view, events)[1][0].tobytes()
        out.append(Record(kind, name, key, value, 3_600_000))
    return out


def put(store: Store, records: Sequence[Record], erasures: int | None = None) -> None:
    bucket = bucket_of(records[0].entity, store.buckets)
    fence = store.claim("orders", 0)[bucket]
    move = FenceMove("orders", 0, fence.epoch, fence.next_offset, (fence.next_offset or 0) + 1)
    store.commit([Write(bucket, [move], records, erasures)])


def values(store: Store, entity: str, key: str) -> list[bytes | None]:
    return [store.load(kind, name, [key])[0] for kind, name in places_of(entity, discover())]


# --- describe ---------------------------------------------------------------------------------------------------------


def test_describe_lists_every_view_and_column(tidecast: Any) -> None:
    code, out, _ = tidecast("features", "describe")
    assert code == 0
    for view in discover().values():
        assert f"{view.name} ({view.entity}; stream {view.stream}; " in out
        assert all(name in out for name in (*view.describe(), *view.describe_lists()))


def test_describe_of_one_view_tells_what_cancellations_do(tidecast: Any) -> None:
    _, out, _ = tidecast("features", "describe", "customer_orders")
    assert "item_demand" not in out
    for part in discover()["customer_orders"].aggregations:
        assert f"{part.name}: {type(part).__name__}; " in out
        assert part.undone[:60] in out
    assert "where: placed, minus: cancelled" in out


def test_describe_as_json(tidecast: Any) -> None:
    told = {view["name"]: view for view in json.loads(tidecast("features", "describe", "--json")[1])}
    assert told.keys() == discover().keys()
    for name, view in discover().items():
        assert told[name]["columns"] == view.describe()
        assert told[name]["packed_bytes"] == view.dtype.itemsize
        assert [a["undone"] for a in told[name]["aggregations"]] == [a.undone for a in view.aggregations]


def test_describe_says_which_views_there_are(tidecast: Any) -> None:
    code, _, err = tidecast("features", "describe", "orders")
    assert code == 2
    assert "there is no view 'orders'; there are customer_clicks, " in err


def test_a_view_file_that_is_wrong_is_named(tidecast: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("VIEW = 1")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    discover.cache_clear()
    try:
        code, _, err = tidecast("features", "describe")
    finally:
        monkeypatch.undo()
        discover.cache_clear()
    assert code == 2
    assert "mine.py declares no view" in err


# --- show -------------------------------------------------------------------------------------------------------------


def test_show_tells_status_age_values_lists_and_scores(tidecast: Any, services: Embedded) -> None:
    key, namespace = uuid4().hex, uuid4().hex
    where = ("--store-url", services.store_url, "-s", f"store.namespace={namespace}")
    store = RedisStore(services.store_url, namespace)
    put(store, records_of(key, "customer"))
    store.remember_names({hash64("85123A"): "85123A"})
    store.remember_layouts({view.fingerprint: layout_of(view).encode() for view in discover().values()})
    code, out, _ = tidecast("features", "show", "customer", key, "--as-of", "2020-01-08", *where)
    assert code == 0
    assert "customer_orders: fresh; newest event 2020-01-06 00:00 UTC, 2.0 days before, 0% of its TTL; 1 rows" in out
    assert "85123A" in out.split("latest score of reorder")[0], "a sequence column names its products"
    assert "latest score of next-best-offer" in out
    told = json.loads(tidecast("features", "show", "customer", key, "--as-of", "2031-01-08", "--json", *where)[1])
    assert {view["status"] for view in told["views"].values()} == {"expired"}
    assert told["scores"]["reorder"] == SCORE
    store.tick({"orders:0": Tick(START_MS, 2**60)})
    told = json.loads(tidecast("features", "show", "customer", key, "--json", *where)[1])
    assert told["as_of_ms"] == START_MS, "the stream's clock, not the wall's"
    found = FeatureClient(store=store).get("customer", key)
    assert told["views"]["customer_orders"]["values"]["orders"] == found["customer_orders"].values["orders"] == 1
    lists = [entries for view in told["views"].values() for entries in view["lists"].values()]
    assert any("85123A" in entries for entries in lists)
    store.close()


def test_show_merges_the_shards_of_a_product(tidecast: Any, services: Embedded) -> None:
    namespace = uuid4().hex
    where = ("--store-url", services.store_url, "-s", f"store.namespace={namespace}")
    store = RedisStore(services.store_url, namespace)
    for shard in range(2):
        put(store, records_of(f"85123A#{shard}", "product"))
    store.tick({"demand:1": Tick(START_MS, 2**60)})
    store.close()
    told = json.loads(tidecast("features", "show", "product", "85123A", "--json", *where)[1])
    assert told["views"]["product_demand"]["values"]["placed"] == 2
    assert told["scores"] == {}
    code, _, err = tidecast("features", "show", "product", "nobody", *where)
    assert code != 0
    assert "there are no features of product 'nobody'" in err


# --- size -------------------------------------------------------------------------------------------------------------


def test_sizes_forecast_by_the_share_of_entities_that_have_a_view() -> None:
    store = MemoryStore()
    for n in range(10):
        records = records_of(f"c{n}", "customer")
        put(store, [r for r in records if n < 5 or r.name == "customer_orders"])
    store.tick({"orders:0": Tick(START_MS, 0)})
    sizes = measure(store, discover(), sample=100, forecast=1000)
    customers = {one.entity: one for one in sizes.entities}["customer"]
    assert customers.entities == 10
    shares = {(m.kind, m.name): (m.records, m.share) for m in customers.records}
    assert shares["features", "customer_orders"] == (10, 1.0)
    assert shares["features", "customer_clicks"] == (5, 0.5)
    each = {m.name: m.bytes_each for m in customers.records}
    expected = sum(size * (1000 if name == "customer_orders" else 500) for name, size in each.items())
    assert customers.forecast_bytes == pytest.approx(expected)
    assert customers.mean_bytes * 1000 == pytest.approx(expected)
    assert each["customer_orders"] == discover()["customer_orders"].dtype.itemsize
    assert sizes.fences == 1


def test_sizes_of_a_live_store(tidecast: Any, services: Embedded) -> None:
    namespace = uuid4().hex
    store = RedisStore(services.store_url, namespace)
    for n in range(3):
        put(store, records_of(f"w:{n}", "item"))
    store.close()
    where = ("--store-url", services.store_url, "-s", f"store.namespace={namespace}")
    sizes = msgspec.json.decode(tidecast("features", "size", "--json", "--sample", "2", *where)[1], type=Sizes)
    items = {one.entity: one for one in sizes.entities}["item"]
    assert items.entities == 3
    for m in items.records:
        assert (m.records, m.sampled, m.share, m.forecast_bytes) == (3, 2, 1.0, None)
        if m.kind == "features":
            assert m.bytes_each > discover()[m.name].dtype.itemsize, "the key and its overhead count"
    code, out, _ = tidecast("features", "size", "--entities", "1000000", *where)
    assert code == 0
    assert "item: at least 3" in out
    assert "Forecast for 1,000,000 customers and as many items" in out


# --- forget -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entity", ["customer", "item"])
@pytest.mark.parametrize("buckets", [1, 8])
def test_forgetting_removes_everything_of_one_entity_and_nothing_else(entity: str, buckets: int) -> None:
    store, sink = MemoryStore(buckets), FakeSink()
    put(store, records_of("x", entity))
    put(store, records_of("y", entity))
    others = values(store, entity, "y")
    proof = forget(store, sink, entity, "x", places_of(entity, discover()))
    assert values(store, entity, "x") == [None] * len(others)
    assert values(store, entity, "y") == others
    assert proof.left == []
    assert proof.removed == len(proof.places) == len(others)
    assert all(place.before_bytes for place in proof.places)
    assert sink.produced == [(topic, b"x", None) for topic in proof.tombstones]
    assert sink.flushed == len(proof.tombstones)


def test_a_running_worker_cannot_write_back_what_it_has_in_memory() -> None:
    store = MemoryStore()
    records = records_of("x", "customer")
    put(store, records)
    known = store.fences("orders", 0)[0].erasures
    forget(store, None, "customer", "x", places_of("customer", discover()))
    with pytest.raises(FenceConflict):
        put(store, records, erasures=known)
    assert not any(values(store, "customer", "x"))


def test_tombstones_go_to_the_compacted_topics_of_the_entity() -> None:
    assert [topic.name for topic in topics_of("customer")] == ["feature-log"]
    assert [topic.name for topic in topics_of("item")] == ["supply-alerts", "feature-log"]
    store, sink = MemoryStore(), FakeSink()
    assert forget(store, sink, "item", "w:A", places_of("item", discover())).removed == 0
    assert sink.produced == [("supply-alerts", b"w:A", None), ("feature-log", b"w:A", None)]


def test_a_view_that_only_others_know_is_erased_by_name() -> None:
    store = MemoryStore()
    put(store, [Record("f", "customer_old", "x", b"1", 1000)])
    proof = forget(store, None, "customer", "x", places_of("customer", discover(), ["customer_old"]))
    assert [place.name for place in proof.places if place.before_bytes] == ["customer_old"]
    assert store.load("f", "customer_old", ["x"]) == [None]


class Returning(MemoryStore):
    """An event comes right after the erasure."""

    def erase(self, entity: str, records: Sequence[tuple[str, str]], indexes: Sequence[str] = ()) -> int:
        removed = super().erase(entity, records)
        put(self, [r for r in records_of(entity, "customer") if r.name == "customer_orders"])
        return removed


def test_what_is_there_again_is_not_called_erased() -> None:
    store = Returning()
    put(store, records_of("x", "customer"))
    proof = forget(store, None, "customer", "x", places_of("customer", discover()))
    assert [place.name for place in proof.left] == ["customer_orders"]


def test_a_refused_tombstone_is_told_after_the_store_is_clean() -> None:
    store = MemoryStore()
    put(store, records_of("x", "customer"))
    with pytest.raises(SinkFailed):
        forget(store, FakeSink(refuses=True), "customer", "x", places_of("customer", discover()))
    assert not any(values(store, "customer", "x"))


def test_forget_asks_first(tidecast: Any, services: Embedded) -> None:
    code, _, err = tidecast("features", "forget", "customer", "7", "--store-url", services.store_url)
    assert code == 2
    assert "this would erase customer '7' in " in err
    assert "say --yes" in err


def test_forget_on_a_live_store_and_broker(tidecast: Any, services: Embedded, kafka: KafkaSettings) -> None:
    key, namespace = f"w:{uuid4().hex}", uuid4().hex
    store = RedisStore(services.store_url, namespace)
    put(store, records_of(key, "item"))
    where = ("--store-url", services.store_url, "-s", f"store.namespace={namespace}", "-b", kafka.bootstrap_servers)
    code, out, err = tidecast("features", "forget", "item", key, "--yes", *where)
    assert code == 0, out + err
    assert not any(values(store, "item", key))
    for _, name in places_of("item", discover()):
        (row,) = (line for line in out.splitlines() if line.strip().startswith(f"{name} "))
        assert row.rstrip().endswith("nothing")
    assert f"item '{key}' is erased: {len(places_of('item', discover()))} records removed, nothing left" in out
    assert found_on(kafka, "supply-alerts", key) == [None]
    assert found_on(kafka, "feature-log", key) == [None]
    code, out, _ = tidecast("features", "forget", "item", key, "--yes", "--no-topics", *where)
    assert code == 0
    assert f"there was nothing of item '{key}' in the store; topics were left alone (--no-topics)" in out
    store.close()


def test_forget_is_1_when_something_is_left(tidecast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Returning()
    put(store, records_of("x", "customer"))
    monkeypatch.setattr("features.store.redis.RedisStore", lambda *_: store)
    code, out, _ = tidecast("features", "forget", "customer", "x", "--yes", "--no-topics")
    assert code == 1
    assert "not erased: customer 'x' has customer_orders again" in out


def test_forget_needs_the_topics_and_a_store(tidecast: Any, services: Embedded) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    code, _, err = tidecast("features", "forget", "customer", "7", "--yes", "--no-topics", "--store-url", nowhere)
    assert code == 2
    assert f"server answers at {nowhere}" in err
    with Embedded(store=False) as bare:
        where = ("--store-url", services.store_url, "-b", bare.bootstrap_servers)
        code, _, err = tidecast("features", "forget", "item", "w:A", "--yes", *where)
    assert code == 2
    assert "missing topics: supply-alerts, feature-log" in err


def found_on(kafka: KafkaSettings, topic: str, key: str) -> list[bytes | None]:
    """The values of a key's records, in order."""
    reader = TopicReader(kafka, [topic])
    try:
        records: list[Any] = list(reader.read_to_end(30))
    finally:
        reader.close()
    return [record.value() for record in records if record.key() == key.encode()]


def test_views_that_only_a_worker_of_another_version_knows_are_found_by_their_layouts() -> None:
    store = MemoryStore()
    other = replace(discover()["customer_clicks"], name="customer_of_tomorrow")
    store.remember_layouts({v.fingerprint: layout_of(v).encode() for v in (other, discover()["item_stock"])})
    assert registered_views(store, "customer") == ["customer_of_tomorrow"]
    store.commit([Write(0, [], [Record("f", other.name, "x", b"1", 60_000)])])
    proof = forget(store, None, "customer", "x", places_of("customer", discover(), registered_views(store, "customer")))
    assert (proof.removed, proof.left) == (1, [])
    assert store.load("f", other.name, ["x"]) == [None]
