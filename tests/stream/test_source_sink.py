"""Source and sink against the embedded broker; and against a client that fails, for what a broker does rarely."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic

from stream import source as module
from stream.admin import connect
from stream.embedded import free_port
from stream.errors import UsageError
from stream.kafkaclient import SourceFailed
from stream.reader import TopicReader
from stream.settings import KafkaSettings
from stream.sink import Sink, SinkFailed, TransactionalSink, TransactionFailed
from stream.source import Begin, CommitRefused, Partition, Source

DEADLINE_S = 30.0


@pytest.fixture
def topic(kafka: KafkaSettings) -> str:
    """A topic of the test's own, with two partitions."""
    name = f"t-{uuid4().hex[:8]}"
    client, _ = connect(kafka)
    client.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    return name


def fill(kafka: KafkaSettings, topic: str, records: list[tuple[bytes | None, bytes | None]]) -> None:
    sink = Sink(kafka)
    for key, value in records:
        sink.produce(topic, key, value)
    sink.flush(DEADLINE_S)


def read(kafka: KafkaSettings, topic: str) -> list[Any]:
    reader = TopicReader(kafka, [topic])
    try:
        return list(reader.read_to_end(DEADLINE_S))
    finally:
        reader.close()


# --- sink and reader --------------------------------------------------------------------------------------------------


def test_records_come_back_as_they_were(kafka: KafkaSettings, topic: str) -> None:
    sink = Sink(kafka)
    sink.produce(topic, b"k", b"value", [("trace", b"\x00\xff"), ("empty", b"")])
    sink.produce(topic, None, b"\xff\xfe")
    sink.produce(topic, b"deleted", None)
    sink.flush(DEADLINE_S)
    found = {m.key(): (m.value(), m.headers()) for m in read(kafka, topic)}
    assert found == {
        b"k": (b"value", [("trace", b"\x00\xff"), ("empty", b"")]),
        None: (b"\xff\xfe", None),
        b"deleted": (None, None),
    }


def murmur2(data: bytes) -> int:
    """Kafka's hash of keys. Source: org.apache.kafka.common.utils.Utils.murmur2."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = ((k ^ (k >> 24)) * m) & mask
        h = (h * m & mask) ^ k
    rest = data[whole:]
    if rest:
        h = ((h ^ int.from_bytes(rest, "little")) * m) & mask
    h = ((h ^ (h >> 13)) * m) & mask
    return h ^ (h >> 15)


def test_keys_go_where_java_clients_put_them(kafka: KafkaSettings, topic: str) -> None:
    """So that topics written by others and by us are co-partitioned."""
    assert murmur2(b"21") == 0xC5F1A3D2 or murmur2(b"21") == (-973932308 & 0xFFFFFFFF), "Kafka's own test vector"
    keys = [f"warehouse:{i}".encode() for i in range(40)]
    fill(kafka, topic, [(key, b"") for key in keys])
    found = {m.key(): m.partition() for m in read(kafka, topic)}
    assert found == {key: (murmur2(key) & 0x7FFFFFFF) % 2 for key in keys}
    assert set(found.values()) == {0, 1}


def test_order_is_kept_a_partition_and_nothing_is_doubled(kafka: KafkaSettings, topic: str) -> None:
    fill(kafka, topic, [(str(i % 7).encode(), str(i).encode()) for i in range(5_000)])
    by_key: dict[bytes, list[int]] = {}
    for m in read(kafka, topic):
        by_key.setdefault(m.key(), []).append(int(m.value()))
    assert by_key == {str(k).encode(): list(range(k, 5_000, 7)) for k in range(7)}


def test_a_reader_reads_to_the_end_though_the_broker_tells_a_lower_one(kafka: KafkaSettings, topic: str) -> None:
    """The embedded broker's high watermark is the start of the last batch, and one."""
    for start in range(0, 900, 300):
        fill(kafka, topic, [(b"same", str(i).encode()) for i in range(start, start + 300)])
    reader = TopicReader(kafka, [topic])
    assert [int(m.value()) for m in reader.read_to_end(DEADLINE_S)] == list(range(900))
    assert sorted(reader.positions.values()) == [0, 900]
    reader.close()


