"""Outcome: what a run has left behind, read from outside: topics as read-committed readers see them, and the store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from features.discovery import discover
from features.store.redis import RedisStore
from stream.score import SCORERS
from stream.settings import KafkaSettings
from stream.topology import CONSUMED, PUBLISHED, partitions_of
from tests.faults.cluster import PARTITIONS

_READ_S = 30.0


@dataclass(frozen=True)
class Seen:
    """A record as a reader sees it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a run has left behind.

    Args:
        records: by topic, in the order of each partition.
        features: records in the store by view and entity.
        latest: the newest scores in the store, by model and entity.
        alerts: alert states in the store by item.
    """

    records: Mapping[str, Sequence[Seen]]
    features: dict[str, dict[str, bytes]]
    latest: Mapping[str, Mapping[str, bytes]]
    alerts: Mapping[str, bytes]


def read_outcome(kafka: KafkaSettings, store: RedisStore) -> Outcome:
    """Reads it all.

    Raises:
        TimeoutError: the broker does not give the records.
    """
    return Outcome(
        records=_read_topics(kafka),
        features={view: store.scan("f", view) for view in discover()},
        latest={model: store.scan("s", model) for model in SCORERS},
        alerts=store.scan("a", "supply"),
    )


def _read_topics(kafka: KafkaSettings) -> dict[str, list[Seen]]:
    topics = (*CONSUMED, *PUBLISHED)
    left = {(t.name, p) for t in topics for p in range(partitions_of(t, PARTITIONS))}
    consumer: Any = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "tidecast-faults",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "log_level": 2,
        }
    )
    found: dict[str, list[Seen]] = {t.name: [] for t in topics}
    deadline = time.monotonic() + _READ_S
    try:
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for topic, p in left])
        while left:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the broker does not give the end of {sorted(left)}")
            for message in consumer.consume(10_000, 0.05):
                error = message.error()
                if error is None:
                    found[message.topic()].append(_seen(message))
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard((message.topic(), message.partition()))
    finally:
        consumer.close()
    return found


def _seen(message: Any) -> Seen:
    headers = {name: value or b"" for name, value in message.headers() or ()}
    return Seen(message.topic(), message.partition(), message.offset(), message.key(), message.value(), headers)
