"""The six steps, and what they promise: however a worker ends, its successor ends with the same state, bit for bit."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.discovery import discover
from features.store import FenceConflict, Guard, MemoryStore, StoreUnavailable, Wanted, Write
from features.store.base import bucket_of
from stream.commit import Interrupted
from stream.decode import DeadLetter
from stream.ownership import Partition
from tests.stream.build import (
    DAY_MS,
    T0,
    Engine,
    Message,
    RecordingSink,
    click,
    demand,
    features_in,
    line,
    message,
    metric,
    order,
    stock,
)

# --- the order of the steps -------------------------------------------------------------------------------------------


class Watched(MemoryStore):
    """Notes what is asked of it, and can fail."""

    def __init__(self, steps: list[str], buckets: int = 1) -> None:
        super().__init__(buckets)
        self.steps = steps
        self.failures: list[Exception] = []
        #: Fails after it has written: the answer was lost.
        self.lose_answer = False

    def load_all(self, wanted: Sequence[Wanted], guards: Sequence[Guard] = ()) -> list[list[bytes | None]]:
        self.steps.append("load")
        return super().load_all(wanted, guards)

    def remember_layouts(self, layouts: Mapping[int, bytes]) -> None:
        self.steps.append("layouts")
        super().remember_layouts(layouts)

    def remember_names(self, names: dict[int, str]) -> None:
        self.steps.append("names")
        super().remember_names(names)

    def commit(self, writes: Sequence[Write]) -> None:
        self.steps.append("write")
        if self.failures:
            raise self.failures.pop(0)
        super().commit(writes)
        if self.lose_answer:
            self.lose_answer = False
            raise StoreUnavailable("the answer was lost")


TOPICS = ("orders", "clicks", "demand", "inventory")


def all_of(k: int = 0) -> dict[Partition, int | None]:
    return {(topic, 0): k for topic in TOPICS}


@pytest.fixture
def steps() -> list[str]:
    return []


@pytest.fixture
def engine(steps: list[str]) -> Engine:
    engine = Engine(Watched(steps), RecordingSink(steps))
    engine.assign(all_of())
    return engine


def store_of(engine: Engine) -> Watched:
    assert isinstance(engine.store, Watched)
    return engine.store


def collapse(steps: Sequence[str]) -> list[str]:
    """Without repetitions that follow each other."""
    return [s for i, s in enumerate(steps) if i == 0 or steps[i - 1] != s]


def test_the_six_steps_come_in_their_order(engine: Engine, steps: list[str]) -> None:
    engine.commit.process([message("orders", "7", order("7")), message("clicks", "7", b"{")])
    engine.commit.commit(lambda offsets: steps.append(f"offsets {sorted(offsets.items())}"))
    assert collapse(steps) == [
        "load",
        "layouts",
        "names",
        "write",
        "produce demand",
        "produce reorder-scores",
        "produce next-best-offers",
        "produce dead-letters",
        "flush",
        "offsets [(('clicks', 0), 1), (('orders', 0), 1)]",
    ]


def test_one_write_holds_states_scores_alerts_and_the_fence(engine: Engine) -> None:
    engine.commit.process([message("inventory", "w:A", stock("stock_counted", quantity=1), 4)])
    store = engine.store
    assert store.scan("f", "item_stock").keys() == {"w:A"}
    assert json.loads(store.scan("s", "stockout")["w:A"])["on_hand"] == 1.0
    assert json.loads(store.scan("a", "supply")["w:A"])["severity"] == "critical"
    assert [f.next_offset for f in store.fences("inventory", 0)] == [5]


def test_what_is_published_is_what_is_kept(engine: Engine) -> None:
    engine.commit.process([message("orders", "7", order("7"))])
    (published,) = [p for p in engine.sink.published if p.topic == "reorder-scores"]
    assert published.key == b"7"
    assert engine.store.scan("s", "reorder") == {"7": published.value}


def test_published_records_are_counted_by_topic(engine: Engine) -> None:
    engine.commit.process([message("orders", "7", order("7", [line("A"), line("B")])), message("clicks", "7", None)])
    counted = {t: metric(engine.metrics, "tidecast_published_total", topic=t) for t in ("demand", "dead-letters")}
    assert counted == {"demand": 2, "dead-letters": 1}
    assert metric(engine.metrics, "tidecast_dead_letters_total", topic="clicks", stage="decode") == 1


def test_nothing_to_commit_asks_nothing_of_the_broker(engine: Engine, steps: list[str]) -> None:
    engine.commit.commit(lambda offsets: steps.append("offsets"))
    assert steps == []


def test_partitions_that_come_or_go_while_the_store_is_away_end_the_micro_batch(steps: list[str]) -> None:
    """The client is polled while the worker waits: a rebalance may come in the middle of step 4."""

    engine = Engine(Watched(steps), RecordingSink(steps))
    engine.assign(all_of())
    ownership = engine.ownership

    def waiting(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except StoreUnavailable:
            ownership.drop([("clicks", 0)])
            return call()

    engine.commit._patiently = waiting
    store_of(engine).failures = [StoreUnavailable("away")]
    with pytest.raises(Interrupted):
        engine.commit.process([message("clicks", "7", click())])
    assert engine.sink.published == []
    assert features_in(engine.store)["customer_clicks"] == {}


def test_letters_of_reference_topics_are_committed_with_their_offsets(engine: Engine) -> None:
    letter = DeadLetter("catalog", 0, 6, b"A", b"{", "decode", "broken")
    committed: dict[Partition, int] = {}
    engine.commit.publish_letters([letter])
    engine.commit.commit(committed.update)
    assert committed == {("catalog", 0): 7}
    assert [(p.topic, p.key, p.value) for p in engine.sink.acknowledged] == [("dead-letters", b"A", b"{")]


def test_k_moves_only_when_the_broker_has_taken_the_offsets(engine: Engine) -> None:
    def refuse(_offsets: dict[Partition, int]) -> None:
        raise RuntimeError("refused")

    engine.commit.process([message("clicks", "7", click())])
    with pytest.raises(RuntimeError):
        engine.commit.commit(refuse)
    assert engine.ownership.owned["clicks", 0].published_to == 0
    committed: list[dict[Partition, int]] = []
    engine.commit.commit(committed.append)
    assert committed == [{("clicks", 0): 1}]
    assert engine.ownership.owned["clicks", 0].published_to == 1
    engine.commit.commit(committed.append)
    assert len(committed) == 1


def test_offsets_are_not_committed_before_everything_is_acknowledged(engine: Engine) -> None:
    engine.commit.process([message("orders", "7", order("7"))])
    seen: list[int] = []
    engine.commit.commit(lambda _offsets: seen.append(len(engine.sink.waiting)))
    assert seen == [0]


def test_k_never_goes_back_while_lost_events_are_folded_again(engine: Engine) -> None:
    engine.ownership.owned["clicks", 0].published_to = 10
    engine.commit.process([message("clicks", "7", click(), 3)])
    committed: list[dict[Partition, int]] = []
    engine.commit.commit(committed.append)
    assert committed == [{("clicks", 0): 10}]


def test_what_is_abandoned_is_not_committed(engine: Engine, steps: list[str]) -> None:
    engine.commit.process([message("clicks", "7", click())])
    engine.commit.abandon()
    engine.commit.commit(lambda _offsets: steps.append("offsets"))
    assert "offsets" not in steps


# --- stores that fail -------------------------------------------------------------------------------------------------


def test_a_write_is_tried_again_while_the_store_is_away(engine: Engine) -> None:
    store_of(engine).failures = [StoreUnavailable("away"), StoreUnavailable("away")]
    engine.commit.process([message("clicks", "7", click())])
    assert [f.next_offset for f in engine.store.fences("clicks", 0)] == [1]


def test_a_write_whose_answer_was_lost_is_not_done_twice(engine: Engine) -> None:
    """The second try finds the fence moved; the worker then reads K and R again."""
    store_of(engine).lose_answer = True
    with pytest.raises(FenceConflict):
        engine.commit.process([message("clicks", "7", click())])
    before = features_in(engine.store)
    engine.state.forget()
    engine.commit.abandon()
    assert engine.assign(all_of())["clicks", 0] == 0
    engine.commit.process([message("clicks", "7", click())])
    assert features_in(engine.store) == before, "scored, not folded"


def test_a_newer_owner_stops_an_older_one(engine: Engine) -> None:
    newer = Engine(engine.store, RecordingSink())
    newer.assign(all_of())
    before = features_in(engine.store)
    with pytest.raises(
        FenceConflict, match=r"orders\[0\] bucket 0: the fence is at no offset of epoch 2, expected None"
    ):
        engine.commit.process([message("clicks", "7", click())])
    assert features_in(engine.store) == before
    newer.commit.process([message("clicks", "7", click())])


def test_every_bucket_moves_its_own_fence(steps: list[str]) -> None:
    engine = Engine(Watched(steps, buckets=4), RecordingSink(steps))
    engine.assign(all_of())
    engine.commit.process([message("clicks", "7", click("7"), 8)])
    assert [f.next_offset for f in engine.store.fences("clicks", 0)] == [9] * 4


def test_a_conflict_in_one_bucket_leaves_the_others_right(steps: list[str]) -> None:
    """Bucket 0 is written, bucket 1 is not: the successor folds only what is missing."""
    keys = sorted((str(i) for i in range(20)), key=lambda k: bucket_of(k, 2))
    records = [message("clicks", k, click(k), i) for i, k in enumerate(keys)]
    store = Watched(steps, buckets=2)
    engine = Engine(store, RecordingSink(steps))
    engine.assign(all_of())
    real = store.commit

    def second_fails(writes: Sequence[Write]) -> None:
        real(writes[:1])
        raise FenceConflict("not now")

    store.commit = second_fails  # type: ignore[method-assign]
    with pytest.raises(FenceConflict):
        engine.commit.process(records)
    store.commit = real  # type: ignore[method-assign]
    assert [f.next_offset for f in store.fences("clicks", 0)] == [20, None]
    successor = Engine(store, RecordingSink(steps))
    assert successor.assign(all_of())["clicks", 0] == 0
    successor.commit.process(records)
    through = Engine(MemoryStore(2), RecordingSink())
    through.assign(all_of())
    through.commit.process(records)
    assert features_in(store) == features_in(through.store)


# --- bad records ------------------------------------------------------------------------------------------------------


def test_a_batch_of_bad_records_only_moves_on(engine: Engine) -> None:
    records = [message("clicks", "7", b"{", i) for i in range(3)]
    engine.commit.process(records)
    committed: list[dict[Partition, int]] = []
    engine.commit.commit(committed.append)
    assert committed == [{("clicks", 0): 3}]
    assert [f.next_offset for f in engine.store.fences("clicks", 0)] == [3]
    letters = [p for p in engine.sink.published if p.topic == "dead-letters"]
    assert [(p.key, p.value) for p in letters] == [(b"7", b"{")] * 3
    assert [dict(p.headers)["tidecast-offset"] for p in letters] == [b"0", b"1", b"2"]


def test_a_dead_letter_keeps_null_keys_and_values(engine: Engine) -> None:
    engine.commit.process([message("clicks", None, None), message("clicks", b"\xff", b"\xfe", 1)])
    letters = [(p.key, p.value) for p in engine.sink.published if p.topic == "dead-letters"]
    assert letters == [(None, None), (b"\xff", b"\xfe")]


def test_dead_letters_that_were_published_are_not_published_again(engine: Engine) -> None:
    engine.ownership.owned["clicks", 0].published_to = 1
    engine.commit.process([message("clicks", "7", b"{", 0), message("clicks", "7", b"{", 1)])
    letters = [p for p in engine.sink.published if p.topic == "dead-letters"]
    assert [dict(p.headers)["tidecast-offset"] for p in letters] == [b"1"]


# --- cut anywhere, and begun again ------------------------------------------------------------------------------------


@dataclass
class Broker:
    """Topics that workers read and write, and the group's offsets; what is acknowledged is appended."""

    partitions: int
    logs: dict[Partition, list[Message]] = field(default_factory=dict)
    committed: dict[Partition, int] = field(default_factory=dict)
    read: int = 0

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: Any = ()) -> None:
        partition = 0 if key is None else bucket_of(key.decode(errors="replace"), self.partitions)
        log = self.logs.setdefault((topic, partition), [])
        log.append(Message((topic, partition, len(log)), key, value, tuple(headers)))

    def consumed(self) -> dict[Partition, int | None]:
        return {(t, p): self.committed.get((t, p)) for t in TOPICS for p in range(self.partitions)}

    def records(self, topic: str) -> list[Message]:
        return [m for (t, _), log in sorted(self.logs.items()) if t == topic for m in log]