def test_an_empty_topic_has_an_end_too(kafka: KafkaSettings, topic: str) -> None:
    assert read(kafka, topic) == []


def test_a_reader_can_begin_at_what_comes_after_now(kafka: KafkaSettings, topic: str) -> None:
    fill(kafka, topic, [(b"k", b"before")])
    reader = TopicReader(kafka, [topic], from_end=True)
    fill(kafka, topic, [(b"k", b"after")])
    found: list[bytes] = []
    deadline = time.monotonic() + DEADLINE_S
    while b"after" not in found:
        assert time.monotonic() < deadline, found
        found += [m.value() for m in reader.poll(10, 0.05)]
    assert found == [b"after"]
    reader.close()


def test_a_reader_names_a_topic_that_is_not_there(kafka: KafkaSettings) -> None:
    with pytest.raises(UsageError, match=r"there is no topic 'gone'; make the topics with `tidecast topics create`"):
        TopicReader(kafka, ["gone"])


def test_a_reader_gives_up_at_its_deadline(kafka: KafkaSettings, topic: str) -> None:
    reader = TopicReader(kafka, [topic])
    reader._ends[topic, 0] = 5
    with pytest.raises(UsageError, match=rf"the broker did not deliver \['{topic}'\] in 0\.2 s"):
        list(reader.read_to_end(0.2))
    reader.close()


def test_a_reader_does_not_keep_an_error_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.reader.Consumer", FakeConsumer)
    reader = TopicReader(KafkaSettings(), [])
    FakeConsumer.messages = [Failed(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "not yours"))]
    with pytest.raises(SourceFailed, match="not yours"):
        reader.poll()


def test_a_sink_says_what_was_not_acknowledged() -> None:
    nobody = KafkaSettings(
        bootstrap_servers=f"127.0.0.1:{free_port()}", extra={"message.timeout.ms": "200", "socket.timeout.ms": "100"}
    )
    sink = Sink(nobody)
    sink.produce("orders", b"k", b"v")
    with pytest.raises(SinkFailed, match=r"orders\[None\]: Local: Message timed out"):
        sink.flush(DEADLINE_S)
    with pytest.raises(SinkFailed):
        sink.poll()


def test_a_flush_has_a_deadline() -> None:
    sink = Sink(KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}", extra={"message.timeout.ms": "2000"}))
    sink.produce("orders", b"k", b"v")
    begun = time.monotonic()
    with pytest.raises(SinkFailed, match="1 records were not acknowledged within 0 s"):
        sink.flush(0.1)
    assert time.monotonic() - begun < 2


