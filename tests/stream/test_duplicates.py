"""Events that come again change nothing: no state, no score, no demand, wherever batches are cut."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from features.store import MemoryStore
from tests.stream.build import (
    T0,
    Engine,
    Message,
    RecordingSink,
    click,
    features_in,
    line,
    message,
    metric,
    order,
    stock,
)
from tests.stream.test_commit import all_of

HORIZON = 50


def engine_of(store: MemoryStore) -> Engine:
    engine = Engine(store, RecordingSink())
    engine.ownership.duplicate_horizon = HORIZON
    return engine


def once() -> list[tuple[str, str, dict[str, Any]]]:
    """Events with ids of their own."""
    events: list[tuple[str, str, dict[str, Any]]] = []
    for i in range(12):
        at = T0 + i * 60_000
        events += [
            ("orders", "7", order("7", [line("A", 2), line("B")], at, event_id=f"o{i}")),
            ("orders", "", order(None, [line("A")], at, event_id=f"g{i}")),
            ("clicks", "7", click("7", "V", at, event_id=f"c{i}")),
            ("inventory", "w:A", stock("stock_received", "A", at, quantity=3, event_id=f"s{i}")),
        ]
    return events


def numbered(events: list[tuple[str, str, dict[str, Any]]]) -> list[Message]:
    following: dict[str, int] = {}
    out = []
    for topic, key, event in events:
        offset = following.get(topic, 0)
        following[topic] = offset + 1
        out.append(message(topic, key or None, event, offset))
    return out


def with_duplicates(random_: random.Random) -> list[tuple[str, str, dict[str, Any]]]:
    events: list[tuple[str, str, dict[str, Any]]] = []
    for event in once():
        events.append(event)
        while events and random_.random() < 0.4:
            events.append(random_.choice(events[-20:]))
    return events


@pytest.mark.parametrize("buckets", [1, 4])
@pytest.mark.parametrize("seed", range(6))
def test_duplicates_change_nothing_wherever_batches_are_cut(seed: int, buckets: int) -> None:
    random_ = random.Random(seed)
    clean, doubled = engine_of(MemoryStore(buckets)), engine_of(MemoryStore(buckets))
    clean.assign(all_of())
    clean.commit.process(numbered(once()))
    doubled.assign(all_of())
    records = numbered(with_duplicates(random_))
    assert len(records) > 60
    sinks = [doubled.sink]
    at = 0
    while at < len(records):
        end = at + random_.randint(1, 9)
        doubled.commit.process(records[at:end])
        at = end
        if random_.random() < 0.4:  # a worker that died: another begins where the state ends
            doubled.commit.commit(lambda offsets: None)
            doubled = engine_of(doubled.store)
            sinks.append(doubled.sink)
            ends: dict[str, int] = {}
            for record in records[:at]:
                ends[record.topic()] = record.offset() + 1
            doubled.assign({(t, p): ends.get(t, 0) for t, p in all_of()})
    assert features_in(doubled.store) == features_in(clean.store)
    assert lines(sinks) == lines([clean.sink])


def lines(sinks: list[RecordingSink]) -> list[tuple[str, int]]:
    """What was published of demand: event ids, and how often each."""
    ids = [json.loads(p.value or b"{}")["event_id"] for s in sinks for p in s.published if p.topic == "demand"]
    return sorted(Counter(ids).items())


def test_duplicates_touch_nothing_and_are_counted() -> None:
    engine = engine_of(MemoryStore())
    engine.assign(all_of())
    engine.commit.process(numbered([("clicks", "7", click("7", event_id="c1"))]))
    before = len(engine.sink.published)
    engine.commit.process([message("clicks", "7", click("7", event_id="c1"), 1)])
    assert len(engine.sink.published) == before, "no score either"
    assert metric(engine.metrics, "tidecast_duplicate_events_total", topic="clicks") == 1
    assert [f.next_offset for f in engine.store.fences("clicks", 0)] == [2]


def test_a_replay_of_what_is_in_the_state_is_scored_but_a_duplicate_in_it_is_not() -> None:
    """Events in [K, R): scored, not folded; those that were duplicates stay dropped."""
    engine = engine_of(MemoryStore())
    engine.assign(all_of())
    records = numbered([("orders", "7", order("7", event_id="o1")), ("orders", "7", order("7", event_id="o1"))])
    engine.commit.process(records)
    successor = engine_of(engine.store)
    assert successor.assign(all_of())["orders", 0] == 0
    before = features_in(engine.store)
    successor.commit.process(records)
    assert features_in(engine.store) == before
    assert [p.topic for p in successor.sink.published].count("demand") == 1
