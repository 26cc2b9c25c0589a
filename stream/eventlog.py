"""The event log: a directory with one parquet (or JSONL) file a topic, in arrival order.

Columns are the fields of the topic's records. A topic with several record types has all their fields beside the
`type` column, null where a type lacks the field. Replay, history, training and benchmarks all read this one form.

Costs per record, measured on one shared core: writing 2 µs (an order of 23 lines: 25 µs), reading to JSON 3 µs
(such an order: 35 µs).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from stream.errors import UsageError
from stream.events import ClickEvent, InventoryEvent, Offer, OrderEvent, Product
from stream.logschema import arrow_schema_of, from_arrow, to_arrow

#: Topics of an event log with the type of their records. Reference topics come first: they are read before events.
TOPIC_TYPES: dict[str, Any] = {
    "catalog": Product,
    "offers": Offer,
    "orders": OrderEvent,
    "clicks": ClickEvent,
    "inventory": InventoryEvent,
}
#: Topics whose records have no event time.
REFERENCE_TOPICS = ("catalog", "offers")

#: Told about long work: the name of the step under way and the share of the work done, 0 to 1.
Progress = Callable[[str, float], None]

#: Rows held in memory at once, and rows of a parquet row group. Orders are larger: some have 500 lines and more.
CHUNK_ROWS = 4_096

_KEYS: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "catalog": lambda row: row["sku"],
    "offers": lambda row: row["offer_id"],
    # A guest is no customer; the order's own id spreads guests evenly, and always to the same partition.
    "orders": lambda row: row.get("customer_id") or row["order_id"],
    "clicks": lambda row: row["customer_id"],
    "inventory": lambda row: f"{row['location']}:{row['sku']}",
}


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as it goes on the wire (a struct, not a dataclass: made in 0.08 µs, not 0.95 µs).

    Args:
        topic: the topic it belongs to.
        key: the record key; orders of guests have their order_id.
        value: the record as JSON.
        event_time_ms: event time; 0 for reference records (`catalog`, `offers`), which have none.
    """

    topic: str
    key: bytes | None
    value: bytes
    event_time_ms: int


def arrow_schema(topic: str) -> Any:
    """The parquet schema of a topic, derived from its record types.

    Args:
        topic: a key of `TOPIC_TYPES`.

    Returns:
        A `pyarrow.Schema`.

    >>> arrow_schema("catalog").names
    ['type', 'sku', 'name', 'unit_price', 'category', 'lead_time_days', 'simulated']
    """
    if topic not in TOPIC_TYPES:
        raise UsageError(f"an event log has no topic {topic!r}; topics are {', '.join(TOPIC_TYPES)}")
    return arrow_schema_of(TOPIC_TYPES[topic])


def write_topic(directory: Path, topic: str, records: Iterable[msgspec.Struct]) -> int:
    """Writes a topic's file, in chunks; a file appears only when it is complete.

    Args:
        directory: the event log; made if it does not exist.
        topic: a key of `TOPIC_TYPES`.
        records: the topic's records in arrival order.

    Returns:
        The number of records written.
    """
    schema = arrow_schema(topic)
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"{topic}.parquet"
    partial = target.with_suffix(".parquet.partial")
    source = iter(records)
    count = 0
    with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        while chunk := list(islice(source, CHUNK_ROWS)):
            writer.write_batch(to_arrow(chunk, schema), row_group_size=CHUNK_ROWS)
            count += len(chunk)
    partial.replace(target)
    return count


def topics_in(directory: Path) -> list[str]:
    """The topics that an event log has, reference topics first."""
    return [topic for topic in TOPIC_TYPES if any(path.exists() for path in _candidates(directory, topic))]