def test_a_record_that_no_broker_would_take_fails_at_once() -> None:
    sink = Sink(KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    with pytest.raises(SinkFailed, match="too large"):
        sink.produce("orders", b"k", b"x" * 17_000_000)


# --- source -----------------------------------------------------------------------------------------------------------


class Group:
    """A source with its partitions noted."""

    def __init__(self, kafka: KafkaSettings, topic: str, begin: Callable[[Partition, int | None], int]) -> None:
        self.assigned: dict[Partition, int | None] = {}
        self.revoked: list[Partition] = []
        #: K of partitions whose committed offset is made up.
        self.assigned_published: dict[Partition, int] = {}
        self._begin = begin
        self.on_assigned: Callable[[], None] = lambda: None
        self.source = Source(kafka, [topic], self._assign, self.revoked.extend, self.revoked.extend)

    def _assign(self, partitions: list[Partition]) -> dict[Partition, Begin]:
        self.on_assigned()
        committed = self.source.committed(partitions)
        self.assigned |= committed
        published = self.assigned_published
        return {p: Begin(self._begin(p, k), published.get(p, k or 0)) for p, k in committed.items()}

    def read(self, n: int) -> list[tuple[int, int]]:
        """(partition, offset) of so many records, in order."""
        out: list[tuple[int, int]] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(out) < n:
            assert time.monotonic() < deadline, f"{len(out)} of {n}"
            out += [(m.partition(), m.offset()) for m in self.source.poll(100, 0.02)]
        return sorted(out)


@pytest.fixture
def group(kafka: KafkaSettings, topic: str) -> Iterator[Callable[..., Group]]:
    """Makes sources over a topic with four records in each of two partitions."""
    keys = {(murmur2(str(i).encode()) & 0x7FFFFFFF) % 2: str(i).encode() for i in range(10)}
    fill(kafka, topic, [(keys[i % 2], str(i).encode()) for i in range(8)])
    made: list[Group] = []

    def make(begin: Callable[[Partition, int | None], int] = lambda _p, k: k or 0) -> Group:
        made.append(Group(kafka, topic, begin))
        return made[-1]

    yield make
    for one in made:
        one.source.close()


ALL = [(p, o) for p in range(2) for o in range(4)]


def test_a_source_begins_where_it_is_told_and_commits_what_it_is_told(group: Callable[..., Group], topic: str) -> None:
    first = group(lambda p, _k: 2 if p[1] == 0 else 0)
    assert first.read(6) == [(0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3)]
    assert first.assigned == {(topic, 0): None, (topic, 1): None}, "nothing has been committed yet"
    first.source.commit({(topic, 0): 4, (topic, 1): 3})
    assert first.source.committed([(topic, 0), (topic, 1)]) == {(topic, 0): 4, (topic, 1): 3}
    first.source.seek({(topic, 0): Begin(1, 1)})
    assert first.read(3) == [(0, 1), (0, 2), (0, 3)]
    first.source.close()
    assert sorted(first.revoked) == [(topic, 0), (topic, 1)]
    second = group()
    assert second.read(1) == [(1, 3)]
    assert second.assigned == {(topic, 0): 4, (topic, 1): 3}


def test_partitions_that_come_while_it_is_held_back_lose_no_record(group: Callable[..., Group]) -> None:
    """The store is away from before the first assignment until well after it."""
    one = group()
    deadline = time.monotonic() + DEADLINE_S
    turns_after = 0

    def busy() -> bool:
        nonlocal turns_after
        assert time.monotonic() < deadline
        turns_after += bool(one.assigned)
        return turns_after < 8

    one.source.pause_while(busy)
    assert one.read(8) == ALL


def test_a_source_can_be_held_back_while_it_is_given_partitions(group: Callable[..., Group]) -> None:
    """The store is away when partitions are claimed, which happens inside the client's own call."""
    one = group()
    turns = iter([True, True, False])
    one.on_assigned = lambda: one.source.pause_while(lambda: next(turns))
    assert one.read(8) == ALL
    assert list(turns) == []


def test_what_goes_wrong_in_a_callback_comes_out_of_the_next_poll(group: Callable[..., Group]) -> None:
    one = group()

    def fail() -> None:
        raise RuntimeError("no fence")

    one.on_assigned = fail
    with pytest.raises(RuntimeError, match="no fence"):
        one.read(8)


def test_what_the_store_has_lost_comes_before_anything_new(group: Callable[..., Group], topic: str) -> None:
    """Partition 1 begins at 1 though all before 3 was published; partition 0 has to wait for it."""
    one = group()
    one.assigned_published = {(topic, 1): 3}
    one._begin = lambda p, _k: 1 if p[1] == 1 else 0
    polls: list[list[tuple[int, int]]] = []
    deadline = time.monotonic() + DEADLINE_S
    while sum(map(len, polls)) < 7:
        assert time.monotonic() < deadline
        polls.append([(m.partition(), m.offset()) for m in one.source.poll(100, 0.02)])
    until = next(n for n, poll in enumerate(polls) if (1, 2) in poll)
    assert not [at for poll in polls[:until] for at in poll if at[0] == 0]
    assert sorted(at for poll in polls for at in poll) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]


