"""Admin: makes and describes topics, and checks at start that the broker has what the topology needs."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream.errors import UsageError
from stream.kafkaclient import client_config
from stream.settings import KafkaSettings
from stream.sink import MAX_RECORD_BYTES
from stream.topology import CONSUMED, DEAD_LETTERS, TOPICS, Topic, partitions_of

log = logging.getLogger(__name__)


def connect(kafka: KafkaSettings, timeout_s: float = 10.0) -> tuple[AdminClient, Mapping[str, int]]:
    """An admin client, and the partition count of every topic on the broker.

    Raises:
        UsageError: no broker answers.
    """
    client = AdminClient(client_config(kafka))
    try:
        metadata = client.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise UsageError(
            f"no Kafka broker answers at {kafka.bootstrap_servers} ({error.args[0].str()}); start one "
            "(`tidecast up` has one built in) or set kafka.bootstrap_servers"
        ) from error
    return client, {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def create_topics(kafka: KafkaSettings, partitions: int, replication: int = 1) -> dict[str, int]:
    """Makes the topics that are missing.

    Returns:
        Partition counts of those that were made.

    Raises:
        UsageError: no broker, or it refuses.
    """
    client, have = connect(kafka)
    wanted = [t for t in TOPICS.values() if t.name not in have]
    new = [_new_topic(t, partitions, replication) for t in wanted]
    for name, made in (client.create_topics(new) if new else {}).items():
        try:
            made.result(30)
        except KafkaException as error:
            raise UsageError(f"topic {name!r} could not be made: {error.args[0].str()}") from error
        except TimeoutError as error:
            raise UsageError(f"topic {name!r} could not be made: the broker did not answer within 30 s") from error
    made_now = {t.name: partitions_of(t, partitions) for t in wanted}
    _wait_for_leaders(client, made_now)
    return made_now


def _wait_for_leaders(client: AdminClient, made: Mapping[str, int], timeout_s: float = 30.0) -> None:
    """Apache Kafka says that a topic is made before its brokers know of it."""
    deadline = time.monotonic() + timeout_s
    while True:
        topics = client.list_topics(timeout=timeout_s).topics
        led = {name: sum(p.leader >= 0 for p in t.partitions.values()) for name, t in topics.items()}
        slow = sorted(name for name, n in made.items() if led.get(name, 0) < n)
        if not slow:
            return
        if time.monotonic() > deadline:
            raise UsageError(f"topics have no leader {timeout_s:g} s after they were made: {', '.join(slow)}")
        time.sleep(0.05)


def _new_topic(topic: Topic, partitions: int, replication: int) -> Any:
    config = {"cleanup.policy": "compact"} if topic.compacted else {}
    if topic in CONSUMED:
        # Whether an event is of the future is then decided by the log, the same for every worker (stream.decode).
        config["message.timestamp.type"] = "LogAppendTime"
    if topic.keep_days:
        config["min.compaction.lag.ms"] = str(topic.keep_days * 86_400_000)
    if topic is DEAD_LETTERS:
        # A dead letter is its record and headers: larger than the largest record that the broker took in.
        config["max.message.bytes"] = str(MAX_RECORD_BYTES)
    return NewTopic(topic.name, partitions_of(topic, partitions), replication, config=config)


def check_topics(have: Mapping[str, int]) -> None:
    """Checks that all topics are there, and that co-partitioned ones have equal partition counts.

    Raises:
        UsageError: says which, and what to do.
    """
    missing = [name for name in TOPICS if name not in have]
    if missing:
        raise UsageError(f"missing topics: {', '.join(missing)}; make them with `tidecast topics create`")
    for group in ("customer", "item"):
        counts = {t.name: have[t.name] for t in TOPICS.values() if t.copartition == group}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} has {n}" for name, n in counts.items())
            raise UsageError(
                f"topics that are keyed by {group} must have the same number of partitions, so that all events of one "
                f"{group} meet in one worker: {told}; make them again with equal counts (`tidecast topics create`)"
            )


_PROBE = "tidecast-probe"
_PROBE_S = 20.0
_NO_TRANSACTIONS = (KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION)


def _undecided(why: str) -> UsageError:
    return UsageError(
        f"whether this broker can deliver exactly once could not be found out ({why}); start again when it is well, or "
        "set worker.delivery"
    )


def hides_aborted(kafka: KafkaSettings) -> bool:
    """Whether the broker has transactions and hides the records of aborted ones, tried out on a topic of its own.

    Raises:
        UsageError: the topic could not be made, or the broker does not answer: not to be taken for a no.
    """
    client, have = connect(kafka)
    if _PROBE not in have:
        _make_probe(client)
    marks = [f"{uuid.uuid4().hex}-{end}".encode() for end in ("aborted", "committed")]
    consumer = Consumer({**client_config(kafka), "group.id": "tidecast-probe", "isolation.level": "read_committed"})
    try:
        at = TopicPartition(_PROBE, 0)
        at.offset = consumer.get_watermark_offsets(at, timeout=10)[1]
        _try_transactions(kafka, marks)
        consumer.assign([at])
        seen: list[bytes | None] = []
        deadline = time.monotonic() + _PROBE_S
        while marks[1] not in seen and time.monotonic() < deadline:
            seen += [m.value() for m in consumer.consume(10, 0.1) if m.error() is None]
        if marks[0] not in seen and marks[1] not in seen:
            raise _undecided(f"a committed record was not seen within {_PROBE_S:g} s")
        return marks[0] not in seen
    except KafkaException as error:
        if error.args[0].code() not in _NO_TRANSACTIONS:
            raise _undecided(error.args[0].str()) from error
        log.info("the broker has no transactions: %s", error)
        return False
    finally:
        consumer.close()


def _make_probe(client: AdminClient) -> None:
    # As many copies as the broker's own default says.
    made = client.create_topics([NewTopic(_PROBE, 1, -1, config={"retention.ms": "3600000"})])
    try:
        made[_PROBE].result(30)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise UsageError(
                f"whether this broker can deliver exactly once is tried out on a topic {_PROBE!r}, which could not be "
                f"made ({error.args[0].str()}); make it, or set worker.delivery"
            ) from error
    _wait_for_leaders(client, {_PROBE: 1})


def _try_transactions(kafka: KafkaSettings, marks: Sequence[bytes]) -> None:
    name = f"tidecast-probe-{uuid.uuid4().hex}"
    producer = Producer({**client_config(kafka), "transactional.id": name, "transaction.timeout.ms": 10_000})
    producer.init_transactions(_PROBE_S)
    for mark, end in zip(marks, (producer.abort_transaction, producer.commit_transaction), strict=True):
        producer.begin_transaction()
        producer.produce(_PROBE, mark)
        producer.flush(10)
        end(10)


class GroupProgress:
    """What a consumer group has committed."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._consumer = Consumer({**client_config(kafka), "group.id": kafka.group_id, "enable.auto.commit": False})

    def behind(self, ends: Mapping[tuple[str, int], int]) -> int:
        """Records before the offsets `ends` that the group has not committed yet."""
        parts = [TopicPartition(t, p) for t, p in ends]
        committed = self._consumer.committed(parts, timeout=15)
        return sum(max(ends[c.topic, c.partition] - max(c.offset, 0), 0) for c in committed)

    def close(self) -> None:
        """Lets go of the connection."""
        self._consumer.close()