def count_records(directory: Path, topic: str) -> int:
    """The number of records of a topic, from the parquet footer (JSONL: by counting lines that are not blank)."""
    path = topic_path(directory, topic)
    if path.suffix == ".parquet":
        return int(pq.read_metadata(path).num_rows)
    with path.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def topic_path(directory: Path, topic: str) -> Path:
    """The file of a topic.

    Raises:
        UsageError: there is none, or there are two.
    """
    if topic not in TOPIC_TYPES:
        raise UsageError(f"an event log has no topic {topic!r}; topics are {', '.join(TOPIC_TYPES)}")
    found = [path for path in _candidates(directory, topic) if path.exists()]
    if not found:
        has = ", ".join(topics_in(directory)) or "no topic at all"
        raise UsageError(
            f"{directory}: topic {topic!r} has no file (looked for {topic}.parquet and {topic}.jsonl); the "
            f"directory has {has}. Make an event log with `tidecast import`"
        )
    if len(found) > 1:
        raise UsageError(f"{directory}: both {topic}.parquet and {topic}.jsonl are there; remove one of them")
    return found[0]


def read_records(
    directory: Path, topics: Sequence[str] | None = None, *, chunk_rows: int = CHUNK_ROWS
) -> Iterator[LogRecord]:
    """Reads topics as one stream: reference topics first, then events merged by event time.

    Within a topic the order of the file is kept: a record that is late (older than one before it) comes where it
    arrived. At equal event times orders come before clicks, and clicks before inventory. Memory is bounded by
    `chunk_rows` rows a topic.

    Args:
        directory: the event log.
        topics: which topics; all that the log has by default.
        chunk_rows: rows read at once.

    Returns:
        An iterator; files are checked to exist before the first record.

    Raises:
        UsageError: a topic has no file, or a file does not hold the topic's records.
    """
    wanted = topics_in(directory) if topics is None else list(topics)
    paths = {topic: topic_path(directory, topic) for topic in wanted}
    return _merged({topic: paths[topic] for topic in TOPIC_TYPES if topic in paths}, chunk_rows)


def _merged(paths: dict[str, Path], chunk_rows: int) -> Iterator[LogRecord]:
    for topic in REFERENCE_TOPICS:
        if topic in paths:
            yield from _read(topic, paths[topic], chunk_rows)
    events = [topic for topic in paths if topic not in REFERENCE_TOPICS]
    streams = [_arrivals(rank, topic, paths[topic], chunk_rows) for rank, topic in enumerate(events)]
    for _, _, record in heapq.merge(*streams):
        yield record


def _arrivals(rank: int, topic: str, path: Path, chunk_rows: int) -> Iterator[tuple[int, int, LogRecord]]:
    # A late record follows the one before it at once: its time is the smallest of all streams' next ones.
    # (time, rank) never ties between two streams, so that records themselves are not compared.
    for record in _read(topic, path, chunk_rows):
        yield record.event_time_ms, rank, record


def _read(topic: str, path: Path, chunk_rows: int) -> Iterator[LogRecord]:
    rows = _parquet_rows(topic, path, chunk_rows) if path.suffix == ".parquet" else _json_rows(path)
    key_of = _KEYS[topic]
    timed = topic not in REFERENCE_TOPICS
    for number, (row, value) in enumerate(rows, start=1):
        try:
            key = key_of(row)
            event_time_ms = row["event_time_ms"] if timed else 0
        except (KeyError, AttributeError, TypeError) as problem:
            raise UsageError(f"{path}: record {number} is none of topic {topic!r}: {problem!r}") from problem
        yield LogRecord(topic, None if key is None else key.encode(), value, event_time_ms)


def _parquet_rows(topic: str, path: Path, chunk_rows: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as problem:
        raise UsageError(f"{path} is no parquet file: {problem}; make the event log anew") from problem
    with file:
        known = set(arrow_schema(topic).names)
        columns = [name for name in file.schema_arrow.names if name in known]
        for batch in file.iter_batches(batch_size=chunk_rows, columns=columns):
            for row in from_arrow(batch):
                yield row, orjson.dumps(row)


def _json_rows(path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not (text := line.strip()):
                continue
            try:
                row = orjson.loads(text)
            except orjson.JSONDecodeError as problem:
                raise UsageError(f"{path}: line {number} is no JSON: {problem}") from problem
            yield row, text


def _candidates(directory: Path, topic: str) -> tuple[Path, Path]:
    return directory / f"{topic}.parquet", directory / f"{topic}.jsonl"