@dataclass
class Worker:
    """The worker's loop around an engine, a micro-batch at a time, against a `Broker`."""

    broker: Broker
    store: MemoryStore
    pick: random.Random

    def __post_init__(self) -> None:
        self.sink = RecordingSink()
        self.engine = Engine(self.store, self.sink)
        self.at = self.engine.assign(self.broker.consumed())

    def poll(self, most: int) -> list[Message]:
        """Some records of some partitions: cuts fall anywhere."""
        out: list[Message] = []
        for partition in self.pick.sample(sorted(self.at), len(self.at)):
            log = self.broker.logs.get(partition, [])
            n = min(self.pick.randint(0, most), len(log) - self.at[partition])
            out += log[self.at[partition] : self.at[partition] + n]
            self.at[partition] += n
        return out

    def done(self) -> bool:
        return all(self.at[p] >= len(self.broker.logs.get(p, [])) for p in self.at)

    def acknowledge(self) -> None:
        """What was produced is on the topics."""
        for p in self.sink.waiting:
            self.broker.append(p.topic, p.key, p.value, p.headers)
        self.sink.waiting.clear()

    def commit(self) -> None:
        self.acknowledge()
        self.engine.commit.commit(self.broker.committed.update)

    def turn(self, most: int, commit: bool) -> None:
        records = self.poll(most)
        if records:
            self.engine.commit.process(records)
            self.broker.read += len(records)
        if commit:
            self.commit()


