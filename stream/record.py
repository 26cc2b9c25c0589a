"""Record: a range of the input topics to an event log, one JSONL file a topic, in the order of Kafka's timestamps.

Within a partition records keep their order; partitions are merged by record timestamp, each spooled to a file of its
own, so that memory does not grow with the topic. Values are kept as they are; what is no record of its topic is left
out and counted, as the worker leaves it to the dead letters. Of `catalog` and `offers` the last record a key is kept.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import msgspec
import orjson

from stream.errors import UsageError
from stream.eventlog import REFERENCE_TOPICS, TOPIC_TYPES
from stream.reader import TopicReader
from stream.settings import KafkaSettings
from stream.source import Partition

#: Told how many records have been read.
Progress = Callable[[int], None]

_TIMEOUT_S = 24 * 3600.0
#: What Kafka calls a timestamp that the broker gave when it took the record in.
_LOG_APPEND_TIME = 2


@dataclass(frozen=True, slots=True)
class Range:
    """Which records are taken; None is no limit.

    Args:
        from_offset: no record before this offset, in any partition.
        from_time_ms, to_time_ms: record timestamps, from the first to before the second.
    """

    from_offset: int | None = None
    from_time_ms: int | None = None
    to_time_ms: int | None = None

    def has(self, offset: int, timestamp_ms: int) -> bool:
        """Whether a record is in it.

        >>> Range(from_offset=3).has(2, 0), Range(to_time_ms=5).has(2, 4)
        (False, True)
        """
        if offset < (self.from_offset or 0) or timestamp_ms < (self.from_time_ms or 0):
            return False
        return self.to_time_ms is None or timestamp_ms < self.to_time_ms


@dataclass(slots=True)
class Recorded:
    """What a recording took: records written and values left out, by topic."""

    records: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


def record(
    kafka: KafkaSettings,
    out: Path,
    topics: Sequence[str] = tuple(TOPIC_TYPES),
    limits: Range | None = None,
    progress: Progress | None = None,
) -> Recorded:
    """Writes an event log from topics, up to their ends as they are now.

    Args:
        kafka: the broker.
        out: the event log; made if it does not exist. Its files appear when all of them are complete.
        topics: which; a topic without a record gets an empty file.
        limits: which records.
        progress: told how many have been read.

    Raises:
        UsageError: an unknown topic, one that the broker lacks, or one that the event log has already.
    """
    for topic in topics:
        _check(out, topic)
    out.mkdir(parents=True, exist_ok=True)
    recorded = Recorded(dict.fromkeys(topics, 0), dict.fromkeys(topics, 0))
    with TemporaryDirectory(prefix=".record-", dir=out) as scratch:
        spool = _Spool(Path(scratch), recorded)
        try:
            _read(kafka, topics, limits or Range(), spool, progress or (lambda _: None))
        finally:
            spool.close()
        for topic in topics:
            recorded.records[topic] = _write(Path(scratch) / f"{topic}.jsonl", topic, spool.merged(topic))
        for topic in topics:
            (Path(scratch) / f"{topic}.jsonl").replace(out / f"{topic}.jsonl")
    return recorded


def _check(out: Path, topic: str) -> None:
    if topic not in TOPIC_TYPES:
        raise UsageError(f"an event log has no topic {topic!r}; topics are {', '.join(TOPIC_TYPES)}")
    for path in (out / f"{topic}.jsonl", out / f"{topic}.parquet"):
        if path.exists():
            raise UsageError(f"{path} is there already; record to another directory, or remove it")


def _read(kafka: KafkaSettings, topics: Sequence[str], limits: Range, spool: _Spool, progress: Progress) -> None:
    begun_ms = int(time.time() * 1000)
    ending = TopicReader(kafka, topics, from_end=True)
    ends = dict(ending.positions)
    ending.close()
    reader, count = TopicReader(kafka, topics), 0
    try:
        for message in reader.read_to_end(_TIMEOUT_S):
            place, (kind, stamp) = (message.topic(), message.partition()), message.timestamp()
            count += 1
            if count % 10_000 == 0:
                progress(count)
            # The embedded broker tells an end that is too low (decision 5): what is beyond it is new only if it was
            # also written after the beginning.
            if message.offset() >= ends.get(place, 0) and stamp > begun_ms:
                if all(reader.positions[p] >= end for p, end in ends.items()):
                    break
            elif limits.has(message.offset(), stamp):
                spool.add(place, message, stamp, kind == _LOG_APPEND_TIME)
    finally:
        reader.close()
    progress(count)


class _Spool:
    """A file a partition: timestamp, key and value of each record, a line each."""

    def __init__(self, directory: Path, recorded: Recorded) -> None:
        self._directory, self._recorded = directory, recorded
        self._files: dict[Partition, BinaryIO] = {}
        self._decoders = {topic: msgspec.json.Decoder(kind) for topic, kind in TOPIC_TYPES.items()}
        self._newest: dict[Partition, int] = {}

    def add(self, place: Partition, message: Any, stamp: int, appended: bool) -> None:
        """Takes in a record; `stamp` is its timestamp, `appended` that the broker gave it."""
        topic, value = place[0], message.value()
        if value is None and topic in REFERENCE_TOPICS:
            line = b""
        else:
            try:
                self._decoders[topic].decode(value or b"")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._recorded.left_out[topic] += 1
                return
            line = _line(value, stamp if appended and topic not in REFERENCE_TOPICS else None)
        # Never before one ahead of it in its partition, which a timestamp of the producer may be.
        newest = self._newest[place] = max(stamp, self._newest.get(place, stamp))
        key = (message.key() or b"").hex().encode()
        self._file(place).write(b"%d\t%s\t%s\n" % (newest, key, line))

    def _file(self, place: Partition) -> BinaryIO:
        if place not in self._files:
            self._files[place] = self._path(place).open("wb")
        return self._files[place]

    def _path(self, place: Partition) -> Path:
        return self._directory / f"{place[0]}-{place[1]}"

    def close(self) -> None:
        """All is on disk."""
        for file in self._files.values():
            file.close()

    def merged(self, topic: str) -> Iterator[tuple[bytes, bytes]]:
        """Key (hexadecimal) and line of each record of a topic, by timestamp; at equal ones by partition."""
        streams = [self._lines(place) for place in sorted(self._files) if place[0] == topic]
        for _, _, key, line in heapq.merge(*streams, key=lambda entry: entry[:2]):
            yield key, line

    def _lines(self, place: Partition) -> Iterator[tuple[int, int, bytes, bytes]]:
        with self._path(place).open("rb") as lines:
            for entry in lines:
                stamp, key, line = entry[:-1].split(b"\t", 2)
                yield int(stamp), place[1], key, line


def _line(value: bytes, arrival_ms: int | None) -> bytes:
    """A value as one line, with its time of arrival where that is known.

    >>> _line(b'{"sku":\\n"A"}', None), _line(b'{"sku":"A"} ', 7)
    (b'{"sku":"A"}', b'{"sku":"A","arrival_ms":7}')
    """
    if b"\n" in value or b"\r" in value:
        value = orjson.dumps(orjson.loads(value))
    if arrival_ms is None or b'"arrival_ms"' in value:
        return value
    return value.rstrip()[:-1] + b',"arrival_ms":%d}' % arrival_ms


def _write(path: Path, topic: str, entries: Iterator[tuple[bytes, bytes]]) -> int:
    if topic in REFERENCE_TOPICS:
        last: dict[bytes, bytes] = {}
        for key, line in entries:
            last.pop(key, None)
            if line:
                last[key] = line
        lines: Iterator[bytes] = iter(last.values())
    else:
        lines = (line for _, line in entries)
    with path.open("wb") as file:
        return sum(bool(file.write(line + b"\n")) for line in lines)
