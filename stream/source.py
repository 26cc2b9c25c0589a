"""Source: records from Kafka in micro-batches, every assigned partition from min(K, R) on.

Events in [R, K), which the store has lost, are handed out before any event at or past K of whatever partition: a score
that is published afterwards is of the whole state (docs/protocol.md, "catch up first").
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from stream.chores import Chore
from stream.decode import RecordLike
from stream.errors import UsageError
from stream.kafkaclient import SourceFailed, consumer_config, judge
from stream.settings import KafkaSettings

log = logging.getLogger(__name__)

Partition = tuple[str, int]

_SEEK_S = 15.0
_RESUME_EVERY_S = 1.0


class CommitRefused(Exception):
    """The broker did not take the offsets; the generation may be over. What was published may be published again."""


class Begin(NamedTuple):
    """Where to begin a partition: min(K, R), and K."""

    offset: int
    published_to: int


class Source:
    """The group consumer, by the classic group protocol or by that of Kafka 4 (KIP-848).

    Args:
        kafka: the broker and the group.
        topics: what to subscribe to.
        on_assigned: given partitions, gives where to begin each.
        on_revoked: finishes or abandons the open micro-batch; called with the partitions while they are still owned.
        on_lost: forgets partitions that another worker may already have.

    Classic, all partitions are revoked at every rebalance; by KIP-848 only those that go to another worker.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: Sequence[str],
        on_assigned: Callable[[list[Partition]], dict[Partition, Begin]],
        on_revoked: Callable[[list[Partition]], None],
        on_lost: Callable[[list[Partition]], None],
    ) -> None:
        self._incremental = kafka.group_protocol == "consumer"
        self._consumer = Consumer(consumer_config(kafka))
        self._assign = self._consumer.incremental_assign if self._incremental else self._consumer.assign
        self._handlers = (on_assigned, on_revoked, on_lost)
        self._failure: BaseException | None = None
        self._in_callback = self._closing = False
        #: Records that were polled and not handed out: they come first when their time has come.
        self._held: list[Any] = []
        #: What came while all was paused, errors among it.
        self._parked: list[Any] = []
        #: K of the partitions that have not come there yet; while there are any, the others wait.
        self._behind: dict[Partition, int] = {}
        self._metadata: Any = None
        # The client remembers that a partition was paused when we had it before, and may lose a request to resume it
        # (librdkafka#5591): it is asked again and again, which costs nothing where it knows.
        self._resuming = Chore(_RESUME_EVERY_S, self._go_on)
        self._consumer.subscribe(
            list(topics),
            on_assign=self._guarded(self._assigned),
            on_revoke=self._guarded(lambda parts: self._taken(parts, self._handlers[1])),
            on_lost=self._guarded(lambda parts: self._taken(parts, self._handlers[2])),
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
        begin = self._handlers[0]([(p.topic, p.partition) for p in partitions])
        self._assign([TopicPartition(t, p, b.offset) for (t, p), b in begin.items()])
        self._go_on()
        self._catch_up(begin)

    def _taken(self, partitions: list[Any], handler: Callable[[list[Partition]], None]) -> None:
        gone = [(p.topic, p.partition) for p in partitions]
        self._held, self._parked = (
            [m for m in kept if (m.topic(), m.partition()) not in gone] for kept in (self._held, self._parked)
        )
        for partition in gone:
            self._behind.pop(partition, None)
        handler(gone)
        if self._incremental:
            self._consumer.incremental_unassign(partitions)
        else:
            self._consumer.unassign()
        if not self._closing:
            self._go_on()

    def poll(self, max_records: int, max_wait_s: float) -> list[RecordLike]:
        """Records of the next micro-batch, fewer than `max_records` after `max_wait_s`, maybe none.

        Raises:
            UsageError: a topic that was there at start is gone, or is another one than it was.
            SourceFailed: a fatal error of the client, such as two workers of one kafka.group_instance_id.
        """
        polled = self._consumer.consume(max_records, max_wait_s)
        self._resuming.turn()
        if self._parked:
            polled, self._parked = [*self._parked, *polled], []
        self._metadata = self._consumer.consumer_group_metadata()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        records, ended = self._records(polled)
        if self._behind:
            records = self._first_those_behind(records)
            # Only now: what was polled before the end comes in a micro-batch before all that has waited for it.
            for partition in ended:
                self._caught_up(partition)
        elif self._held:
            records, self._held = [*self._held, *records], []
        return records

    def _records(self, polled: Sequence[Any]) -> tuple[list[Any], list[Partition]]:
        """The records, and the partitions that have been read to their ends."""
        records, ended = [], []
        for message in polled:
            error = message.error()
            if error is None:
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.append((message.topic(), message.partition()))
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                self._out_of_range(TopicPartition(message.topic(), message.partition()))
            else:
                judge(error)
        return records, ended

    def _first_those_behind(self, records: Iterable[Any]) -> list[Any]:
        first = []
        for record in records:
            partition = (record.topic(), record.partition())
            until = self._behind.get(partition)
            if until is not None and record.offset() < until:
                first.append(record)
            else:
                self._held.append(record)
            if until is not None and record.offset() >= until - 1:
                self._caught_up(partition)
        return first

    def _catch_up(self, begin: dict[Partition, Begin]) -> None:
        """Holds back all others while there are partitions that begin before their K."""
        self._behind |= {p: b.published_to for p, b in begin.items() if b.offset < b.published_to}
        if self._behind:
            log.info("catching up with what the store has lost: %s", self._behind)
            self._consumer.pause(self._waiting())

    def _caught_up(self, partition: Partition) -> None:
        if self._behind.pop(partition, None) is not None:
            self._consumer.pause(self._waiting())
            self._go_on()

    def _waiting(self) -> list[Any]:
        return [p for p in self._consumer.assignment() if (p.topic, p.partition) not in self._behind]

    def _go_on(self) -> None:
        """Resumes what nothing holds back."""
        held = set() if not self._behind else {(p.topic, p.partition) for p in self._waiting()}
        self._consumer.resume([p for p in self._consumer.assignment() if (p.topic, p.partition) not in held])

    def _out_of_range(self, partition: Any) -> None:
        """The broker does not have the offset to go on at: retention has taken it, or the topic is another one."""
        (at,) = self._consumer.position([partition])
        try:
            low, high = self._consumer.get_watermark_offsets(partition, timeout=15)
        except KafkaException as error:
            judge(error.args[0])
            return
        name = f"{partition.topic}[{partition.partition}]"
        if at.offset > high:
            raise UsageError(
                f"{name} ends at {high}, but Tidecast has come to {at.offset}: the topic was made anew, or has lost "
                "records; see docs/operations.md, 'A topic that was made anew'"
            )
        log.warning("%s begins at %d now: retention has taken what was before it", name, low)
        self._consumer.seek(TopicPartition(partition.topic, partition.partition, low))

    @property
    def group_metadata(self) -> Any:
        """The membership in which the last records were polled, for `TransactionalSink.commit`."""
        return self._metadata

    def seek(self, begin: dict[Partition, Begin]) -> None:
        """Goes back to given offsets.

        Raises:
            SourceFailed: the client does not do it in time.
        """
        self._held.clear()
        self._parked.clear()
        self._behind.clear()
        deadline = time.monotonic() + _SEEK_S
        for (topic, partition), at in begin.items():
            while True:
                try:
                    self._consumer.seek(TopicPartition(topic, partition, at.offset))
                    break
                except KafkaException as error:  # its fetcher has not begun yet
                    if time.monotonic() > deadline:
                        raise SourceFailed(f"{topic}[{partition}] does not go to {at.offset}: {error}") from error
                    time.sleep(0.02)
        self._go_on()
        self._catch_up(begin)

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
        try:
            while busy():
                if self._in_callback:
                    continue  # the client must not be polled from within itself
                message = self._consumer.poll(0.1)
                if message is not None:
                    # Of a partition that was assigned meanwhile: kept for the next poll, and held back from now on.
                    self._parked.append(message)
                    self._consumer.pause(self._consumer.assignment())
        finally:
            self._go_on()

    def close(self) -> None:
        """Leaves the group."""
        # The last revoke comes from within: a closing client may never say what is assigned, and keeps the lock of the
        # interpreter while it is asked.
        self._closing = True
        self._consumer.close()