def events(seed: int, n: int) -> list[tuple[str, str | None, Any]]:
    """A small shop's day: few customers and items, so that they meet; some records are bad."""
    r = random.Random(seed)
    out: list[tuple[str, str | None, Any]] = []
    for i in range(n):
        customer, sku, at = str(r.randrange(4)), f"S{r.randrange(4)}", T0 + i * DAY_MS // 8 - r.randrange(DAY_MS)
        kind = r.randrange(10)
        if kind < 4:
            guest = r.random() < 0.2
            lines = [line(f"S{r.randrange(4)}", r.randrange(1, 5)) for _ in range(r.randrange(1, 4))]
            what = r.choice(["order_placed", "order_placed", "order_placed", "order_cancelled", "order_returned"])
            buyer = None if guest else customer
            out.append(("orders", buyer, order(buyer, lines, at, what, event_id=f"o{i}")))
        elif kind < 6:
            out.append(("clicks", customer, click(customer, sku, at)))
        elif kind < 9:
            quantity = r.randrange(1, 30)
            what = r.choice(["stock_counted", "stock_received", "stock_adjusted"])
            where = r.choice(["w", "w", "x/1", "x/2"])
            out.append(("inventory", f"{where}:{sku}", stock(what, sku, at, where, quantity=quantity)))
        else:
            out.append((r.choice(["orders", "clicks", "inventory"]), customer, r.choice([b"{", b"", None])))
    return out


