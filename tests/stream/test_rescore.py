"""Scores that age: at a tick those that are too old are made anew, exactly once, wherever batches and workers end."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from features.store import MemoryStore, Span, StoreUnavailable, Tick, Write
from features.store.base import MAX_RANK, bucket_of
from stream.ageing import Ageing, rank_of
from stream.erase import forget, indexes_of, places_of
from stream.ownership import Partition
from tests.stream.build import (
    DAY_MS,
    T0,
    Engine,
    Message,
    Published,
    RecordingSink,
    click,
    line,
    message,
    metric,
    order,
    stock,
)

WEEK = Ageing(DAY_MS, {"reorder": 7 * DAY_MS})
TOPICS = ("orders", "clicks", "demand", "inventory")


def engine_of(store: MemoryStore | None = None, ageing: Ageing = WEEK, k: Mapping[str, int] | None = None) -> Engine:
    engine = Engine(MemoryStore() if store is None else store, RecordingSink(), ageing=ageing)
    engine.assign({(topic, 0): (k or {}).get(topic, 0) for topic in TOPICS})
    return engine


def placed(customer: str, day: float, offset: int) -> Message:
    """An order so many days after T0."""
    return message("orders", customer, order(customer, at=T0 + int(day * DAY_MS), event_id=f"o{offset}"), offset)


def scores(engine: Engine, topic: str = "reorder-scores") -> list[tuple[str, float, list[int]]]:
    """Key, as of how many days after T0, and the offsets of its sources."""
    records = [(p.key or b"", json.loads(p.value or b"")) for p in engine.sink.published if p.topic == topic]
    return [
        (key.decode(), (r["as_of_ms"] - T0) / DAY_MS, [source["offset"] for source in r["source"]])
        for key, r in records
    ]


def index(store: MemoryStore, name: str = "reorder:0") -> list[str]:
    return [e for b in range(store.buckets) for e in store.spans([Span(name, b, 0, MAX_RANK, 1_000)])[0]]


# --- at a tick --------------------------------------------------------------------------------------------------------


def test_a_score_is_made_anew_when_time_has_passed() -> None:
    engine = engine_of()
    engine.commit.process([placed("7", 0, 0), placed("8", 3, 1), placed("9", 9.5, 2)])
    assert scores(engine) == [("7", 0, [0]), ("8", 3, [1]), ("9", 9.5, [2]), ("7", 9, [2])]
    rescored = engine.sink.published[-1]
    assert dict(rescored.headers) == {
        "tidecast-id": b"reorder:7:orders:0:2",
        "tidecast-source": b"orders:0:2-2",
        "tidecast-event-time-ms": b"%d" % (T0 + 9 * DAY_MS),
    }
    assert engine.store.scan("s", "reorder")["7"] == rescored.value
    assert json.loads(rescored.value or b"")["feature_time_ms"]["customer_orders"] == T0
    assert metric(engine.metrics, "tidecast_rescored_total", model="reorder") == 1


def test_features_are_those_of_the_tick() -> None:
    engine = engine_of()
    engine.commit.process([placed("7", 0, 0), placed("9", 9.5, 1)])
    first, last = (s["reasons"] for s in engine.sink.values("reorder-scores") if s["customer_id"] == "7")
    since = [r["value"] for r in (*first, *last) if r["feature"] == "days_since_product"]
    assert since in ([], [9.0]) or since[-1] == 9.0


def test_what_is_as_old_as_that_is_made_anew_and_what_is_younger_is_not() -> None:
    engine = engine_of()
    exact, younger = T0, T0 + 1
    records = [
        message("orders", c, order(c, at=at, event_id=c), n) for n, (c, at) in enumerate([("7", exact), ("8", younger)])
    ]
    engine.commit.process([*records, placed("9", 7, 2)])
    assert [key for key, day, _ in scores(engine) if day == 7] == ["9", "7"]


def test_several_ticks_at_once_are_one_at_the_last() -> None:
    engine = engine_of()
    engine.commit.process([placed("7", 0, 0), placed("8", 40.2, 1), placed("8", 40.3, 2), placed("8", 41.1, 3)])
    assert [(day, source) for key, day, source in scores(engine) if key == "7"] == [(0, [0]), (40, [1])]


def test_a_score_goes_on_ageing() -> None:
    engine = engine_of()
    engine.commit.process([placed("7", 0, 0), *(placed("8", day + 0.5, day) for day in range(1, 23))])
    assert [(day, source) for key, day, source in scores(engine) if key == "7"] == [
        (0, [0]),
        (7, [7]),
        (14, [14]),
        (21, [21]),
    ]


def test_the_entity_of_the_record_itself_is_scored_by_it_alone() -> None:
    engine = engine_of()
    engine.commit.process([placed("7", 0, 0), placed("8", 0, 1), placed("7", 9, 2)])
    assert scores(engine)[2:] == [("7", 9, [2]), ("8", 9, [2])]


def test_only_models_that_age_are_scored_anew_and_only_by_topics_that_touch_them() -> None:
    engine = engine_of(ageing=Ageing(DAY_MS, {"next-best-offer": 7 * DAY_MS}))
    engine.commit.process([placed("7", 0, 0), message("inventory", "w:A", stock("stock_counted", at=T0, quantity=5))])
    late = stock("stock_counted", at=T0 + 30 * DAY_MS, quantity=5, event_id="t")
    engine.commit.process([message("inventory", "w:A", late, 1)])
    assert len(scores(engine, "next-best-offers")) == 1
    engine.commit.process([message("clicks", "8", click("8", at=T0 + 20 * DAY_MS))])
    engine.commit.process([message("clicks", "8", click("8", at=T0 + 21 * DAY_MS), 1)])
    assert [s for s in scores(engine, "next-best-offers") if s[0] == "7"] == [("7", 0, [0]), ("7", 21, [1])]
    assert [key for key, _, _ in scores(engine)] == ["7"]


def test_a_worker_that_never_saw_the_entity_scores_it_anew() -> None:
    store = MemoryStore()
    engine_of(store).commit.process([placed("7", 0, 0), placed("8", 3, 1)])
    successor = engine_of(store, k={"orders": 2})
    successor.commit.process([placed("8", 9.5, 2)])
    assert scores(successor) == [("8", 9.5, [2]), ("7", 9, [2])]


def test_more_than_a_step_takes_is_left_to_the_records_that_follow() -> None:
    engine = engine_of(ageing=Ageing(DAY_MS, {"reorder": 7 * DAY_MS}, most=2))
    early = [placed(f"e{n}", n / 10, n) for n in range(5)]
    engine.commit.process([*early, placed("8", 9.1, 5), placed("8", 9.2, 6), placed("e4", 9.3, 7), placed("8", 9.4, 8)])
    anew = [(key, day, source) for key, day, source in scores(engine) if day == 9]
    assert anew == [("e0", 9, [5]), ("e1", 9, [5]), ("e2", 9, [6]), ("e3", 9, [6])], "the oldest first"
    assert ("e4", 9.3, [7]) in scores(engine), "it was touched before its turn came"


def test_an_entity_of_which_nothing_is_left_leaves_the_index() -> None:
    engine = engine_of()
    engine.commit.process([placed("7", 0, 0), placed("8", 1, 1)])
    assert index(engine.store) == ["7", "8"]
    engine.commit.process([placed("8", 4_000, 2)])
    assert scores(engine)[2:] == [("8", 4_000, [2])], "the TTL of its views is over"
    assert index(engine.store) == ["8"]


def test_an_erased_entity_is_in_no_index_and_is_not_scored_anew() -> None:
    store = MemoryStore(4)
    engine = engine_of(store)
    engine.commit.process([placed("7", 0, 0), placed("8", 0, 1)])
    store.tick({"orders:0": Tick(T0, 0)})
    proof = forget(
        store, None, "customer", "7", places_of("customer", engine.state.views), indexes_of(store, "customer")
    )
    assert proof.left == []
    assert index(store) == ["8"]
    successor = engine_of(store, k={"orders": 2})
    successor.commit.process([placed("9", 30, 2)])
    assert [key for key, _, _ in scores(successor)] == ["9", "8"]


def test_an_item_that_ages_changes_its_alert() -> None:
    """A delivery that was too far away comes within the lead time, and nothing is said of it."""
    engine = engine_of(ageing=Ageing(DAY_MS, {"stockout": 7 * DAY_MS}))
    on_order: dict[str, Any] = {"quantity": 20, "expected_at_ms": T0 + 62 * DAY_MS, "purchase_order_id": "p"}
    events = [
        stock("stock_counted", "A", T0, quantity=4, event_id="a"),
        stock("purchase_order_placed", "A", T0, event_id="b", **on_order),
    ]
    engine.commit.process([message("inventory", "w:A", event, n) for n, event in enumerate(events)])
    later = stock("stock_counted", "B", T0 + 60 * DAY_MS, quantity=50, event_id="c")
    engine.commit.process([message("inventory", "w:B", later, 2)])
    alerts = [(a["sku"], a["as_of_ms"], a["status"]) for a in engine.sink.values("supply-alerts")]
    assert alerts == [("A", T0, "raised"), ("A", T0 + 60 * DAY_MS, "resolved")]


def test_a_step_is_tried_again_while_the_store_is_away() -> None:
    class Away(MemoryStore):
        left = 3

        def spans(self, wanted: Sequence[Span]) -> list[list[str]]:
            if wanted and self.left:
                self.left -= 1
                raise StoreUnavailable("away")
            return super().spans(wanted)

    engine = engine_of(Away())
    engine.commit.process([placed("7", 0, 0), placed("8", 9, 1)])
    assert scores(engine) == [("7", 0, [0]), ("8", 9, [1]), ("7", 9, [1])]


def test_where_no_model_ages_nothing_is_asked_and_nothing_kept() -> None:
    class Deaf(MemoryStore):
        def spans(self, wanted: Sequence[Span]) -> list[list[str]]:
            raise AssertionError("asked")

    engine = engine_of(Deaf(), Ageing())
    engine.commit.process([placed("7", 0, 0), placed("8", 90, 1)])
    assert [key for key, _, _ in scores(engine)] == ["7", "8"]
    (fence,) = engine.store.fences("orders", 0)
    assert fence.clock == b""
    assert engine.store.ranks(["reorder:0"], "7") == [None]


# --- begun again ------------------------------------------------------------------------------------------------------


def test_a_step_that_was_not_published_is_published_by_the_successor() -> None:
    """Its worker was killed after step 4; what it produced was never seen."""
    store = MemoryStore(3)
    first = engine_of(store)
    first.commit.process([placed("7", 0, 0), placed("8", 0.5, 1), placed("9", 8, 2), placed("9", 8.5, 3)])
    rescored = {p.key: p.value for p in first.sink.published if p.value in store.scan("s", "reorder").values()}
    successor = engine_of(store, k={"orders": 2})
    successor.commit.process([placed("9", 8, 2), placed("9", 8.5, 3)])
    assert sorted(scores(successor)) == [("7", 8, [2]), ("8", 8, [2]), ("9", 8.5, [2]), ("9", 8.5, [3])]
    again = {p.key: p.value for p in successor.sink.published if p.key in (b"7", b"8")}
    assert again == {key: rescored[key] for key in again}, "to the byte"
    third = engine_of(store, k={"orders": 3})
    third.commit.process([placed("9", 8.5, 3)])
    assert [key for key, _, _ in scores(third)] == ["9"], "K is past it"


def test_an_event_that_comes_again_does_not_take_a_score_back_to_its_time() -> None:
    """The order is late: its customer was rescored at a tick after it, and both come again."""
    store = MemoryStore()
    first = engine_of(store)
    records = [placed("8", 8.5, 0), placed("7", 0, 1), placed("8", 9, 2)]
    first.commit.process(records)
    expected = store.scan("s", "reorder")
    ranks = store.ranks(["reorder:0"], "7")
    assert ranks == [rank_of(T0 + 9 * DAY_MS, 1)]
    again = engine_of(store)
    again.commit.process(records[:2])
    again.commit.process(records[2:])
    assert store.scan("s", "reorder") == expected
    assert store.ranks(["reorder:0"], "7") == ranks
    assert ("7", 9, [2]) in scores(again)


def test_steps_that_the_store_has_lost_are_done_again_and_not_published_again() -> None:
    store = MemoryStore()
    engine_of(store).commit.process([placed("7", 0, 0), placed("8", 3, 1), placed("9", 9.5, 2)])
    empty = MemoryStore()
    again = engine_of(empty, k={"orders": 3})
    again.commit.process([placed("7", 0, 0), placed("8", 3, 1), placed("9", 9.5, 2)])
    assert scores(again) == []
    assert empty.scan("s", "reorder").keys() == store.scan("s", "reorder").keys()
    assert json.loads(empty.scan("s", "reorder")["7"])["as_of_ms"] == T0 + 9 * DAY_MS
    assert index(empty) == index(store)


# --- cut anywhere, killed anywhere, evicted, rolled back --------------------------------------------------------------

PARTITIONS = 2


class Place(NamedTuple):
    """A rescored entity: whom, as of when, and at which record."""

    key: str
    as_of_ms: int
    partition: int
    offset: int


@dataclass
class Kafka:
    """`orders`, the group's offsets, and what transactions have published."""

    logs: dict[Partition, list[Message]]
    committed: dict[Partition, int] = field(default_factory=dict)
    published: list[Published] = field(default_factory=list)


