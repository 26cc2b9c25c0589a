"""Reader: topics that are read from their beginning without a group: reference data, tools, observers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from stream.errors import UsageError
from stream.kafkaclient import SourceFailed, client_config, judge
from stream.settings import KafkaSettings
from stream.source import Partition

#: What passes: what Apache Kafka answers of a topic that was made a moment ago.
_SETTLING = (
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    # And of one whose leader has just moved, or left.
    KafkaError._DESTROY_BROKER,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
)
_SETTLE_S = 15.0


class TopicReader:
    """Reads topics from their beginning without a group: reference data, tools, observers.

    Args:
        kafka: the broker.
        topics: what to read; they must exist.
        from_end: begin at what comes after now.

    `positions` are the offsets after the last record read, by (topic, partition).
    """

    def __init__(self, kafka: KafkaSettings, topics: Sequence[str], from_end: bool = False) -> None:
        self._consumer = Consumer(
            {
                **client_config(kafka),
                "group.id": "tidecast-reader",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": kafka.fetch_wait_max_ms,
                "enable.partition.eof": True,
            }
        )
        self._ends: dict[Partition, int] = {}
        self._reached: dict[Partition, int] = {}
        self.positions: dict[Partition, int] = {}
        try:
            metadata = self._consumer.list_topics(timeout=15)
        except KafkaException as error:
            raise SourceFailed(f"the broker does not tell its topics: {error.args[0].str()}") from error
        begin = []
        for topic in topics:
            if topic not in metadata.topics:
                raise UsageError(f"there is no topic {topic!r}; make the topics with `tidecast topics create`")
            for partition in metadata.topics[topic].partitions:
                at = TopicPartition(topic, partition)
                low, high = self._watermarks(at)
                self._ends[topic, partition] = high
                self.positions[topic, partition] = high if from_end else low
                begin.append(TopicPartition(topic, partition, high if from_end else OFFSET_BEGINNING))
        self._consumer.assign(begin)

    def _watermarks(self, partition: TopicPartition) -> tuple[int, int]:
        """The first offset and the end, waiting for the leader of a partition that was just made."""
        deadline = time.monotonic() + _SETTLE_S
        while True:
            try:
                low, high = self._consumer.get_watermark_offsets(partition, timeout=15)
                return low, high
            except KafkaException as error:
                if error.args[0].code() not in _SETTLING or time.monotonic() > deadline:
                    raise SourceFailed(f"the broker does not tell where topics end: {error.args[0].str()}") from error
                time.sleep(0.05)

    def poll(self, max_records: int = 10_000, max_wait_s: float = 0.0) -> list[Any]:
        """The next records.

        Raises:
            UsageError: a topic is gone.
            SourceFailed: an error that does not pass by itself.
        """
        records = []
        for message in self._consumer.consume(max_records, max_wait_s):
            error = message.error()
            if error is None:
                self.positions[message.topic(), message.partition()] = message.offset() + 1
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._reached[message.topic(), message.partition()] = message.offset()
            else:
                judge(error)
        return records

    def read_to_end(self, timeout_s: float = 60.0) -> Iterator[Any]:
        """All records up to the end as it was when the reader was made, and those that have come meanwhile.

        It goes on until a poll brings nothing: the embedded broker tells an end that lies before its last records.

        Raises:
            UsageError: the broker did not give them in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            records = self.poll(max_wait_s=0.05)
            yield from records
            # The last offsets may be those of transaction markers, which are no records.
            if not records and all(max(self.positions[p], self._reached.get(p, 0)) >= n for p, n in self._ends.items()):
                return
            if time.monotonic() > deadline:
                raise UsageError(f"the broker did not deliver {sorted({t for t, _ in self._ends})} in {timeout_s:g} s")

    def close(self) -> None:
        """Lets go of the connection."""
        self._consumer.close()
