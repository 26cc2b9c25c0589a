"""Decode: records to typed events; what cannot be taken in becomes a dead letter that says where and why.

Pure: no network, no clock. What it costs an event: benchmarks/stages.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import attrgetter
from typing import Any, Protocol

import msgspec

from stream.provenance import Headers, Traces, trace_of
from stream.topology import CONSUMED, DEMAND, INVENTORY, Topic

_MAX_ERROR_CHARS = 500
#: A record's timestamp is when the broker appended it, not when a producer says it made it.
_APPENDED = 2
_MAX_KEY_CHARS = 80


class RecordLike(Protocol):
    """What is read of a record; `confluent_kafka.Message` has it."""

    def topic(self) -> str:
        """The topic."""

    def partition(self) -> int:
        """The partition."""

    def offset(self) -> int:
        """The offset."""

    def key(self) -> bytes | None:
        """The key."""

    def value(self) -> bytes | None:
        """The value."""

    def headers(self) -> list[tuple[str, bytes]] | None:
        """The headers."""

    def timestamp(self) -> tuple[int, int]:
        """Its type (2: when the broker appended it) and the time in ms."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was not taken in: its original bytes and headers, its place, and what was wrong."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    stage: str
    error: str
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(slots=True)
class Decoded:
    """The good events of one topic in a micro-batch, in log order within each partition."""

    topic: str
    events: list[Any] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)

    def only(self, keep: Sequence[bool]) -> Decoded:
        """Those that are to be kept."""
        events, partitions, offsets = (list(compress(c, keep)) for c in (self.events, self.partitions, self.offsets))
        return Decoded(self.topic, events, partitions, offsets)


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """A decoded micro-batch.

    Args:
        topics: by topic name; only those with good events.
        dead_letters: the rest.
        next_offsets: (topic, partition) to the offset after the last record, good or not.
        traces: trace context of the records that have one.
    """

    topics: dict[str, Decoded]
    dead_letters: list[DeadLetter]
    next_offsets: dict[tuple[str, int], int]
    traces: Traces = field(default_factory=dict)


def item_key(event: Any) -> str:
    """The key of an item: location:sku."""
    return f"{event.location}:{event.sku}"


_KEYS: dict[str, Callable[[Any], str | None]] = {
    t.name: item_key if t in (DEMAND, INVENTORY) else attrgetter("customer_id") for t in CONSUMED
}


class Decoder:
    """Decodes and validates micro-batches.

    Args:
        max_future_skew_ms: events further ahead of the clock are refused: they would drag time forward.
        max_record_bytes: larger records are refused.
        topics: which topics it knows.
    """

    def __init__(self, max_future_skew_ms: int, max_record_bytes: int, topics: Sequence[Topic] = CONSUMED) -> None:
        self._skew_ms = max_future_skew_ms
        self._max_bytes = max_record_bytes
        self._decoders = {t.name: msgspec.json.Decoder(t.record).decode for t in topics}
        #: A time of each partition that later records are not before.
        self._appended: dict[tuple[str, int], int] = {}

    def decode(self, records: Sequence[RecordLike], now_ms: int) -> DecodedBatch:
        """Splits a micro-batch into good events by topic and dead letters.

        Args:
            now_ms: the wall clock. It decides which events are of the future only where the log does not: topics with
                `message.timestamp.type=LogAppendTime` give every worker, at any time, the same answer.
        """
        topics: dict[str, Decoded] = {}
        dead: list[DeadLetter] = []
        appended, skew_ms, max_bytes = self._appended, self._skew_ms, self._max_bytes
        following: dict[tuple[str, int], int] = {}
        traces: dict[tuple[str, int, int], Headers] = {}
        topic, batch = "", Decoded("")
        for record in records:
            # Records come in runs of one topic.
            if record.topic() != topic:
                topic = record.topic()
                batch = topics.setdefault(topic, Decoded(topic))
                decode, entity_of = self._decoders[topic], _KEYS[topic]
            partition, offset, value = record.partition(), record.offset(), record.value()
            following[topic, partition] = offset + 1
            try:
                if value is None or len(value) > max_bytes:
                    raise _refusal(value, max_bytes)
                event = decode(value)
                if event.event_time_ms > appended.get((topic, partition), 0) + skew_ms:
                    self._check_time(record, event.event_time_ms, now_ms)
                # The key decides the partition, and so the worker that owns the entity's state.
                entity = entity_of(event)
                if entity is not None and record.key() != entity.encode():
                    raise Refused("key", _misplaced(record.key(), entity))
            except (Refused, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                own = record.headers() or ()
                dead.append(DeadLetter(topic, partition, offset, record.key(), value, *reason_of(error), own))
                continue
            if (headers := record.headers()) and (trace := trace_of(headers)):
                traces[topic, partition, offset] = trace
            batch.events.append(event)
            batch.partitions.append(partition)
            batch.offsets.append(offset)
        return DecodedBatch({name: good for name, good in topics.items() if good.events}, dead, following, traces)

    def _check_time(self, record: RecordLike, event_time_ms: int, now_ms: int) -> None:
        kind, appended_ms = record.timestamp()
        clock_ms = appended_ms if kind == _APPENDED else now_ms
        self._appended[record.topic(), record.partition()] = clock_ms
        if event_time_ms > clock_ms + self._skew_ms:
            raise Refused("event_time", _future(event_time_ms, clock_ms, self._skew_ms))


class Refused(Exception):
    """A record that is well-formed but not acceptable."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


def reason_of(error: Exception) -> tuple[str, str]:
    """Stage and message. The message is bounded: it may quote the record, and travels in a header."""
    if isinstance(error, RecursionError):
        return "decode", "the JSON is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "decode", f"a text is not UTF-8: {error.reason}"
    stage = "validate" if isinstance(error, msgspec.ValidationError) else "decode"
    return error.stage if isinstance(error, Refused) else stage, str(error)[:_MAX_ERROR_CHARS]


def _refusal(value: bytes | None, limit: int) -> Refused:
    if value is None:
        return Refused("decode", "the record has no value; deletions (null values) are for compacted topics")
    return Refused("size", f"the record has {len(value)} bytes, more than worker.max_record_bytes = {limit}")


def _future(event_time_ms: int, now_ms: int, skew_ms: int) -> str:
    return (
        f"event_time_ms {event_time_ms} is {event_time_ms - now_ms} ms ahead of the clock, "
        f"more than worker.max_future_skew_ms = {skew_ms}"
    )


def _misplaced(key: bytes | None, entity: str) -> str:
    found = None if key is None else key.decode(errors="replace")
    if found is not None and len(found) > _MAX_KEY_CHARS:
        found = found[:_MAX_KEY_CHARS] + "…"
    return f"the record key is {found!r}, but its entity is {entity!r}; produce it with that key"
