"""Source: records from Kafka in micro-batches; and readers for topics that are read whole.

`Source` begins every assigned partition at min(K, R).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from stream.decode import RecordLike
from stream.errors import UsageError
from stream.settings import KafkaSettings

log = logging.getLogger(__name__)

Partition = tuple[str, int]

#: What Apache Kafka answers of a topic that was made a moment ago.
_SETTLING = (
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
)
_SETTLE_S = 15.0
#: What does not pass by itself.
_REFUSED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
)


def _told(error: Any) -> None:
    """Passing troubles of single connections are for --verbose; no broker at all, or refused credentials, are not."""
    grave = (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL)
    log.log(logging.WARNING if error.code() in grave or error.fatal() else logging.INFO, "broker: %s", error.str())


def client_config(kafka: KafkaSettings) -> dict[str, Any]:
    """librdkafka properties that every client of ours has."""
    return {
        "bootstrap.servers": kafka.bootstrap_servers,
        "log_level": 2,
        "error_cb": _told,
        **kafka.extra,
    }


def _good(messages: Sequence[Any]) -> list[Any]:
    """Messages that are records; an error that does not pass by itself is raised."""
    good = []
    for message in messages:
        error = message.error()
        if error is None:
            good.append(message)
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise UsageError(f"a topic is gone: {error.str()}; make it again with `tidecast topics create`")
        elif error.fatal() or error.code() in _REFUSED:
            raise SourceFailed(error.str())
        else:
            log.warning("broker: %s", error.str())
    return good


class SourceFailed(Exception):
    """The broker will not serve this client any more, or did not tell what it was asked; start the worker again."""


class CommitRefused(Exception):
    """The broker did not take the offsets; the generation may be over. What was published may be published again."""


class Source:
    """The group consumer.

    Args:
        kafka: the broker and the group.
        topics: what to subscribe to.
        on_assigned: given partitions with their committed offsets (None: none yet), gives where to begin each.
        on_revoked: finishes the open micro-batch and commits; called with the partitions while they are still owned.
        on_lost: forgets partitions that another worker may already have.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: Sequence[str],
        on_assigned: Callable[[dict[Partition, int | None]], dict[Partition, int]],
        on_revoked: Callable[[list[Partition]], None],
        on_lost: Callable[[list[Partition]], None],
    ) -> None:
        config = {
            **client_config(kafka),
            "group.id": kafka.group_id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            # Also of committed offsets: those of a transaction that has not ended are waited for.
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "range",
            "session.timeout.ms": kafka.session_timeout_ms,
            "heartbeat.interval.ms": max(100, min(3_000, kafka.session_timeout_ms // 6)),
            "fetch.wait.max.ms": kafka.fetch_wait_max_ms,
            "queued.max.messages.kbytes": 65_536,
        }
        if kafka.group_instance_id:
            config["group.instance.id"] = kafka.group_instance_id
        self._consumer = Consumer(config)
        self._handlers = (on_assigned, on_revoked, on_lost)
        self._failure: BaseException | None = None
        self._in_callback = False
        self._held: list[Any] = []
        self._metadata: Any = None
        self._consumer.subscribe(
            list(topics),
            on_assign=self._guarded(self._assigned),
            on_revoke=self._guarded(self._revoked),
            on_lost=self._guarded(self._lost),
        )

    def _guarded(self, handler: Callable[[Any], None]) -> Callable[[Any, Any], None]:
        """The binding swallows what callbacks raise; keep it for the next poll."""

        def call(_consumer: Any, partitions: Any) -> None:
            self._in_callback = True
            try:
                handler(partitions)
            except BaseException as error:  # noqa: BLE001
                self._failure = error
            finally:
                self._in_callback = False

        return call

    def _assigned(self, partitions: list[Any]) -> None:
        known = self.committed([(p.topic, p.partition) for p in partitions]) if partitions else {}
        begin = self._handlers[0](known)
        self._consumer.assign([TopicPartition(t, p, offset) for (t, p), offset in begin.items()])

    def _revoked(self, partitions: list[Any]) -> None:
        self._held.clear()
        self._handlers[1]([(p.topic, p.partition) for p in partitions])
        self._consumer.unassign()

    def _lost(self, partitions: list[Any]) -> None:
        self._held.clear()
        self._handlers[2]([(p.topic, p.partition) for p in partitions])
        self._consumer.unassign()

    def poll(self, max_records: int, max_wait_s: float) -> list[RecordLike]:
        """Records of the next micro-batch, fewer than `max_records` after `max_wait_s`, maybe none.

        Raises:
            UsageError: a topic that was there at start is gone.
            SourceFailed: a fatal error of the client, such as two workers of one kafka.group_instance_id.
        """
        messages = self._consumer.consume(max_records, max_wait_s)
        self._metadata = self._consumer.consumer_group_metadata()
        if self._held:
            messages, self._held = [*self._held, *messages], []
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return _good(messages)

    @property
    def group_metadata(self) -> Any:
        """The membership in which the last records were polled, for `TransactionalSink.commit`."""
        return self._metadata

    def seek(self, begin: dict[Partition, int]) -> None:
        """Goes back to given offsets."""
        self._held.clear()
        for (topic, partition), offset in begin.items():
            self._consumer.seek(TopicPartition(topic, partition, offset))

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """K of each partition; None where nothing has been committed.

        Raises:
            SourceFailed: the broker did not tell: not to be taken for "nothing committed".
        """
        asked = [TopicPartition(t, p) for t, p in partitions]
        try:
            found = self._consumer.committed(asked, timeout=30)
        except KafkaException as error:
            raise SourceFailed(f"the committed offsets are not known: {error}") from error
        for p in found:
            if p.error is not None:
                raise SourceFailed(f"the committed offset of {p.topic}[{p.partition}] is not known: {p.error.str()}")
        return {(p.topic, p.partition): p.offset if p.offset >= 0 else None for p in found}

    def commit(self, offsets: dict[Partition, int]) -> None:
        """Commits offsets and waits for the broker's word.

        Raises:
            CommitRefused: the broker did not take them.
        """
        parts = [TopicPartition(t, p, offset) for (t, p), offset in offsets.items()]
        try:
            done = self._consumer.commit(offsets=parts, asynchronous=False)
        except KafkaException as error:
            raise CommitRefused(str(error)) from error
        refused = [p for p in done if p.error is not None]
        if refused:
            raise CommitRefused(str(refused[0].error))

    def pause_while(self, busy: Callable[[], bool]) -> None:
        """Holds back all partitions while `busy()` is true, staying a member of the group."""
        self._consumer.pause(self._consumer.assignment())
        while busy():
            if self._in_callback:
                continue  # the client must not be polled from within itself
            message = self._consumer.poll(0.1)
            if message is not None:
                # Of a partition that was assigned meanwhile: kept for the next poll, and held back from now on.
                self._held.append(message)
                self._consumer.pause(self._consumer.assignment())
        self._consumer.resume(self._consumer.assignment())

    def close(self) -> None:
        """Leaves the group."""
        self._consumer.close()


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
        metadata = self._consumer.list_topics(timeout=15)
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
                    raise
                time.sleep(0.05)

    def poll(self, max_records: int = 10_000, max_wait_s: float = 0.0) -> list[Any]:
        """The next records.

        Raises:
            UsageError: a topic is gone.
            SourceFailed: an error that does not pass by itself.
        """
        records = []
        for message in self._consumer.consume(max_records, max_wait_s):
            if message.error() is not None and message.error().code() == KafkaError._PARTITION_EOF:
                self._reached[message.topic(), message.partition()] = message.offset()
            else:
                records.append(message)
        messages = _good(records)
        for message in messages:
            self.positions[message.topic(), message.partition()] = message.offset() + 1
        return messages

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