class Killed(Exception):
    """The process is gone."""


class Mortal(MemoryStore):
    """Kills whoever uses it at the n-th request: before it, after it, or in the middle of a write to many buckets."""

    left, when = 0, ""

    def dies(self, left: int, when: str) -> None:
        self.left, self.when = left, when

    def _around(self, call: Callable[[], Any], half: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left == 0 and self.when == "before":
            raise Killed
        answer = (half if self.left == 0 and self.when == "half" else call)()
        if self.left == 0:
            raise Killed
        return answer

    def commit(self, writes: Sequence[Write]) -> None:
        whole, half = super().commit, list(writes)[: len(writes) // 2]
        self._around(lambda: whole(writes), lambda: whole(half))

    def spans(self, wanted: Sequence[Span]) -> list[list[str]]:
        ask = super().spans
        answer: list[list[str]] = self._around(lambda: ask(wanted), lambda: None)
        return answer


@functools.cache
def shop(seed: int) -> tuple[tuple[str, dict[str, Any] | None], ...]:
    """Orders of a month and a half: customers who come back, who stay away, who come late, and records that are bad."""
    r = random.Random(seed)
    out: list[tuple[str, dict[str, Any] | None]] = []
    for i in range(50):
        customer = str(r.randrange(9))
        late = r.choice([0, 0, 0, 0, 12])
        at = T0 + (i - late) * DAY_MS * 3 // 4 + r.randrange(DAY_MS // 2)
        lines = [line(f"S{r.randrange(4)}", r.randrange(1, 5))]
        out.append((customer, None if r.random() < 0.1 else order(customer, lines, at, event_id=f"o{i}")))
    return tuple(out)


def kafka_of(seed: int) -> Kafka:
    logs: dict[Partition, list[Message]] = {("orders", p): [] for p in range(PARTITIONS)}
    for customer, event in shop(seed):
        log = logs["orders", bucket_of(customer, PARTITIONS)]
        log.append(message("orders", customer, event or b"{", len(log), bucket_of(customer, PARTITIONS)))
    return Kafka(logs)


def work(kafka: Kafka, store: MemoryStore, ageing: Ageing, r: random.Random, most: int, in_memory: int) -> None:
    """A worker to the end of the log, or of its life; what it publishes is seen with its offsets or never."""
    sink = RecordingSink()
    engine = Engine(store, sink, max_entities=in_memory, ageing=ageing)
    at = engine.assign({p: kafka.committed.get(p) for p in kafka.logs})
    while any(at[p] < len(log) for p, log in kafka.logs.items()):
        records: list[Message] = []
        for p in r.sample(sorted(at), len(at)):
            n = r.randint(0, most)
            records += kafka.logs[p][at[p] : at[p] + n]
            at[p] = min(at[p] + n, len(kafka.logs[p]))
        for part in engine.commit.parts(records) if records else ():
            engine.commit.take_in(part)
            if r.random() < 0.3:
                end_transaction(kafka, engine)
    end_transaction(kafka, engine)


def end_transaction(kafka: Kafka, engine: Engine) -> None:
    engine.commit.commit(kafka.committed.update)
    kafka.published += engine.sink.acknowledged
    engine.sink.acknowledged.clear()


def rescored(kafka: Kafka) -> Counter[tuple[Place, bytes]]:
    """What ticks published, to the byte."""
    out: Counter[tuple[Place, bytes]] = Counter()
    for p in kafka.published:
        if p.topic == "reorder-scores" and p.value is not None:
            record = json.loads(p.value)
            if record["as_of_ms"] > max(record["feature_time_ms"].values()):
                (source,) = record["source"]
                place = Place(record["customer_id"], record["as_of_ms"], source["partition"], source["offset"])
                out[place, p.value] += 1
    return out


@functools.cache
def straight_through(seed: int, buckets: int, most: int) -> tuple[Kafka, MemoryStore]:
    kafka, store = kafka_of(seed), MemoryStore(buckets)
    work(kafka, store, ageing_of_test(most), random.Random(0), 1_000, 1_000)
    return kafka, store


def ageing_of_test(most: int) -> Ageing:
    return Ageing(2 * DAY_MS, {"reorder": 5 * DAY_MS}, most)


def overtaken(kafka: Kafka, store: MemoryStore) -> set[Place]:
    """Places in [K, R) of entities that have been scored again since: their newer score is published in its place."""
    out = set()
    for key, score in store.scan("s", "reorder").items():
        p = bucket_of(key, PARTITIONS)
        k = kafka.committed.get(("orders", p), 0)
        newest = max(source["offset"] for source in json.loads(score)["source"])
        out |= {Place(key, 0, p, offset) for offset in range(k, newest)}
    return out


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 4),
    buckets=st.sampled_from([1, 3]),
    most=st.sampled_from([1, 3, 100]),
    in_memory=st.sampled_from([1, 4, 1_000]),
    cut=st.sampled_from([1, 3, 20]),
    ends=st.lists(
        st.tuples(
            st.integers(1, 60),
            st.sampled_from(["before", "half", "after"]),
            st.booleans(),
            st.integers(0, 99),
        ),
        max_size=4,
    ),
)
def test_each_entity_is_rescored_once_a_tick_however_workers_end(
    seed: int, buckets: int, most: int, in_memory: int, cut: int, ends: list[tuple[int, str, bool, int]]
) -> None:
    expected_kafka, expected_store = straight_through(seed, buckets, most)
    kafka, store = kafka_of(seed), Mortal(buckets)
    ageing, lost = ageing_of_test(most), set[Place]()
    for left, when, rolls_back, pick in ends:
        before = copy.deepcopy(store)
        store.dies(left, when)
        with contextlib.suppress(Killed):
            work(kafka, store, ageing, random.Random(pick), cut, in_memory)
        store = before if rolls_back else store
        store.dies(0, "")
        lost |= overtaken(kafka, store)
    work(kafka, store, ageing, random.Random(7), cut, in_memory)
    found, expected = rescored(kafka), rescored(expected_kafka)
    assert set(found.values()) <= {1}, "never twice"
    assert found.keys() <= expected.keys(), "none that a run without an end has not, with equal bytes"
    missing = {place._replace(as_of_ms=0) for place, _ in expected.keys() - found.keys()}
    assert missing <= lost, "none is missing"
    sources = Counter((p.key, dict(p.headers)["tidecast-id"]) for p in kafka.published if p.topic == "reorder-scores")
    assert set(sources.values()) == {1}
    assert latest(store) == latest(expected_store)
    for p in range(PARTITIONS):
        keys = [customer for customer, _ in shop(seed)]
        ranks = [[s.ranks([f"reorder:{p}"], key) for key in keys] for s in (store, expected_store)]
        assert ranks[0] == ranks[1]


def latest(store: MemoryStore) -> dict[str, dict[str, Any]]:
    return {
        key: {name: value for name, value in json.loads(score).items() if name != "source"}
        for key, score in store.scan("s", "reorder").items()
    }


def test_the_shops_of_the_property_have_something_to_rescore() -> None:
    for seed in range(5):
        kafka, _ = straight_through(seed, 1, 100)
        assert sum(rescored(kafka).values()) > 15
