"""Provenance: the headers of a published record: an idempotency key, what it was made from, event time, trace context.

tidecast-id             equal for copies of one record: consumers that must not act twice drop what they have seen
tidecast-source         topic:partition:first-last of the input records behind it, comma-separated
tidecast-event-time-ms  event time as of which it is
traceparent, tracestate of the newest of these input records (W3C Trace Context), as they came
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from stream.events import SourceOffset

Headers = Sequence[tuple[str, bytes]]
#: Trace headers by (topic, partition, offset); only of records that have some.
Traces = Mapping[tuple[str, int, int], Headers]

ID, SOURCE, EVENT_TIME = "tidecast-id", "tidecast-source", "tidecast-event-time-ms"
TRACE = frozenset({"traceparent", "tracestate"})


class Touch(NamedTuple):
    """The records of one topic that touched an entity in a micro-batch: the newest, and the first one's offset."""

    newest: SourceOffset
    first: int


def trace_of(headers: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The trace context among a record's headers."""
    return [(name, value) for name, value in headers if name in TRACE]


def headers_of(what: str, key: str, touches: Sequence[Touch], event_time_ms: int, traces: Traces) -> Headers:
    """The headers of a record.

    Args:
        what: the model or topic.
        key: the entity.
        touches: by topic, the newest last.

    >>> touch = Touch(SourceOffset("orders", 0, 7), 5)
    >>> headers_of("reorder", "42", [touch], 1_000, {})[:2]
    [('tidecast-id', b'reorder:42:orders:0:7'), ('tidecast-source', b'orders:0:5-7')]
    """
    ranges, newest = [], []
    for (topic, partition, last), first in ((_plain(t.newest), t.first) for t in touches):
        ranges.append(f"{topic}:{partition}:{first}-{last}")
        newest.append(f"{topic}:{partition}:{last}")
    out = [
        (ID, f"{what}:{key}:{','.join(newest)}".encode()),
        (SOURCE, ",".join(ranges).encode()),
        (EVENT_TIME, b"%d" % event_time_ms),
    ]
    if traces:
        out += next((traces[at] for at in (_plain(t.newest) for t in reversed(touches)) if at in traces), ())
    return out


def _plain(source: SourceOffset) -> tuple[str, int, int]:
    return source.topic, source.partition, source.offset
