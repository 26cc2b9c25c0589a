"""Dead letters, read again: which there are, what can be done about each, and which have been sent back.

A letter that is replayed gets a mark: a record in `dead-letters` that names it, in the same partition and, where the
broker has transactions, in the same transaction as the record that was sent back (`stream.replaysink`). So a record is
never sent back without its mark, nor the mark without the record. The mark lies behind its letter in one partition, and
Kafka's retention takes a partition away from its front: no letter outlives its mark. An offset that a group commits
could not do that: filters choose letters here and there, and the broker forgets the offsets of a group that is away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import xxhash

from stream.deadletter import HEADERS
from stream.errors import UsageError
from stream.reader import TopicReader
from stream.settings import KafkaSettings
from stream.topology import DEAD_LETTERS

#: A record that was sent back says which letter it was: partition and offset in `dead-letters`.
REPLAYED_FROM = "tidecast-replayed-from"
#: A mark says which letter was sent back, and where to.
MARK, MARK_TO = "tidecast-replayed-letter", "tidecast-replayed-to"

_READ_S = 3_600.0
_FUTURE = re.compile(r"event_time_ms (\d+) is")


class Place(NamedTuple):
    """Where a letter is in `dead-letters`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


def place_of(text: str) -> Place:
    """Reads a place as it is printed.

    Raises:
        UsageError: it is none.

    >>> place_of("0:17")
    Place(partition=0, offset=17)
    """
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise UsageError(
            f"{text!r} is no place; write PARTITION:OFFSET as `tidecast dead-letters list` shows it, as 0:17"
        )
    return Place(int(partition), int(offset))


class Letter(msgspec.Struct, frozen=True):
    """A dead letter without its value.

    Args:
        place: where it is in `dead-letters`.
        topic, partition, offset: where it was read from; None where its headers do not say so.
        stage, error: why it was not taken in.
        key: the original one.
        value_bytes: length of the original value; None where there is none.
        time_ms: when it became a dead letter.
        digest: of key and value: the same for copies, which a worker publishes that ended between two commits.
        replayed_to: the topic that it was sent back to; None where it was not.
    """

    place: Place
    topic: str | None
    partition: int | None
    offset: int | None
    stage: str
    error: str
    key: bytes | None
    value_bytes: int | None
    time_ms: int
    digest: int
    replayed_to: str | None = None

    @property
    def origin(self) -> str:
        """Where it was read from, for people."""
        return "unknown" if self.topic is None else f"{self.topic}[{self.partition}]@{self.offset}"

    @property
    def identity(self) -> tuple[Any, ...]:
        """What it has in common with its copies; a letter of unknown origin has none."""
        if self.topic is None:
            return (*self.place,)
        return self.topic, self.partition, self.offset, self.digest


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant; None is no limit.

    Args:
        topic, stage, key: the original topic, the stage and the original key, exactly.
        since_ms, until_ms: when they became dead letters, from the first to before the second. Their event time is not
            asked for: most of them have none that can be read.
        contains: a part of the error.
        places: only these; empty: any.
        waiting: only those that were not sent back.
    """

    topic: str | None = None
    stage: str | None = None
    key: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    contains: str | None = None
    places: frozenset[Place] = frozenset()
    waiting: bool = False

    def has(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        exact = ((self.topic, letter.topic), (self.stage, letter.stage))
        if any(wanted is not None and wanted != found for wanted, found in exact):
            return False
        if self.key is not None and letter.key != self.key.encode():
            return False
        if letter.time_ms < (self.since_ms or 0) or (self.until_ms is not None and letter.time_ms >= self.until_ms):
            return False
        if self.places and letter.place not in self.places:
            return False
        return (self.contains or "") in letter.error and not (self.waiting and letter.replayed_to is not None)


def read_letters(kafka: KafkaSettings) -> list[Letter]:
    """All dead letters, oldest first.

    Raises:
        UsageError: the broker lacks the topic or does not deliver it.
    """
    reader = TopicReader(kafka, [DEAD_LETTERS.name])
    try:
        return letters_of(reader.read_to_end(_READ_S))
    finally:
        reader.close()


def letters_of(records: Iterable[Any]) -> list[Letter]:
    """Letters and what their marks say of them, oldest first, from records of `dead-letters`."""
    letters: list[Letter] = []
    marks: dict[Place, str] = {}
    for record in records:
        headers = _first(record.headers() or ())
        if MARK in headers:
            marks[_marked(headers)] = headers.get(MARK_TO, "")
        else:
            letters.append(_letter(record, headers))
    sent = {letter.identity: marks[letter.place] for letter in letters if letter.place in marks}
    letters.sort(key=lambda letter: (letter.time_ms, letter.place))
    return [msgspec.structs.replace(letter, replayed_to=sent.get(letter.identity)) for letter in letters]


def _first(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """The first header of each name: ours come before the record's own."""
    out: dict[str, str] = {}
    for name, value in headers:
        out.setdefault(name, (value or b"").decode(errors="replace"))
    return out


