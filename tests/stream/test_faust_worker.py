"""The worker inside a Faust application: what it takes in, what it commits, when it gives up."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest

from features.store import MemoryStore, StoreUnavailable, Write
from stream.faust_record import FaustRecord
from stream.faust_worker import FaustWorker, GaveUp, StoreLost
from stream.metrics import Metrics
from stream.ownership import Partition
from stream.reader import TopicReader
from stream.settings import Settings
from stream.sink import Sink
from stream.source import CommitRefused
from stream.tenure import Superseded
from tests.stream.build import Message, RecordingSink, click, fake_models, features_in, message, metric, order

NOTHING: dict[Partition, int | None] = {("orders", 0): None, ("clicks", 0): None}


@dataclass(frozen=True)
class FaustMessage:
    """As `faust.types.Message`, as far as it is read."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Any = ()
    generation_id: int = 1
    timestamp: float = 1_300_060_800.0
    timestamp_type: int = 0


def record(topic: str, key: str, value: dict[str, Any], offset: int = 0, generation: int = 1) -> FaustRecord:
    value = value | {"event_id": f"{topic}-{offset}"}
    return FaustRecord(FaustMessage(topic, 0, offset, key.encode(), json.dumps(value).encode(), (), generation))


class Failing(MemoryStore):
    """Fails as often as it is told to."""

    failures = 0

    def commit(self, writes: Sequence[Write]) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        super().commit(writes)

    def claim(self, topic: str, partition: int, owner: str = "") -> Any:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        return super().claim(topic, partition, owner)


class Reader:
    """In place of a `TopicReader`: gives what it was given, once."""

    def __init__(self, *records: Message) -> None:
        self.records = list(records)
        self.closed = False

    def poll(self) -> list[Message]:
        given, self.records = self.records, []
        return given

    read_to_end = poll

    def close(self) -> None:
        self.closed = True


