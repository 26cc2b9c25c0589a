"""Sink: records to Kafka, idempotent, in order, with bounded memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException, Producer

from stream.settings import KafkaSettings
from stream.source import client_config

Headers = Sequence[tuple[str, bytes]]

#: The largest record we publish: a dead letter has all bytes of what was read.
MAX_RECORD_BYTES = 16_000_000


class SinkFailed(Exception):
    """A record was not acknowledged; what was not committed will be published again after a restart."""


class Sink:
    """The producer.

    Args:
        kafka: the broker.
        linger_ms: how long records wait for company.
    """

    def __init__(self, kafka: KafkaSettings, linger_ms: int = 5) -> None:
        self._producer = Producer(
            {
                **client_config(kafka),
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": linger_ms,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 131_072,
                "message.max.bytes": MAX_RECORD_BYTES,
            }
        )
        self._failed: str | None = None

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed = f"{message.topic()}[{message.partition()}]: {error.str()}"

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
    ) -> None:
        """Queues a record; a full queue waits for the broker, so memory stays bounded.

        Raises:
            SinkFailed: an earlier record was not acknowledged.
        """
        while True:
            try:
                self._producer.produce(topic, value, key, headers=list(headers), on_delivery=self._delivered)
                return
            except BufferError:
                self._producer.poll(0.05)
                self._check()
            except KafkaException as error:
                raise SinkFailed(str(error)) from error

    def poll(self) -> None:
        """Takes in acknowledgements."""
        self._producer.poll(0)
        self._check()

    def flush(self, timeout_s: float = 60.0) -> None:
        """Waits until every record is acknowledged.

        Raises:
            SinkFailed: one was refused, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        left = self._producer.flush(timeout_s)
        self._check()
        if left:
            waited = time.monotonic() - deadline + timeout_s
            raise SinkFailed(f"{left} records were not acknowledged within {waited:.0f} s")

    def _check(self) -> None:
        if self._failed is not None:
            raise SinkFailed(self._failed)