def test_a_partition_that_ends_before_its_k_holds_nobody_back(group: Callable[..., Group], topic: str) -> None:
    """Its last records are gone, and nothing new has come."""
    one = group()
    one.assigned_published = {(topic, 1): 9}
    one._begin = lambda p, _k: 4 if p[1] == 1 else 0
    assert one.read(4) == [(0, o) for o in range(4)]


def test_going_back_holds_back_as_well(group: Callable[..., Group], topic: str) -> None:
    one = group()
    assert one.read(8) == ALL
    one.source.seek({(topic, 0): Begin(4, 4), (topic, 1): Begin(2, 4)})
    assert one.read(2) == [(1, 2), (1, 3)]


# --- a client that fails ----------------------------------------------------------------------------------------------


class Failed:
    """A message that is an error, or a partition with one."""

    def __init__(self, error: KafkaError) -> None:
        self._error = error

    def error(self) -> KafkaError:
        return self._error


class FakeConsumer:
    """As much of `confluent_kafka.Consumer` as is needed to fail."""

    messages: list[Any] = []
    answer: Any = None

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def subscribe(self, *_args: Any, **_callbacks: Any) -> None:
        """Joins nothing."""

    def assign(self, _partitions: Any) -> None:
        """Owns nothing."""

    def assignment(self) -> list[Any]:
        return []

    def pause(self, _partitions: Any) -> None:
        """Holds back nothing."""

    def resume(self, _partitions: Any) -> None:
        """Lets go of nothing."""

    def consumer_group_metadata(self) -> Any:
        return "membership"

    def list_topics(self, timeout: float) -> Any:
        return None

    def consume(self, _n: int, _timeout: float) -> list[Any]:
        found, FakeConsumer.messages = FakeConsumer.messages, []
        return found

    def commit(self, **_kwargs: Any) -> Any:
        if isinstance(FakeConsumer.answer, Exception):
            raise FakeConsumer.answer
        return FakeConsumer.answer

    def committed(self, _partitions: Any, timeout: float) -> Any:
        return FakeConsumer.answer


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setattr(module, "Consumer", FakeConsumer)
    return Source(KafkaSettings(group_instance_id="one"), ["t"], lambda _: {}, lambda _: None, lambda _: None)


def refused(partition: int = 0) -> Any:
    part = TopicPartition("t", partition, -1001)

    class WithError:
        topic, partition, offset = part.topic, part.partition, part.offset
        error = KafkaError(KafkaError.ILLEGAL_GENERATION, "the generation is over")

    return WithError()


def test_a_topic_that_is_gone_is_told(fake: Source) -> None:
    FakeConsumer.messages = [Failed(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "t is unknown"))]
    with pytest.raises(UsageError, match=r"a topic is gone: t is unknown; make it again with `tidecast topics create`"):
        fake.poll(1, 0)


@pytest.mark.parametrize(
    ("error", "raises"),
    [
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "not yours"), True),
        (KafkaError(KafkaError._FATAL, "fenced", True), True),
        (KafkaError(KafkaError._TRANSPORT, "a broker is away", False, True), False),
    ],
)
def test_only_errors_that_pass_by_themselves_are_waited_out(fake: Source, error: KafkaError, raises: bool) -> None:
    FakeConsumer.messages = [Failed(error)]
    if raises:
        with pytest.raises(SourceFailed):
            fake.poll(1, 0)
    else:
        assert fake.poll(1, 0) == []


def test_a_commit_that_is_refused_is_told(fake: Source) -> None:
    FakeConsumer.answer = KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "the generation is over"))
    with pytest.raises(CommitRefused, match="the generation is over"):
        fake.commit({("t", 0): 1})
    FakeConsumer.answer = [TopicPartition("t", 1, 5), refused()]
    with pytest.raises(CommitRefused, match="the generation is over"):
        fake.commit({("t", 0): 1, ("t", 1): 5})


def test_an_offset_that_the_broker_did_not_tell_is_not_taken_for_none(fake: Source) -> None:
    """K = 0 would publish everything again."""
    FakeConsumer.answer = [TopicPartition("t", 0, -1001), refused(1)]
    with pytest.raises(SourceFailed, match="the generation is over"):
        fake.committed([("t", 0), ("t", 1)])


