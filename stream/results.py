"""Results: what a micro-batch publishes and keeps. A score that does both is encoded once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from features.store import Entry
from stream.alerts import AlertState
from stream.provenance import Headers

encode = msgspec.json.Encoder().encode


class Output(NamedTuple):
    """A record to publish: as it is, and as it goes on the wire."""

    topic: str
    key: str
    record: Any
    value: bytes
    headers: Headers = ()


class Latest(NamedTuple):
    """The newest score of an entity, for the store."""

    model: str
    key: str
    value: bytes


@dataclass(slots=True)
class Results:
    """What a micro-batch publishes and keeps.

    Args:
        published: in order: what unpublished records (at or past K) touched.
        latest: the newest score of each entity, for the widgets.
        alerts: item to its changed alert state.
        entries: where entities stand by the age of their scores.
    """

    published: list[Output] = field(default_factory=list)
    latest: list[Latest] = field(default_factory=list)
    alerts: dict[str, AlertState] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def keep(self, model: str, key: str, record: Any) -> bytes:
        """Notes a score for the store; returns it as it goes on the wire."""
        value = encode(record)
        self.latest.append(Latest(model, key, value))
        return value

    def publish(self, topic: str, key: str, record: Any, headers: Headers, value: bytes | None = None) -> None:
        """Notes a record for a topic; `value` where it is encoded already."""
        self.published.append(Output(topic, key, record, encode(record) if value is None else value, headers))
