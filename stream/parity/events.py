"""Events for parity: the rows that the worker folded, with their places, from an event log or from Kafka itself.

They go through the worker's own decoding, its dropping of duplicates and its micro-batch code. Demand is made from the
orders, by the worker's own repartition.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.ids import IdCache
from features.rows import STREAMS, Rows
from features.store import Fence
from stream.decode import Decoded, DecodedBatch, Decoder, RecordLike
from stream.duplicates import drop_duplicates
from stream.eventlog import LogRecord, read_records, topics_in
from stream.metrics import Metrics
from stream.microbatch import Feed, feeds_of
from stream.ownership import Ownership
from stream.partitioner import partition_of
from stream.reader import TopicReader
from stream.repartition import demand_of
from stream.settings import Settings
from stream.topology import CLICKS, DEAD_LETTERS, DEMAND, INVENTORY, ORDERS

_CHUNK = 20_000
#: From Kafka no clock is asked: what came from the future was refused when it came, and is among the dead letters.
_NEVER_MS = 2**61
EVENTS = (ORDERS.name, CLICKS.name, INVENTORY.name)
Place = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class StreamRows:
    """Rows of one stream with the place of the record that each came from.

    Args:
        rows: in log order within each partition.
        partition, position: for `demand` of the order line, as in `stream.microbatch.Feed`; else of the record. int64
            of shape (n,).
    """

    rows: Rows
    partition: NDArray[np.int64]
    position: NDArray[np.int64]


@dataclass
class EventRows:
    """All rows of the entities that are asked for, and the last place of every entity.

    Args:
        streams: by row stream.
        last: by topic and entity: the newest position by partition, as in `StreamRows`.
        events: how many there were.
    """

    streams: dict[str, StreamRows] = field(default_factory=dict)
    last: dict[tuple[str, str], dict[int, int]] = field(default_factory=dict)
    events: int = 0


class _Collected:
    """Grows the rows of one stream."""

    def __init__(self) -> None:
        self._feeds: list[tuple[Feed, NDArray[np.intp]]] = []

    def add(self, feed: Feed, keep: NDArray[np.intp]) -> None:
        self._feeds.append((feed, keep))

    def rows(self) -> StreamRows:
        taken = [(feed, feed.rows.take(keep), keep) for feed, keep in self._feeds]
        first = taken[0][1]
        columns = {n: np.concatenate([rows.columns[n] for _, rows, _ in taken]) for n in first.columns}
        entities = [e for _, rows, _ in taken for e in rows.entities]
        demand = first.stream == DEMAND.name
        parts = [(f.source_partition if demand else f.partition)[keep] for f, _, keep in taken]
        positions = [(f.source_position if demand else f.offset)[keep] for f, _, keep in taken]
        return StreamRows(Rows(first.stream, entities, columns), np.concatenate(parts), np.concatenate(positions))


@dataclass(frozen=True, slots=True)
class _Placed:
    """A record of an event log at the place that it has on a topic of so many partitions."""

    record: LogRecord
    at: tuple[int, int]

    def topic(self) -> str:
        """The topic."""
        return self.record.topic

    def partition(self) -> int:
        """The partition."""
        return self.at[0]

    def offset(self) -> int:
        """The offset."""
        return self.at[1]

    def key(self) -> bytes | None:
        """The key."""
        return self.record.key

    def value(self) -> bytes | None:
        """The value."""
        return self.record.value

    def headers(self) -> list[tuple[str, bytes]] | None:
        """None."""
        return None

    def timestamp(self) -> tuple[int, int]:
        """None is known."""
        return 0, 0


def placed(records: Iterable[LogRecord], partitions: int) -> Iterator[RecordLike]:
    """The records of an event log where `tidecast replay` puts them on empty topics of so many partitions."""
    following: dict[tuple[str, int], int] = defaultdict(int)
    for record in records:
        partition = partition_of(record.key or b"", partitions)
        at = record.topic, partition
        yield _Placed(record, (partition, following[at]))
        following[at] += 1


def rows_from_log(
    directory: Path, partitions: int, settings: Settings, wanted: Callable[[str, str], bool]
) -> EventRows:
    """The rows of an event log, placed as `tidecast replay` placed them.

    Args:
        directory: the event log.
        partitions: of the topics it was replayed to.
        settings: the worker's.
        wanted: of entity type and key, whether its rows are kept.

    Raises:
        UsageError: there is no event log, or a file does not hold its topic's records.
    """
    topics = [topic for topic in topics_in(directory) if topic in EVENTS]
    records = placed(read_records(directory, topics or EVENTS), partitions)
    return rows_of_records(records, partitions, settings, wanted, now_ms=time.time_ns() // 1_000_000)


def rows_from_kafka(settings: Settings, wanted: Callable[[str, str], bool]) -> EventRows:
    """The rows of what is on the input topics now, without what became a dead letter."""
    refused = frozenset(_refused(settings))
    reader = TopicReader(settings.kafka, EVENTS)
    try:
        partitions = 1 + max(p for _, p in reader.positions)
        return rows_of_records(reader.read_to_end(600.0), partitions, settings, wanted, refused)
    finally:
        reader.close()


def _refused(settings: Settings) -> Iterator[Place]:
    reader = TopicReader(settings.kafka, [DEAD_LETTERS.name])
    try:
        for record in reader.read_to_end():
            said = dict(record.headers() or ())
            if b"" not in (at := tuple(said.get(f"tidecast-{n}", b"") for n in ("topic", "partition", "offset"))):
                yield at[0].decode(), int(at[1]), int(at[2])
    finally:
        reader.close()


def rows_of_records(
    records: Iterable[RecordLike],
    partitions: int,
    settings: Settings,
    wanted: Callable[[str, str], bool],
    refused: frozenset[Place] = frozenset(),
    now_ms: int = _NEVER_MS,
) -> EventRows:
    """The rows of records of the input topics.

    Args:
        records: in log order within each partition.
        partitions: of the topics.
        settings: the worker's.
        wanted: of entity type and key, whether its rows are kept.
        refused: places of records that became dead letters.
        now_ms: what lies further ahead than worker.max_future_skew_ms is left out.
    """
    buckets = settings.store.buckets
    ownership = Ownership(buckets, settings.worker.duplicate_horizon)
    for topic in EVENTS:
        for p in range(partitions):
            ownership.take((topic, p), 0, [Fence(None, 1)] * buckets)
    decoder, metrics, ids = (
        Decoder(settings.worker.max_future_skew_ms, settings.worker.max_record_bytes),
        Metrics(),
        IdCache(),
    )
    found, collected = EventRows(), defaultdict[str, _Collected](_Collected)
    source = iter(records)
    while chunk := list(islice(source, _CHUNK)):
        good = [r for r in chunk if not refused or (r.topic(), r.partition(), r.offset()) not in refused]
        batch = drop_duplicates(decoder.decode(good, now_ms), ownership, metrics)
        found.events += sum(len(d.events) for d in batch.topics.values())
        for topic, decoded in _with_demand(batch):
            for feed in feeds_of(decoded, ids):
                _collect(topic, feed, wanted, collected, found)
    found.streams = {stream: part.rows() for stream, part in collected.items()}
    return found


def _with_demand(batch: DecodedBatch) -> Iterator[tuple[str, Decoded]]:
    for topic, decoded in batch.topics.items():
        yield topic, decoded
        if topic == ORDERS.name:
            lines = list(demand_of(decoded))
            # Demand has no place of its own here: its source position is what counts.
            yield DEMAND.name, Decoded(DEMAND.name, [e for *_, e in lines], [0] * len(lines), [0] * len(lines))


def _collect_also(rows: Rows, feed: Feed, wanted: Callable[[str, str], bool], into: dict[str, _Collected]) -> None:
    """What the records say of other entities, whose keys are those of shards."""
    names = [key.rpartition("#")[0] for key in rows.entities]
    keep = np.flatnonzero([wanted(STREAMS[rows.stream][0], name) for name in names])
    if len(keep):
        into[rows.stream].add(replace(feed, rows=Rows(rows.stream, names, rows.columns)), keep)


def _collect(
    topic: str, feed: Feed, wanted: Callable[[str, str], bool], into: dict[str, _Collected], found: EventRows
) -> None:
    entity = "item" if topic in (DEMAND.name, INVENTORY.name) else "customer"
    names: Sequence[str] = feed.rows.entities
    keep = np.flatnonzero([wanted(entity, key) for key in names])
    into[feed.rows.stream].add(feed, keep)
    for part in feed.also:
        _collect_also(part.rows, feed, wanted, into)
    demand = topic == DEMAND.name
    partitions: list[int] = (feed.source_partition if demand else feed.partition).tolist()
    positions: list[int] = (feed.source_position if demand else feed.offset).tolist()
    for key, partition, position in zip(names, partitions, positions, strict=True):
        found.last.setdefault((topic, key), {})[partition] = position
