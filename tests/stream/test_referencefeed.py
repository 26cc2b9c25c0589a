from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from features.ids import IdCache
from stream.decode import DeadLetter
from stream.metrics import Metrics
from stream.ownership import Partition
from stream.reference import Reference
from stream.referencefeed import ReferenceFeed
from stream.settings import KafkaSettings
from tests.stream.build import Message, message, metric

GOOD = b'{"type":"product","sku":"A","name":"Red bowl","unit_price":2.0}'


class FakeReader:
    """Gives what it is told to."""

    def __init__(self, *_args: Any) -> None:
        self.waiting: list[Message] = []

    def poll(self) -> list[Message]:
        given, self.waiting = self.waiting, []
        return given

    read_to_end = poll


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> ReferenceFeed:
    monkeypatch.setattr("stream.referencefeed.TopicReader", FakeReader)
    return ReferenceFeed(KafkaSettings(), Reference(IdCache()), Metrics())


def come(feed: ReferenceFeed, *records: Message) -> None:
    cast(Any, feed._reader).waiting += records
    feed.read()


class Group:
    """What the group has committed, and the letters that were published."""

    def __init__(self) -> None:
        self.offsets: dict[Partition, int | None] = {}
        self.letters: list[tuple[str, int, str]] = []
        self.works = True

    def committed(self, places: Sequence[Partition]) -> dict[Partition, int | None]:
        return {place: self.offsets.get(place) for place in places}

    def publish(self, letters: Sequence[DeadLetter]) -> bool:
        if self.works:
            self.letters += [(letter.topic, letter.offset, letter.stage) for letter in letters]
            self.offsets |= {(letter.topic, letter.partition): letter.offset + 1 for letter in letters}
        return self.works


def test_good_records_are_taken_in_and_bad_ones_published_once(feed: ReferenceFeed) -> None:
    group = Group()
    come(feed, message("catalog", "A", GOOD, 0), message("catalog", "B", b"{", 1), message("offers", "C", b"{}", 4))
    assert feed._reference.name("A") == "Red bowl"
    for _ in range(2):
        feed.publish(group.committed, group.publish)
    assert group.letters == [("catalog", 1, "decode"), ("offers", 4, "validate")]
    assert metric(feed._metrics, "tidecast_dead_letters_total", topic="catalog", stage="decode") == 1


def test_letters_that_another_worker_has_published_are_not_published_again(feed: ReferenceFeed) -> None:
    group = Group()
    group.offsets = {("catalog", 0): 2}
    come(feed, message("catalog", "A", b"{", 1), message("catalog", "A", b"{", 2))
    feed.publish(group.committed, group.publish)
    assert group.letters == [("catalog", 2, "decode")]


def test_letters_that_could_not_be_published_are_tried_again(feed: ReferenceFeed) -> None:
    group = Group()
    come(feed, message("catalog", "A", b"{", 1))
    group.works = False
    feed.publish(group.committed, group.publish)
    group.works = True
    feed.publish(group.committed, group.publish)
    assert group.letters == [("catalog", 1, "decode")]