def test_the_client_is_not_polled_from_within_its_own_callback(fake: Source) -> None:
    """It has no `poll` here: asking for it would fail."""
    turns = iter([True, True, False])
    called = fake._guarded(lambda _: fake.pause_while(lambda: next(turns)))
    called(None, [])
    assert fake.poll(1, 0) == []
    assert list(turns) == []


def test_the_group_is_joined_with_static_membership_and_the_range_assignor(fake: Source) -> None:
    config = fake._consumer.config
    assert config["group.instance.id"] == "one"
    assert config["partition.assignment.strategy"] == "range"
    assert config["enable.auto.commit"] is False
    assert config["auto.offset.reset"] == "error", "an offset that is not there is looked into"


# --- transactions -----------------------------------------------------------------------------------------------------


class FakeProducer:
    """As much of `confluent_kafka.Producer` as transactions need; what `fails` names, fails."""

    made: list[FakeProducer] = []
    fails: dict[str, int] = {}

    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.calls = config, list[Any]()
        FakeProducer.made.append(self)

    def _called(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        if name in self.fails:
            raise KafkaException(KafkaError(self.fails[name], name))

    def init_transactions(self, _timeout: float) -> None:
        self._called("init")

    def begin_transaction(self) -> None:
        self._called("begin")

    def produce(self, topic: str, value: Any, key: Any, *_more: Any) -> None:
        self._called("produce", topic, key, value)

    def poll(self, _timeout: float) -> int:
        if "poll" in self.fails:
            self._called("poll")
        return 0

    def send_offsets_to_transaction(self, parts: Any, metadata: Any, _timeout: float) -> None:
        self._called("offsets", [(p.topic, p.partition, p.offset) for p in parts], metadata)

    def commit_transaction(self, _timeout: float) -> None:
        self._called("commit")

    def abort_transaction(self, _timeout: float) -> None:
        self._called("abort")


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> list[FakeProducer]:
    monkeypatch.setattr("stream.sink.Producer", FakeProducer)
    monkeypatch.setattr(FakeProducer, "made", [])
    monkeypatch.setattr(FakeProducer, "fails", {})
    return FakeProducer.made


def names(producer: FakeProducer) -> list[str]:
    return [call[0] for call in producer.calls]


def test_a_transaction_has_records_and_offsets_and_ends_once(producers: list[FakeProducer]) -> None:
    sink = TransactionalSink(KafkaSettings(transaction_timeout_ms=7_000), "group-1")
    sink.produce("demand", b"k", b"1")
    sink.produce("demand", b"k", b"2")
    sink.commit({("orders", 0): 5}, "membership")
    sink.produce("demand", b"k", b"3")
    (producer,) = producers
    assert names(producer) == ["init", "begin", "produce", "produce", "offsets", "commit", "begin", "produce"]
    assert producer.calls[4][1:] == ([("orders", 0, 5)], "membership")
    assert (producer.config["transactional.id"], producer.config["transaction.timeout.ms"]) == ("group-1", 7_000)


def test_offsets_alone_are_a_transaction_too(producers: list[FakeProducer]) -> None:
    sink = TransactionalSink(KafkaSettings(), "group-1")
    sink.commit({("clicks", 0): 1}, "membership")
    assert names(producers[0]) == ["init", "begin", "offsets", "commit"]


def test_nothing_open_is_not_aborted(producers: list[FakeProducer]) -> None:
    TransactionalSink(KafkaSettings(), "group-1").abort()
    assert names(producers[0]) == ["init"]


@pytest.mark.parametrize("step", ["begin", "produce", "poll", "offsets", "commit"])
def test_whatever_fails_the_transaction_has_failed_and_is_aborted(producers: list[FakeProducer], step: str) -> None:
    sink = TransactionalSink(KafkaSettings(), "group-1")
    FakeProducer.fails = {step: KafkaError.INVALID_PRODUCER_EPOCH}

    def transact() -> None:
        sink.produce("demand", b"k", b"1")
        sink.poll()
        sink.commit({("orders", 0): 5}, "membership")

    with pytest.raises(TransactionFailed, match=step):
        transact()
    FakeProducer.fails = {}
    sink.abort()
    if step == "commit":  # nobody knows how it ended: this producer must not end another one
        assert (names(producers[0]).count("abort"), len(producers)) == (0, 2)
    else:
        assert (names(producers[0]).count("abort"), len(producers)) == (1, 1)
    sink.produce("demand", b"k", b"1")
    sink.commit({("orders", 0): 5}, "membership")
    assert names(producers[-1])[-1] == "commit"


def test_a_producer_whose_transaction_cannot_even_be_aborted_is_made_anew(producers: list[FakeProducer]) -> None:
    """Such as after a time-out of its end: nobody knows what came of it."""
    sink = TransactionalSink(KafkaSettings(), "group-1")
    sink.produce("demand", b"k", b"1")
    FakeProducer.fails = {"abort": KafkaError._TIMED_OUT}
    sink.abort()
    first, second = producers
    assert second.config["transactional.id"] == "group-1", "which ends what the first one left open"
    assert names(second) == ["init"]
    sink.produce("demand", b"k", b"2")
    assert names(first)[-1] == "abort"


def test_a_producer_whose_transaction_was_ended_by_the_broker_in_time_is_made_anew(
    producers: list[FakeProducer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was away for longer than a transaction may be open; nobody has taken our name."""
    sink = TransactionalSink(KafkaSettings(transaction_timeout_ms=1_000), "group-1")
    sink.produce("demand", b"k", b"1")
    now = time.monotonic()
    monkeypatch.setattr("stream.sink.time.monotonic", lambda: now + 2)
    FakeProducer.fails = {"abort": KafkaError._FENCED}
    sink.abort()
    assert len(producers) == 2


def test_a_producer_that_another_has_replaced_again_says_so(producers: list[FakeProducer]) -> None:
    sink = TransactionalSink(KafkaSettings(), "group-1")
    sink.produce("demand", b"k", b"1")
    FakeProducer.fails = {"abort": KafkaError._FENCED}
    sink.abort()
    assert len(producers) == 2, "once may be a worker that took our partitions while we were away"
    sink.produce("demand", b"k", b"2")
    with pytest.raises(SinkFailed, match=r"two workers must not have one kafka\.group_instance_id"):
        sink.abort()


class Part(NamedTuple):
    """As much of a `TopicPartition` as is looked at."""

    topic: str
    partition: int


PART = Part("t", 0)


def test_what_was_paused_is_resumed_though_waiting_was_given_up(fake: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client remembers it, also of partitions that go and come back."""
    paused: set[Part] = set()
    monkeypatch.setattr(FakeConsumer, "assignment", lambda _: [PART])
    monkeypatch.setattr(FakeConsumer, "pause", lambda _, parts: paused.update(parts))
    monkeypatch.setattr(FakeConsumer, "resume", lambda _, parts: paused.difference_update(parts))

    def given_up() -> bool:
        assert paused == {PART}
        raise CommitRefused

    with pytest.raises(CommitRefused):
        fake.pause_while(given_up)
    assert paused == set()


def test_a_request_to_resume_that_the_client_lost_is_made_again(fake: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    paused = {PART}
    monkeypatch.setattr(FakeConsumer, "assignment", lambda _: [PART])
    monkeypatch.setattr(FakeConsumer, "resume", lambda _, parts: paused.difference_update(parts))
    fake._resuming._done -= 2
    fake.poll(1, 0)
    assert paused == set()


def test_a_partition_that_comes_back_is_resumed(fake: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    paused = {PART}
    monkeypatch.setattr(FakeConsumer, "assignment", lambda _: [PART])
    monkeypatch.setattr(FakeConsumer, "resume", lambda _, parts: paused.difference_update(parts))
    fake._assigned([])
    assert paused == set()
