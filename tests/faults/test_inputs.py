"""Inputs have what they promise: poison of every kind, duplicates, disorder, and an event log of what remains."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from stream.decode import Decoder
from stream.eventlog import read_records
from tests.faults.inputs import Variant, make_variant
from tests.faults.outcome import Seen
from tests.faults.poison import Wire, poison

NOW_MS = int(time.time() * 1000)


class Record:
    """A record as a worker polls it."""

    def __init__(self, wire: Wire) -> None:
        self._seen = Seen(wire.topic, 0, 0, wire.key, wire.value)

    def __getattr__(self, name: str) -> Any:
        return lambda: getattr(self._seen, name)

    def timestamp(self) -> tuple[int, int]:
        return 1, NOW_MS

    def headers(self) -> list[tuple[str, bytes]]:
        return []


def is_taken(wire: Wire) -> bool:
    batch = Decoder(300_000, 1_000_000).decode([Record(wire)], NOW_MS)
    return not batch.dead_letters


@pytest.fixture(scope="module")
def variant(tmp_path_factory: pytest.TempPathFactory) -> Variant:
    return make_variant(1, tmp_path_factory.mktemp("inputs"), orders=20)


def test_no_poison_is_taken_in() -> None:
    assert [wire for wire in poison(Random(1), NOW_MS) if is_taken(wire)] == []


def test_poison_has_every_reason_to_be_refused() -> None:
    records = [Record(wire) for wire in poison(Random(1), NOW_MS)]
    letters = Decoder(300_000, 1_000_000).decode(records, NOW_MS).dead_letters
    assert {letter.stage for letter in letters} == {"decode", "validate", "key", "event_time", "size"}


def test_everything_else_is_taken_in(variant: Variant) -> None:
    bad = set(variant.poison)
    assert [wire for wire in variant.events if wire not in bad and not is_taken(wire)] == []


def test_a_variant_is_the_same_every_time(variant: Variant, tmp_path: Path) -> None:
    again = make_variant(1, tmp_path, orders=20)
    bad = set(variant.poison) | set(again.poison)  # one of them is of the future, and so of now
    first, second = ([wire for wire in v.events if wire not in bad] for v in (variant, again))
    assert first == second
    assert variant.lines == again.lines


def test_the_log_is_the_stream_without_poison_and_duplicates(variant: Variant) -> None:
    events = [wire for wire in variant.events if wire not in set(variant.poison)]
    for topic in ("orders", "clicks", "inventory"):
        sent = [wire.value for wire in events if wire.topic == topic]
        assert (variant.log / f"{topic}.jsonl").read_bytes().splitlines() == list(dict.fromkeys(sent))


def test_some_events_come_twice_and_some_late(variant: Variant) -> None:
    counts = Counter(wire for wire in variant.events if wire not in set(variant.poison))
    assert max(counts.values()) == 2
    times = [r.event_time_ms for r in read_records(variant.log, ["clicks"])]
    assert times != sorted(times)
