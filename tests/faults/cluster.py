"""The brokers of a lane: their settings for tests, and topics that are made anew for every run."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable

from confluent_kafka import ElectionType, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream.admin import create_topics
from stream.embedded import wait_for
from stream.localkafka import LocalKafka
from stream.settings import load
from stream.sink import MAX_RECORD_BYTES
from stream.topology import TOPICS, partitions_of

PARTITIONS = 3
_WAIT_S = 60.0
_LEVELS = (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)

#: What makes the loss of a worker or a broker cost seconds instead of minutes.
PROPERTIES = {
    # Longer than a broker takes to start. A coordinator that ends a transaction while partitions have no leader takes
    # them for deleted and leaves them without a marker (seen with 4.4.0 and one broker; Kafka's own is 10 s).
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "5000",
    "group.consumer.session.timeout.ms": "2000",
    "group.consumer.heartbeat.interval.ms": "300",
    # Kafka's own is 9 s. A broker alone that stands still for longer than this shuts itself out, with the same end:
    # such a run is void (`tests/faults/run.py`).
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "400",
    "message.max.bytes": str(MAX_RECORD_BYTES),
    "replica.lag.time.max.ms": "3000",
}


def remake_topics(cluster: LocalKafka, only: Iterable[str] = TOPICS) -> None:
    """Deletes topics and makes all that are missing; their offsets begin at 0 again.

    Raises:
        TimeoutError: the brokers did not do it in time.
    """
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    if there := sorted(set(only) & admin.list_topics(timeout=15).topics.keys()):
        delete_topics(cluster, there)
    kafka = load(environ={"TIDECAST_KAFKA__BOOTSTRAP_SERVERS": cluster.bootstrap}).settings.kafka
    create_topics(kafka, PARTITIONS, replication=len(cluster.numbers))


def delete_topics(cluster: LocalKafka, topics: list[str]) -> None:
    """Deletes topics, and waits until no broker knows them any more.

    Raises:
        TimeoutError: the brokers did not do it in time.
    """
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for deleted in admin.delete_topics(topics).values():
        deleted.result(30)
    for number in cluster.numbers:
        wait_for(lambda n=number: _is_gone(cluster, n, topics), _WAIT_S, "the end of topics")  # type: ignore[misc]


def _is_gone(cluster: LocalKafka, number: int, topics: list[str]) -> bool:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap.split(",")[number - 1]})
    return not set(topics) & admin.list_topics(timeout=15).topics.keys()


def wait_until_in_sync(cluster: LocalKafka) -> None:
    """Until every partition has a leader and all its copies, Kafka's own topics included.

    Raises:
        TimeoutError: a broker does not catch up.
    """
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    copies = len(cluster.numbers)

    def in_sync() -> bool:
        try:
            topics = admin.list_topics(timeout=5).topics.values()
        except KafkaException:
            return False
        return all(p.leader > 0 and len(p.isrs) == copies for t in topics for p in t.partitions.values())

    wait_for(in_sync, _WAIT_S, "copies that are in sync")


def make_well(cluster: LocalKafka) -> None:
    """Whatever a run has done to the brokers, and did not come to heal, is over.

    Raises:
        UsageError: a broker does not start.
        TimeoutError: a broker does not catch up.
    """
    cluster.heal()
    for number in cluster.numbers:
        os.kill(cluster.pid(number), signal.SIGCONT)
    wait_until_in_sync(cluster)


def wait_until_settled(cluster: LocalKafka, timeout_s: float = 30.0) -> None:
    """Until no transaction is open any more: what is to be seen by read-committed readers can be seen.

    Raises:
        TimeoutError: one stays open.
    """
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    every = [TopicPartition(t.name, p) for t in TOPICS.values() for p in range(partitions_of(t, PARTITIONS))]
    asked = {p: OffsetSpec.latest() for p in every}
    deadline = time.monotonic() + timeout_s
    while True:
        stable, last = (
            {(p.topic, p.partition): found.result(10).offset for p, found in ends.items()}
            for ends in (admin.list_offsets(asked, isolation_level=level) for level in _LEVELS)
        )
        if stable == last:
            return
        if time.monotonic() > deadline:
            open_ = {p: (stable[p], last[p]) for p in last if stable[p] != last[p]}
            raise TimeoutError(f"a transaction is still open after {timeout_s:g} s (stable and last offsets: {open_})")
        time.sleep(0.05)


def coordinator_of(cluster: LocalKafka, topic: str, name: str) -> int:
    """The broker that coordinates a group (`__consumer_offsets`) or a transactional id (`__transaction_state`)."""
    partitions = AdminClient({"bootstrap.servers": cluster.bootstrap}).list_topics(topic, 15).topics[topic].partitions
    hashed = 0
    for character in name:  # Java's String.hashCode, made positive as Kafka does
        hashed = (31 * hashed + ord(character)) & 0xFFFFFFFF
    return int(partitions[(hashed & 0x7FFFFFFF) % len(partitions)].leader)


def elect_preferred(cluster: LocalKafka) -> None:
    """Leaders go back to the brokers that they were given to at first."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    with contextlib.suppress(KafkaException):
        admin.elect_leaders(ElectionType.PREFERRED, None).result(20)
