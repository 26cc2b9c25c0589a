"""Dead letters sent back, and lag, where transactions hold: on Apache Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer

from stream.admin import create_topics
from stream.deadletter import headers_of
from stream.deadletters import Letter, in_order, read_letters
from stream.decode import DeadLetter
from stream.embedded import wait_for
from stream.groupstate import GroupState
from stream.lag import measure
from stream.reader import TopicReader
from stream.replaysink import ReplayFailed, ReplaySink, replay
from stream.settings import KafkaSettings, load
from stream.sink import Sink
from tests.brokers import Broker, Guarantee

VALUES = [b"%d" % n for n in range(7)]


@pytest.fixture
def broker(kafka: Broker) -> Iterator[KafkaSettings]:
    """A broker with isolation, with topics that nobody has written to, and seven dead letters of one key."""
    kafka.require(Guarantee.ISOLATION)
    kafka.clean()
    settings = load(["kafka.group_id=night"], environ=kafka.environment).settings.kafka
    create_topics(settings, 2)
    sink = Sink(settings)
    for offset, value in enumerate(VALUES):
        letter = DeadLetter("inventory", 0, offset, b"w:A", value, "size", "too large")
        sink.produce("dead-letters", letter.key, letter.value, headers_of(letter))
    sink.flush(30)
    yield settings
    kafka.clean()


def waiting(settings: KafkaSettings) -> list[Letter]:
    return [one for one in in_order(read_letters(settings)) if one.replayed_to is None]


def sent(settings: KafkaSettings) -> list[bytes]:
    reader = TopicReader(settings, ["inventory"])
    try:
        return [record.value() for record in reader.read_to_end(30)]
    finally:
        reader.close()


def opened(settings: KafkaSettings) -> ReplaySink:
    sink = ReplaySink(settings)
    sink.open()
    return sink


class Killed(Exception):
    """In place of SIGKILL."""


def test_a_run_that_dies_before_its_commit_has_sent_nothing(
    broker: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records and marks are acknowledged; the next run ends its transaction."""

    def die(_: Any) -> None:
        raise Killed

    first = opened(broker)
    with monkeypatch.context() as patched:
        patched.setattr(ReplaySink, "_commit", die)
        with pytest.raises(Killed):
            list(replay(broker, first, waiting(broker), max_letters=3))
    second = opened(broker)
    assert (sent(broker), len(waiting(broker))) == ([], 7)
    assert list(replay(broker, second, waiting(broker), max_letters=3)) == [3, 3, 1]
    assert sent(broker) == VALUES
    assert waiting(broker) == []


def test_of_two_runs_only_the_last_goes_on(broker: KafkaSettings) -> None:
    """Both have read the same letters; the second has begun between two chunks of the first."""
    run = replay(broker, opened(broker), waiting(broker), max_letters=3)
    assert next(run) == 3
    second = opened(broker)
    with pytest.raises(ReplayFailed, match="another replay of dead letters has begun since"):
        next(run)
    left = waiting(broker)
    assert [one.offset for one in left] == [3, 4, 5, 6]
    assert list(replay(broker, second, left)) == [4]
    assert sent(broker) == VALUES


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_lag_names_the_owner_and_counts_no_marks(broker: KafkaSettings, protocol: str) -> None:
    list(replay(broker, opened(broker), waiting(broker), max_letters=3))
    group = broker.model_copy(update={"group_id": f"night-{protocol}"})
    static = {"group.instance.id": "shop-a", "client.id": "night", "group.protocol": protocol}
    config = {"bootstrap.servers": broker.bootstrap_servers, "group.id": group.group_id, "enable.auto.commit": False}
    consumer, state = Consumer({**config, **static, "auto.offset.reset": "earliest"}), GroupState(group)
    try:
        consumer.subscribe(["inventory"])
        records: list[Any] = []

        def five() -> bool:
            records.extend(consumer.consume(5 - len(records), 0.2))
            return len(records) == 5

        wait_for(five, 60, "reading five records")
        consumer.commit(asynchronous=False)
        found = measure(state, group.group_id, lambda _: None, 0)
        (one,) = [p for p in found.partitions if p.end]
        # Three transactions: their marks are behind the third, the sixth and the last record.
        assert (one.committed, one.end, one.lag, one.marks) == (6, 10, 2, 2)
        assert one.owner is not None
        assert (one.owner.instance_id, one.owner.client_id) == ("shop-a", "night")
        assert (found.state, found.protocol, found.members) == ("stable", protocol, 1)
    finally:
        consumer.close()
        state.close()


def test_a_group_that_nobody_knows_has_no_members(broker: KafkaSettings) -> None:
    state = GroupState(broker.model_copy(update={"group_id": "nobody-knows"}))
    try:
        assert state.members().size == 0
        assert set(state.committed(state.partitions(["orders"])).values()) == {None}
    finally:
        state.close()