PARTITIONS = 2


def filled(seed: int, n: int) -> Broker:
    broker = Broker(PARTITIONS)
    for topic, key, value in events(seed, n):
        raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        broker.append(topic, None if key is None else key.encode(), raw)
    return broker


def run(broker: Broker, store: MemoryStore, seed: int, most: int = 5) -> Worker:
    """To the end of all topics, with its own demand records in turn."""
    worker = Worker(broker, store, random.Random(seed))
    for turn in range(10_000):
        worker.turn(most, commit=turn % 3 == 0)
        worker.commit() if worker.done() else None
        if worker.done():
            return worker
    raise AssertionError("it does not come to an end")


@functools.cache
def straight_through(seed: int, n: int, buckets: int) -> tuple[Broker, MemoryStore]:
    broker, store = filled(seed, n), MemoryStore(buckets)
    run(broker, store, seed=0, most=1_000)
    return broker, store


Disaster = Callable[[Broker, MemoryStore], MemoryStore]


def _nothing(_broker: Broker, store: MemoryStore) -> MemoryStore:
    return store


def _wiped(_broker: Broker, store: MemoryStore) -> MemoryStore:
    """R is gone."""
    return MemoryStore(store.buckets)


def _offsets_lost(broker: Broker, store: MemoryStore) -> MemoryStore:
    """K is gone, and so behind R."""
    broker.committed.clear()
    return store


