"""Reference feed: catalog and offers into every worker's memory; what cannot be taken in becomes a dead letter once.

Every worker reads these topics whole and finds the same bad records. Their letters are published by the worker that has
`orders[0]`, in its transaction, with an offset of the reference topic committed for the group: a letter whose offset is
before it has been published, whoever published it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from stream.decode import DeadLetter, RecordLike, reason_of
from stream.metrics import Metrics
from stream.ownership import Partition
from stream.reader import TopicReader
from stream.reference import Reference
from stream.settings import KafkaSettings
from stream.topology import ORDERS, REFERENCE

log = logging.getLogger(__name__)

#: Who has it publishes the letters.
PUBLISHER: Partition = (ORDERS.name, 0)

Committed = Callable[[Sequence[Partition]], Mapping[Partition, int | None]]
#: Publishes letters with the offsets after them; tells whether it is done for good.
Publish = Callable[[Sequence[DeadLetter]], bool]


class ReferenceFeed:
    """Reads the reference topics.

    Args:
        kafka: the broker.
        reference: where products and offers are kept.
        metrics: counts bad records.

    Raises:
        UsageError: a topic is missing.
    """

    def __init__(self, kafka: KafkaSettings, reference: Reference, metrics: Metrics) -> None:
        self._reader = TopicReader(kafka, [t.name for t in REFERENCE])
        self._reference, self._metrics = reference, metrics
        self._bad: list[DeadLetter] = []

    def read_all(self) -> None:
        """Takes in what is there."""
        for record in self._reader.read_to_end():
            self._apply(record)

    def read(self) -> None:
        """Takes in what has come."""
        for record in self._reader.poll():
            self._apply(record)

    def _apply(self, record: RecordLike) -> None:
        try:
            self._reference.apply(record)
        except (ValueError, RecursionError) as error:
            topic, partition, offset = record.topic(), record.partition(), record.offset()
            stage, reason = reason_of(error)
            self._metrics.dead.labels(topic, stage).inc()
            headers = record.headers() or ()
            self._bad.append(DeadLetter(topic, partition, offset, record.key(), record.value(), stage, reason, headers))

    def publish(self, committed: Committed, publish: Publish) -> None:
        """Publishes the letters that nobody has published; only the owner of `PUBLISHER` may."""
        if not self._bad:
            return
        known = committed(list({(letter.topic, letter.partition) for letter in self._bad}))
        waiting = [letter for letter in self._bad if letter.offset >= (known[letter.topic, letter.partition] or 0)]
        log.info(
            "%d of %d dead letters of reference topics are to be published: K=%s", len(waiting), len(self._bad), known
        )
        if not waiting or publish(waiting):
            self._bad.clear()

    def close(self) -> None:
        """Lets go of the connection."""
        self._reader.close()
