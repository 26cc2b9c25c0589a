"""Traffic: a stream produced at its pace while faults happen, and what the broker acknowledged of it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException, Producer

from stream.settings import KafkaSettings
from stream.sink import MAX_RECORD_BYTES
from tests.faults.poison import Wire

Partition = tuple[str, int]


class Traffic:
    """Produces records in their order, so many seconds long; call `turn` often.

    Args:
        kafka: the broker.
        events: what is to be produced.
        seconds: how long that takes at an even pace.

    `acknowledged` has, by partition, every record that the broker has taken: (offset, key, value).
    """

    def __init__(self, kafka: KafkaSettings, events: Sequence[Wire], seconds: float) -> None:
        self._producer: Any = Producer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 2,
                "message.max.bytes": MAX_RECORD_BYTES,
                "log_level": 2,
                "topic.metadata.refresh.interval.ms": 1_000,
            }
        )
        self._events, self._seconds = events, seconds
        self._next = 0
        self._begun: float | None = None
        self._open = 0
        self.acknowledged: dict[Partition, list[tuple[int, bytes | None, bytes | None]]] = defaultdict(list)
        self.refused: list[str] = []
        #: Topics that nothing is produced to for now; their records wait.
        self.held: dict[str, list[Wire]] = {}

    @property
    def share(self) -> float:
        """How much of it has been produced, 0 to 1."""
        return self._next / len(self._events)

    @property
    def done(self) -> bool:
        """Whether all of it has been produced and acknowledged."""
        return self._next == len(self._events) and self._open == 0 and not self.held

    def begin(self) -> None:
        """The clock starts to run."""
        self._begun = time.monotonic()

    def turn(self) -> None:
        """Produces what is due."""
        if self._begun is not None and self._next < len(self._events):
            due = int(len(self._events) * (time.monotonic() - self._begun) / self._seconds)
            for record in self._events[self._next : due]:
                self.send(record)
            self._next = max(self._next, min(due, len(self._events)))
        self._producer.poll(0)

    def send(self, record: Wire) -> None:
        """Produces one record, now."""
        if record.topic in self.held:
            self.held[record.topic].append(record)
            return
        self._open += 1
        while True:
            try:
                self._producer.produce(record.topic, record.value, record.key, on_delivery=self._delivered)
                return
            except BufferError:
                self._producer.poll(0.05)

    def release(self, topic: str) -> None:
        """Produces what was held back."""
        for record in self.held.pop(topic):
            self.send(record)

    def _delivered(self, error: Any, message: Any) -> None:
        self._open -= 1
        if error is not None:
            self.refused.append(f"{message.topic()}[{message.partition()}]: {error.str()}")
        else:
            taken = self.acknowledged[message.topic(), message.partition()]
            # A broker that has it already, its first answer being lost, does not say where: nobody else writes there.
            offset = message.offset() if message.offset() is not None else taken[-1][0] + 1 if taken else 0
            taken.append((offset, message.key(), message.value()))

    def ends(self) -> dict[Partition, int]:
        """The offset after the last acknowledged record of each partition."""
        return {p: max(offset for offset, *_ in taken) + 1 for p, taken in self.acknowledged.items()}


def produce_all(kafka: KafkaSettings, records: Sequence[Wire], timeout_s: float = 30.0) -> None:
    """Produces records and waits for the acknowledgements."""
    traffic = Traffic(kafka, records, 0.001)
    for record in records:
        traffic.send(record)
    left = traffic._producer.flush(timeout_s)
    if left or traffic.refused:
        raise KafkaException(f"{left} records not acknowledged, {len(traffic.refused)} refused: {traffic.refused[:3]}")