def _offsets_behind(broker: Broker, store: MemoryStore) -> MemoryStore:
    broker.committed = {p: k // 2 for p, k in broker.committed.items()}
    return store


DISASTERS: Mapping[str, Disaster] = {
    "killed": _nothing,
    "store wiped": _wiped,
    "offsets lost": _offsets_lost,
    "offsets behind": _offsets_behind,
}


class Killed(Exception):
    """The process is gone."""


class Fragile:
    """Kills the worker at the n-th of what it does from here on, before or after it is done."""

    def __init__(self, worker: Worker, after: int, done: bool) -> None:
        self._left, self._done = after, done
        store, sink, broker = worker.store, worker.sink, worker.broker
        self._restore = [(store, "commit"), (store, "remember_names"), (store, "load")]
        for thing, name in [*self._restore, (sink, "produce"), (sink, "flush"), (broker.committed, "update")]:
            if thing is not broker.committed:
                setattr(thing, name, self._wrapped(getattr(thing, name)))

    def _wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._done:
                raise Killed
            answer = call(*args, **kwargs)
            if self._left == 0:
                raise Killed
            return answer

        return wrapped

    def restore(self) -> None:
        for thing, name in self._restore:
            delattr(thing, name)


def killed_at(broker: Broker, store: MemoryStore, seed: int, after: int, done: bool, arrives: float) -> bool:
    """A worker that is killed; of what it had produced, a part arrives. Tells whether it was killed before its end."""
    worker = Worker(broker, store, random.Random(seed))
    fragile = Fragile(worker, after, done)
    killed = False
    try:
        for turn in range(200):
            worker.turn(4, commit=turn % 3 == 2)
            if worker.done():
                break
    except Killed:
        killed = True
    fragile.restore()
    arrived = worker.sink.waiting[: int(len(worker.sink.waiting) * arrives)]
    for p in arrived:
        broker.append(p.topic, p.key, p.value, p.headers)
    return killed


def lines_of(broker: Broker) -> dict[str, int]:
    """How often each order line is on `demand`."""
    counts: dict[str, int] = {}
    for m in broker.records("demand"):
        event_id = json.loads(m.value() or b"")["event_id"]
        counts[event_id] = counts.get(event_id, 0) + 1
    return counts


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 5),
    buckets=st.sampled_from([1, 3]),
    ends=st.lists(
        st.tuples(
            st.integers(1, 150), st.booleans(), st.floats(0, 1), st.sampled_from(sorted(DISASTERS)), st.integers(0, 99)
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_cut_anywhere_and_begun_again_it_ends_with_the_same_state(
    seed: int, buckets: int, ends: list[tuple[int, bool, float, str, int]]
) -> None:
    expected_broker, expected = straight_through(seed, 30, buckets)
    broker, store = filled(seed, 30), MemoryStore(buckets)
    for after, done, arrives, disaster, pick in ends:
        killed_at(broker, store, pick, after, done, arrives)
        store = DISASTERS[disaster](broker, store)
    run(broker, store, seed=1)
    assert features_in(store) == features_in(expected), "bit for bit"
    assert lines_of(broker).keys() == lines_of(expected_broker).keys(), "at least once: no line is lost"
    for model in ("reorder", "next-best-offer", "stockout"):
        assert _kept(store, model) == _kept(expected, model)
    if "store wiped" not in [disaster for _, _, _, disaster, _ in ends]:
        for topic in ("reorder-scores", "next-best-offers", "stockout-scores"):
            last = {m.key(): _without_source(m.value()) for m in broker.records(topic)}
            assert last == {m.key(): _without_source(m.value()) for m in expected_broker.records(topic)}, topic
    letters = {_origin(m) for m in broker.records("dead-letters")}
    assert letters == {_origin(m) for m in expected_broker.records("dead-letters")}
    for partition, k in expected_broker.committed.items():
        if partition[0] != "demand":
            assert broker.committed[partition] == k


def _origin(letter: Message) -> tuple[bytes, ...]:
    headers = dict(letter.headers() or ())
    return headers["tidecast-topic"], headers["tidecast-partition"], headers["tidecast-offset"]


def _without_source(record: bytes | None) -> dict[str, Any]:
    """Which other records were in the same micro-batch is not part of the promise."""
    return {k: v for k, v in json.loads(record or b"").items() if k != "source"}


def _kept(store: MemoryStore, model: str) -> dict[str, dict[str, Any]]:
    return {key: _without_source(value) for key, value in store.scan("s", model).items()}


@pytest.mark.parametrize("seed", range(3))
def test_the_same_state_wherever_batches_are_cut(seed: int) -> None:
    stores = []
    for most in (1, 3, 1_000):
        broker, store = filled(seed, 60), MemoryStore()
        run(broker, store, seed=most, most=most)
        stores.append(features_in(store))
    assert stores[0] == stores[1] == stores[2]
    assert all(stores[0].values()), "every view has records"


def test_a_wiped_store_is_filled_again_and_nothing_is_published_again() -> None:
    broker, store = filled(3, 40), MemoryStore()
    run(broker, store, seed=1)
    published = {t: len(broker.records(t)) for t in ("demand", "reorder-scores", "stockout-scores", "dead-letters")}
    expected = features_in(store)
    empty = MemoryStore()
    before = broker.read
    worker = run(broker, empty, seed=2)
    assert broker.read - before == sum(len(broker.logs.get(p, [])) for p in worker.at), "all is read again"
    assert features_in(empty) == expected
    assert empty.scan("s", "reorder").keys() == store.scan("s", "reorder").keys(), "scores are kept again"
    assert {t: len(broker.records(t)) for t in published} == published


def test_lost_offsets_publish_again_and_fold_nothing_again() -> None:
    broker, store = filled(3, 40), MemoryStore()
    run(broker, store, seed=1)
    lines = lines_of(broker)
    assert set(lines.values()) == {1}
    expected = features_in(store)
    broker.committed.clear()
    worker = run(broker, store, seed=2)
    assert features_in(store) == expected
    assert lines_of(broker) == dict.fromkeys(lines, 2), "every line is there twice"
    assert metric(worker.engine.metrics, "tidecast_demand_duplicates_total") >= sum(lines.values())


def test_an_alert_is_not_lost_with_the_worker_that_raised_it() -> None:
    """Killed after the write to the store, before the broker had the alert."""
    broker, store = Broker(1), MemoryStore()
    broker.append("inventory", b"w:A", json.dumps(stock("stock_counted", quantity=1)).encode())
    first = Worker(broker, store, random.Random(0))
    while not first.done():
        first.turn(1, commit=False)
    assert [p.topic for p in first.sink.waiting] == ["stockout-scores", "supply-alerts"]
    alert = first.sink.waiting[1].value
    run(broker, store, seed=1)
    assert [m.value() for m in broker.records("supply-alerts")] == [alert]


def test_a_line_whose_demand_record_is_a_duplicate_is_scored_all_the_same() -> None:
    engine = Engine(MemoryStore(), RecordingSink())
    engine.assign(all_of())
    engine.commit.process([message("demand", "w:A", demand(source=(0, 1, 0)), 0)])
    engine.commit.process([message("demand", "w:A", demand(source=(0, 1, 0)), 1)])
    assert len(engine.sink.values("stockout-scores")) == 2


# --- entities that are erased -----------------------------------------------------------------------------------------


def test_an_erased_entity_is_not_written_back_from_memory(engine: Engine) -> None:
    engine.commit.process([message("clicks", "7", click(), 0), message("clicks", "8", click("8"), 1)])
    before = features_in(engine.store)["customer_clicks"]["8"]
    records = [("f", view) for view in discover()] + [("s", "next-best-offer")]
    assert engine.store.erase("7", records) > 0
    with pytest.raises(FenceConflict, match="erased"):
        engine.commit.process([message("clicks", "7", click(), 2)])
    assert "7" not in features_in(engine.store)["customer_clicks"], "nothing of it came back"
    # As the worker does then: caches are dropped, K and R are read again, and the micro-batch is taken in anew.
    engine.state.forget()
    engine.commit.abandon()
    engine.ownership.erasures.clear()
    engine.assign({**all_of(), ("clicks", 0): 2})
    engine.commit.process([message("clicks", "7", click(), 2)])
    found = features_in(engine.store)["customer_clicks"]
    assert np.frombuffer(found["7"], "<u4", 1, 16)[0] == 1, "it begins anew, with this event"
    assert found["8"] == before, "others are as they were"


def test_records_live_their_ttl_and_a_grace(engine: Engine) -> None:
    engine.commit.process([message("clicks", "7", click())])
    view = discover()["customer_clicks"]
    (left,) = engine.store.remaining_ms("f", view.name, ["7"])
    assert left is not None
    assert view.ttl_ms < left <= view.ttl_ms + 86_400_000


def test_layouts_are_in_the_store_before_the_first_record_of_them(engine: Engine, steps: list[str]) -> None:
    engine.commit.process([message("clicks", "7", click())])
    fingerprints = [view.fingerprint for view in discover().values()]
    assert engine.store.layouts(fingerprints).keys() == set(fingerprints)
    assert steps.index("layouts") < steps.index("write")
    engine.commit.process([message("clicks", "7", click(), 1)])
    assert steps.count("layouts") == 1, "once is enough"