class Shop:
    """A worker, and what its parts were told."""

    def __init__(self, store: MemoryStore | None = None, sink: RecordingSink | None = None) -> None:
        self.store = Failing() if store is None else store
        self.sink = RecordingSink() if sink is None else sink
        self.reader, self.metrics = Reader(), Metrics()
        self.committed: dict[Partition, int] = {}
        self.refusals = 0
        reader = cast(TopicReader, self.reader)
        self.worker = FaustWorker(Settings(), fake_models(), self.store, cast(Sink, self.sink), reader, self.metrics)

    def commit_offsets(self, offsets: dict[Partition, int]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise CommitRefused("the group has rebalanced")
        self.committed |= offsets

    def assign(self, committed: dict[Partition, int | None] = NOTHING, generation: int = 1) -> dict[Partition, int]:
        return self.worker.assigned(committed, generation, within_s=0.0)


@pytest.fixture
def shop() -> Shop:
    shop = Shop()
    shop.assign()
    return shop


def test_a_record_is_as_the_decoder_wants_it() -> None:
    given = FaustRecord(FaustMessage("orders", 3, 7, b"k", None, (("h", b"v"), ("h", b"w")), 5))
    assert (given.topic(), given.partition(), given.offset(), given.key(), given.value()) == (
        "orders",
        3,
        7,
        b"k",
        None,
    )
    assert given.headers() == [("h", b"v"), ("h", b"w")]
    assert given.generation == 5
    assert FaustRecord(FaustMessage("orders", 0, 0, None, None, {"h": b"v"})).headers() == [("h", b"v")]
    assert FaustRecord(FaustMessage("orders", 0, 0, None, None, None)).headers() is None


def test_offsets_are_committed_after_what_was_published_is_acknowledged(shop: Shop) -> None:
    shop.worker.process([record("orders", "7", order("7")), record("clicks", "7", click("7"))])
    assert shop.sink.acknowledged == []
    assert shop.committed == {}
    shop.worker.commit(shop.commit_offsets)
    assert shop.committed == {("orders", 0): 1, ("clicks", 0): 1}
    assert shop.sink.waiting == []
    assert {p.topic for p in shop.sink.acknowledged} >= {"demand", "reorder-scores", "next-best-offers"}


def test_refused_offsets_are_given_again(shop: Shop) -> None:
    shop.refusals = 1
    shop.worker.process([record("clicks", "7", click("7"))])
    shop.worker.commit(shop.commit_offsets)
    assert shop.committed == {}
    shop.worker.commit(shop.commit_offsets)
    assert shop.committed == {("clicks", 0): 1}


def test_a_commit_tells_how_far_event_time_has_come(shop: Shop) -> None:
    event = click("7")
    shop.worker.process([record("clicks", "7", event)])
    shop.worker.commit(shop.commit_offsets)
    assert {at: tick.event_time_ms for at, tick in shop.store.clock().items()} == {"clicks:0": event["event_time_ms"]}


def test_a_partition_begins_at_the_smaller_of_k_and_r() -> None:
    first = Shop()
    first.assign()
    first.worker.process([record("clicks", "7", click("7"), offset) for offset in range(5)])
    successor = Shop(first.store)
    assert successor.assign({("clicks", 0): 3}) == {("clicks", 0): 3}
    wiped = Shop()
    assert wiped.assign({("clicks", 0): 3}) == {("clicks", 0): 0}


def test_what_was_buffered_before_a_rebalance_is_not_taken_in(shop: Shop) -> None:
    """Faust hands it over after it has sought back: it would leave a hole before it."""
    shop.worker.revoked(shop.commit_offsets)
    shop.assign(generation=2)
    shop.worker.process([record("clicks", "7", click("7"), 5, generation=1)])
    assert features_in(shop.store)["customer_clicks"] == {}
    shop.worker.process([record("clicks", "7", click("7"), 0, generation=2)])
    assert features_in(shop.store)["customer_clicks"].keys() == {"7"}


def test_records_of_partitions_that_are_not_ours_are_not_taken_in(shop: Shop) -> None:
    shop.worker.revoked(shop.commit_offsets)
    assert not shop.worker.ready()
    shop.worker.process([record("clicks", "7", click("7"))])
    assert features_in(shop.store)["customer_clicks"] == {}


def test_a_revoke_commits_what_is_done(shop: Shop) -> None:
    shop.worker.process([record("clicks", "7", click("7"))])
    shop.worker.revoked(shop.commit_offsets)
    assert shop.committed == {("clicks", 0): 1}


def test_a_revoke_forgets_partitions_even_where_nothing_can_be_committed(shop: Shop) -> None:
    shop.worker.process([record("clicks", "7", click("7"))])
    shop.refusals = 1
    shop.worker.revoked(shop.commit_offsets)
    assert not shop.worker.ready()
    shop.assign(generation=2)
    shop.worker.commit(shop.commit_offsets)
    assert shop.committed == {}


def test_a_write_is_tried_again_while_the_store_is_away(shop: Shop) -> None:
    cast(Failing, shop.store).failures = 1
    shop.worker.process([record("clicks", "7", click("7"))])
    assert metric(shop.metrics, "tidecast_store_unavailable_total") == 1
    assert features_in(shop.store)["customer_clicks"].keys() == {"7"}


def test_partitions_are_given_back_while_the_store_is_away_and_the_batch_comes_again(shop: Shop) -> None:
    cast(Failing, shop.store).failures = 1_000
    leaving = threading.Timer(0.1, shop.worker.leave)
    leaving.start()
    with pytest.raises(GaveUp):
        shop.worker.process([record("clicks", "7", click("7"))])
    leaving.join()
    shop.worker.revoked(shop.commit_offsets)
    assert shop.committed == {}
    cast(Failing, shop.store).failures = 0
    assert shop.assign(generation=2)["clicks", 0] == 0
    shop.worker.process([record("clicks", "7", click("7"), 0, generation=2)])
    assert features_in(shop.store)["customer_clicks"].keys() == {"7"}


def test_a_claim_does_not_wait_longer_than_it_may() -> None:
    shop = Shop()
    cast(Failing, shop.store).failures = 1_000
    with pytest.raises(StoreUnavailable):
        shop.assign()


def test_an_erased_entity_ends_nothing(shop: Shop) -> None:
    shop.worker.process([record("clicks", "7", click("7"), 0), record("clicks", "8", click("8"), 1)])
    shop.store.erase("7", [("f", "customer_clicks")])
    shop.worker.process([record("clicks", "8", click("8"), 2)])
    assert features_in(shop.store)["customer_clicks"].keys() == {"8"}
    shop.worker.commit(shop.commit_offsets)
    assert shop.committed == {("clicks", 0): 3}


def test_a_store_that_lost_its_fences_ends_the_worker(shop: Shop) -> None:
    shop.worker.process([record("clicks", "7", click("7"))])
    for name in ("_fences", "_values"):
        getattr(shop.store, name).clear()
    with pytest.raises(StoreLost, match=r"lost the fence of (clicks|orders)\[0\].*start this worker again"):
        shop.worker.process([record("clicks", "7", click("7"), 1)])


def test_a_newer_owner_ends_the_worker(shop: Shop) -> None:
    Shop(shop.store).assign()
    with pytest.raises(Superseded, match="another worker has taken"):
        shop.worker.process([record("clicks", "7", click("7"))])


def test_reference_data_that_cannot_be_taken_in_is_a_dead_letter_once() -> None:
    poison = message("catalog", "A", b"{")
    shop = Shop()
    shop.reader.records = [poison]
    shop.worker.read_reference(to_end=True)
    assert [(p.topic, p.key, p.value) for p in shop.sink.acknowledged] == [("dead-letters", b"A", b"{")]
    another = Shop(shop.store)
    another.reader.records = [poison]
    another.worker.read_reference()
    assert another.sink.published == []


def test_reference_data_is_not_lost_where_the_store_was_away(shop: Shop) -> None:
    poison = message("catalog", "A", b"{")
    shop.reader.records = [poison]
    cast(Failing, shop.store).failures = 1_000
    shop.worker.leave()
    with pytest.raises(GaveUp):
        shop.worker.read_reference()
    cast(Failing, shop.store).failures = 0
    shop.worker.read_reference()
    assert {p.value for p in shop.sink.acknowledged} == {b"{"}


def test_closing_commits_and_lets_go(shop: Shop) -> None:
    shop.worker.process([record("clicks", "7", click("7"))])
    shop.worker.close(shop.commit_offsets)
    assert shop.committed == {("clicks", 0): 1}
    assert shop.reader.closed
