"""Group state: what the broker says of the consumer group, without joining it: ends, committed offsets, members.

The embedded broker reports ends that are too low (docs/decisions/0005), so an end is where a fetch finds nothing more.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec

from stream.admin import connect
from stream.errors import UsageError
from stream.kafkaclient import client_config
from stream.settings import KafkaSettings
from stream.source import Partition

_WAIT_S = 15.0
_READ_S = 10.0


class Kept(NamedTuple):
    """The offsets that a partition has: from the first that retention has left to before the end."""

    first: int
    end: int


class Member(NamedTuple):
    """A member of the group: the name that its client gave itself, its static name and its address."""

    client_id: str
    instance_id: str | None
    host: str


class Members(NamedTuple):
    """The group as its coordinator sees it.

    Args:
        state: such as stable, preparing_rebalancing or empty; unknown where the broker does not tell.
        protocol: classic, or consumer (KIP-848).
        size: how many members.
        owners: who has which partition.
    """

    state: str
    protocol: str
    size: int
    owners: Mapping[Partition, Member]


class GroupState:
    """Reads the state of the group of the settings.

    Args:
        kafka: the broker and the group.

    Raises:
        UsageError: no broker answers.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._admin, self._have = connect(kafka)
        self._kafka = kafka
        # It never joins. (An admin client that is told to ask another coordinator crashes, in librdkafka 2.16.0.)
        self._member = Consumer(
            {
                **client_config(kafka),
                "group.id": kafka.group_id,
                "enable.auto.commit": False,
                "isolation.level": "read_uncommitted",
            }
        )
        self._consumer = Consumer(
            {
                **client_config(kafka),
                "group.id": "tidecast-reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": kafka.fetch_wait_max_ms,
            }
        )

    def partitions(self, topics: Iterable[str]) -> list[Partition]:
        """The partitions of topics.

        Raises:
            UsageError: the broker lacks one.
        """
        wanted = list(topics)
        missing = [topic for topic in wanted if topic not in self._have]
        if missing:
            raise UsageError(f"missing topics: {', '.join(missing)}; make them with `tidecast topics create`")
        return [(topic, partition) for topic in wanted for partition in range(self._have[topic])]

    def kept(self, partitions: Collection[Partition]) -> dict[Partition, Kept]:
        """What each partition has; its end is before what transactions have not committed yet.

        Raises:
            UsageError: the broker does not tell.
        """
        first, said = (self._offsets(partitions, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
        ends = said | {p: offset for p, (_, offset) in self._read(said, 0).items()}
        return {p: Kept(first[p], max(ends[p], said[p])) for p in partitions}

    def _offsets(self, partitions: Collection[Partition], spec: OffsetSpec) -> dict[Partition, int]:
        asked = {TopicPartition(*p): spec for p in partitions}
        answers = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
        try:
            return {(p.topic, p.partition): int(answer.result(_WAIT_S).offset) for p, answer in answers.items()}
        except (KafkaException, TimeoutError) as error:
            raise UsageError(f"the broker does not tell the ends of the topics: {_reason(error)}") from error

    def committed(self, partitions: Collection[Partition]) -> dict[Partition, int | None]:
        """K of each partition; None where nothing has been committed. Open transactions are not waited for.

        Raises:
            UsageError: the broker does not tell.
        """
        group = self._kafka.group_id
        try:
            found = self._member.committed([TopicPartition(*p) for p in partitions], timeout=_WAIT_S)
        except KafkaException as error:
            raise UsageError(f"the broker does not tell the offsets of group {group!r}: {_reason(error)}") from error
        known = {(p.topic, p.partition): p.offset if p.offset >= 0 else None for p in found}
        return {p: known.get(p) for p in partitions}

    def records(self, begin: Mapping[Partition, int], at_most: int) -> dict[Partition, int]:
        """How many records there are from given offsets to the end: transactions leave offsets that are no records.

        Partitions with more than `at_most` are left out, and so are those that could not be read in time.
        """
        return {p: count for p, (count, _) in self._read(begin, at_most).items()}

    def _read(self, begin: Mapping[Partition, int], at_most: int) -> dict[Partition, tuple[int, int]]:
        """Records and end of each partition that was read to its end; `at_most` 0 is no limit."""
        self._consumer.assign([TopicPartition(*p, offset) for p, offset in begin.items()])
        counts, open_, out = dict.fromkeys(begin, 0), set(begin), {}
        deadline = time.monotonic() + _READ_S
        while open_ and time.monotonic() < deadline:
            for message in self._consumer.consume(1_000, 0.05):
                at, error = (message.topic(), message.partition()), message.error()
                if error is None:
                    counts[at] += 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    out[at] = (counts[at], message.offset())
                    open_.discard(at)
                if at_most and counts.get(at, 0) > at_most:
                    open_.discard(at)
        self._consumer.unassign()
        return {p: found for p, found in out.items() if not at_most or found[0] <= at_most}

    def members(self) -> Members:
        """Who is in the group; none where the broker does not know it or does not tell."""
        group = self._kafka.group_id
        try:
            found = self._admin.describe_consumer_groups([group])[group].result(_WAIT_S)
        except (KafkaException, TimeoutError) as error:
            gone = isinstance(error, KafkaException) and error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND
            return Members("no such group" if gone else "unknown", "unknown", 0, {})
        owners = {
            (part.topic, part.partition): Member(member.client_id, member.group_instance_id, member.host)
            for member in found.members
            for part in member.assignment.topic_partitions
        }
        return Members(_name(found.state), _name(found.type), len(found.members), owners)

    def close(self) -> None:
        """Lets go of the connections."""
        self._consumer.close()
        self._member.close()


def _name(value: Any) -> str:
    return str(value.name).lower().replace("_", " ")


def _reason(error: Exception) -> str:
    return str(error.args[0].str()) if isinstance(error, KafkaException) else f"no answer within {_WAIT_S:g} s"