def _marked(headers: Mapping[str, str]) -> Place:
    """The letter that a mark names; a mark of no letter marks a place that no record has."""
    partition, _, offset = headers[MARK].partition(":")
    known = partition.isdecimal() and offset.isdecimal()
    return Place(int(partition), int(offset)) if known else Place(-1, -1)


def _letter(record: Any, headers: Mapping[str, str]) -> Letter:
    topic, partition, offset, stage, error = (headers.get(name) for name in HEADERS)
    known = topic and (partition or "").isdecimal() and (offset or "").isdecimal()
    key, value = record.key(), record.value()
    return Letter(
        Place(record.partition(), record.offset()),
        topic if known else None,
        int(partition or 0) if known else None,
        int(offset or 0) if known else None,
        stage or "unknown",
        error or "it has no tidecast headers: another program put it there",
        key,
        None if value is None else len(value),
        record.timestamp()[1],
        xxhash.xxh3_64_intdigest(repr((key, value)).encode()),
    )


def in_order(letters: Iterable[Letter]) -> list[Letter]:
    """Letters in the order in which their records stood in their topics, each once: copies are left out."""
    once = {letter.identity: letter for letter in sorted(letters, key=lambda letter: letter.place, reverse=True)}
    return sorted(once.values(), key=lambda one: (one.topic or "", one.partition or 0, one.offset or 0, one.place))


def chunks(letters: Sequence[Letter], max_letters: int = 500, max_bytes: int = 8_000_000) -> Iterator[list[Letter]]:
    """Cuts letters into parts that fit into memory and into one transaction; a part has one letter at least."""
    part: list[Letter] = []
    size = 0
    for letter in letters:
        if part and (len(part) >= max_letters or size + (letter.value_bytes or 0) > max_bytes):
            yield part
            part, size = [], 0
        part.append(letter)
        size += letter.value_bytes or 0
    if part:
        yield part


def own_headers(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, bytes]]:
    """The headers that the record had before it became a letter.

    >>> own_headers([("tidecast-topic", b"orders"), ("traceparent", b"00"), ("tidecast-topic", b"mine")])
    [('traceparent', b'00'), ('tidecast-topic', b'mine')]
    """
    ours, out = set(HEADERS), []
    for name, value in headers:
        if name in ours:
            ours.remove(name)
        else:
            out.append((name, value or b""))
    return out


def sent_headers(letter: Letter, headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, bytes]]:
    """The headers of the record that is sent back: its own, and which letter it was (the last, if more than one)."""
    own = [(name, value) for name, value in own_headers(headers) if name != REPLAYED_FROM]
    return [*own, (REPLAYED_FROM, f"{DEAD_LETTERS.name}:{letter.place}".encode())]


def mark_headers(letter: Letter, to: str) -> list[tuple[str, bytes]]:
    """The headers of a letter's mark. It has those of a letter too, so that every record of the topic has them."""
    told = f"no letter: {letter.place} was sent back to {to}"
    values = (letter.topic or "unknown", letter.partition or 0, letter.offset or 0, "replayed", told)
    ours = [(name, str(value).encode()) for name, value in zip(HEADERS, values, strict=True)]
    return [*ours, (MARK, str(letter.place).encode()), (MARK_TO, to.encode())]


def advice(letter: Letter, now_ms: int) -> str:
    """What a person can do about a letter."""
    if letter.replayed_to is not None:
        return f"Nothing: it was sent back to {letter.replayed_to}. If it failed again, it is a letter of its own."
    if letter.topic is None:
        return f"Ask who writes to {DEAD_LETTERS.name}. To send it somewhere, replay it with --to TOPIC."
    if letter.stage == "event_time":
        return _when_it_will_do(letter, now_ms)
    return _ADVICE.get(letter.stage, "Replay it once what the error says is put right.")


_SAME_BYTES = "A replay sends the same bytes, so it helps only after an upgrade to a worker that takes them in."
_ADVICE = {
    "decode": f"Let its producer send the event again as valid JSON. {_SAME_BYTES}",
    "validate": f"Let its producer send the event again as docs/schemas say. {_SAME_BYTES}",
    "key": f"Let its producer send the event again with the key that the error names. {_SAME_BYTES}",
    "size": "Raise worker.max_record_bytes, restart the workers and replay it; or let its producer send less.",
}


def _when_it_will_do(letter: Letter, now_ms: int) -> str:
    found = _FUTURE.search(letter.error)
    ahead_s = (int(found[1]) - now_ms) / 1000 if found else 0.0
    if ahead_s > 0:
        return (
            f"Its event time is {ahead_s:,.0f} s ahead of the clock: replay it when that is over, or put the clock of "
            "its producer right and let it send the event again."
        )
    return "The clock has passed its event time: replay it. Look at the clock of its producer."
