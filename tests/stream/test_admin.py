from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic

from stream import admin
from stream.admin import GroupProgress, check_topics, connect, create_topics
from stream.embedded import Embedded, free_port
from stream.errors import UsageError
from stream.settings import KafkaSettings
from stream.sink import Sink
from stream.topology import TOPICS

REFERENCE = {"catalog": 1, "offers": 1}


@pytest.fixture
def empty() -> Iterator[KafkaSettings]:
    """A broker of the test's own, without topics."""
    with Embedded(store=False) as services:
        yield KafkaSettings(bootstrap_servers=services.bootstrap_servers)


def test_topics_are_made_once(empty: KafkaSettings) -> None:
    made = create_topics(empty, 3)
    assert made == dict.fromkeys(TOPICS, 3) | REFERENCE
    have = connect(empty)[1]
    assert have == made
    check_topics(have)
    assert create_topics(empty, 5) == {}, "those that are there stay as they are"
    assert connect(empty)[1] == made


def test_topics_that_others_made_with_another_count_are_told(empty: KafkaSettings) -> None:
    client, _ = connect(empty)
    client.create_topics([NewTopic("demand", 5, 1)])["demand"].result(30)
    with pytest.raises(UsageError, match="missing topics: orders, clicks, inventory"):
        check_topics(connect(empty)[1])
    create_topics(empty, 2)
    with pytest.raises(UsageError) as error:
        check_topics(connect(empty)[1])
    assert str(error.value) == (
        "topics that are keyed by item must have the same number of partitions, so that all events of one item meet "
        "in one worker: demand has 5, inventory has 2; make them again with equal counts (`tidecast topics create`)"
    )


def test_missing_topics_are_all_named() -> None:
    with pytest.raises(UsageError) as error:
        check_topics({name: 1 for name in TOPICS if name not in ("orders", "dead-letters")})
    assert str(error.value) == "missing topics: orders, dead-letters; make them with `tidecast topics create`"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"clicks": 4}, "keyed by customer .* orders has 3, clicks has 4"),
        ({"demand": 1}, "demand has 1, inventory has 3"),
    ],
)
def test_topics_of_one_key_need_equal_counts(changed: Mapping[str, int], told: str) -> None:
    have = dict.fromkeys(TOPICS, 3)
    check_topics(have)
    with pytest.raises(UsageError, match=told):
        check_topics({**have, **changed})


def test_customers_and_items_may_have_counts_of_their_own() -> None:
    check_topics({**dict.fromkeys(TOPICS, 3), "demand": 7, "inventory": 7, "reorder-scores": 1})


def test_a_broker_that_does_not_answer_is_told_with_what_to_do() -> None:
    kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")
    with pytest.raises(UsageError) as error:
        connect(kafka, timeout_s=0.3)
    assert str(error.value).startswith(f"no Kafka broker answers at {kafka.bootstrap_servers} (")
    assert str(error.value).endswith("; start one (`tidecast up` has one built in) or set kafka.bootstrap_servers")


class Refusing:
    """An admin client whose broker refuses every topic."""

    def __init__(self, answer: Exception) -> None:
        self._answer = answer
        self.asked: list[Any] = []

    def create_topics(self, topics: list[Any]) -> dict[str, Future[None]]:
        self.asked = topics
        refused: Future[None] = Future()
        refused.set_exception(self._answer)
        return {t.topic: refused for t in topics}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            KafkaException(KafkaError(KafkaError.INVALID_REPLICATION_FACTOR, "not so many")),
            "topic 'orders' could not be made: not so many",
        ),
        (TimeoutError(), "topic 'orders' could not be made: the broker did not answer within 30 s"),
    ],
)
def test_a_broker_that_refuses_is_quoted(monkeypatch: pytest.MonkeyPatch, answer: Exception, told: str) -> None:
    client = Refusing(answer)
    monkeypatch.setattr(admin, "connect", lambda _kafka: (client, {}))
    with pytest.raises(UsageError) as error:
        create_topics(KafkaSettings(), 4, replication=3)
    assert str(error.value) == told
    asked = {t.topic: (t.num_partitions, t.replication_factor) for t in client.asked}
    assert asked == dict.fromkeys(TOPICS, (4, 3)) | dict.fromkeys(REFERENCE, (1, 3))
    compacted = {t.topic for t in client.asked if t.config.get("cleanup.policy") == "compact"}
    assert compacted == {name for name, topic in TOPICS.items() if topic.compacted}


def test_progress_is_what_the_group_has_not_committed(kafka: KafkaSettings) -> None:
    progress = GroupProgress(kafka)
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": kafka.group_id})
    sink = Sink(kafka)
    for _ in range(5):
        sink.produce("inventory", b"w:A", b"{}")
    sink.flush(30)
    try:
        ends = {("inventory", 0): 5, ("inventory", 1): 2}
        assert progress.behind(ends) == 7, "nothing is committed yet"
        consumer.commit(offsets=[TopicPartition("inventory", 0, 3)], asynchronous=False)
        assert progress.behind(ends) == 4
        consumer.commit(offsets=[TopicPartition("inventory", 1, 9)], asynchronous=False)
        assert progress.behind(ends) == 2, "further than asked for is not behind"
    finally:
        consumer.close()
        progress.close()
