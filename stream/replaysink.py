"""Replay sink: sends dead letters back, each with its mark, a chunk a transaction.

`open` comes before the dead letters are read. All replays of a cluster share one transactional id: whoever opens it
last fences those before and ends their open transactions, so what it reads afterwards is all that was ever sent back,
and nobody else can send anything any more. (On a broker that does not hide what is not committed a run that ends in
the middle of a chunk leaves records without marks, and the next run sends them again: at least once.)
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from stream.deadletters import Letter, Place, chunks, mark_headers, sent_headers
from stream.errors import UsageError
from stream.kafkaclient import client_config
from stream.settings import KafkaSettings
from stream.sink import MAX_RECORD_BYTES, Headers
from stream.topology import DEAD_LETTERS

TRANSACTIONAL_ID = "tidecast-dead-letters-replay"

_WAIT_S = 30.0
_TRIES = 5


class ReplayFailed(Exception):
    """The broker did not take a chunk, or did not say so; what is marked has been sent back, the rest has not."""


class Outgoing(NamedTuple):
    """A record to send; into a partition of its own where that is given, else by its key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int = -1


class ReplaySink:
    """A transactional producer.

    Args:
        kafka: the broker.
        transactional_id: the same for all who may send the same letters back.
    """

    def __init__(self, kafka: KafkaSettings, transactional_id: str = TRANSACTIONAL_ID) -> None:
        self._producer = Producer(
            {
                **client_config(kafka),
                "transactional.id": transactional_id,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "compression.type": "lz4",
                "message.max.bytes": MAX_RECORD_BYTES,
            }
        )
        self._failed: str | None = None

    def open(self) -> None:
        """Fences replays that are still running, and ends their transactions.

        Raises:
            UsageError: the broker does not let us.
        """
        try:
            self._producer.init_transactions(_WAIT_S)
        except KafkaException as error:
            raise UsageError(
                f"the broker lets nobody begin a transaction as {TRANSACTIONAL_ID!r} ({error.args[0].str()}); a replay "
                "needs transactions, and Write and Describe on that transactional id where the broker has ACLs"
            ) from error

    def send(self, records: Iterable[Outgoing], marks: Iterable[Outgoing]) -> None:
        """Sends records and their marks: all of them or, where the broker has isolation, nothing.

        Raises:
            ReplayFailed: they were refused, or another replay has begun, or nobody knows: look at the marks.
        """
        try:
            self._producer.begin_transaction()
            try:
                # Marks after their records: without isolation, a run that ends here leaves no mark without its record.
                self._produce(records)
                self._produce(marks)
            except ReplayFailed:
                self._producer.abort_transaction(_WAIT_S)
                raise
            self._commit()
        except (KafkaException, SystemError) as error:
            raise ReplayFailed(_reason(error)) from error

    def _produce(self, records: Iterable[Outgoing]) -> None:
        """Produces and waits for the acknowledgements."""
        for record in records:
            self._queue(record)
        left = self._producer.flush(_WAIT_S)
        failed, self._failed = self._failed, None
        if failed is not None or left:
            raise ReplayFailed(failed or f"{left} records were not acknowledged within {_WAIT_S:g} s")

    def _queue(self, record: Outgoing) -> None:
        where = {} if record.partition < 0 else {"partition": record.partition}
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    headers=list(record.headers),
                    on_delivery=self._delivered,
                    **where,
                )
                return
            except BufferError:
                self._producer.poll(0.05)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed = f"{message.topic()}[{message.partition()}]: {error.str()}"

    def _commit(self) -> None:
        """Commits; a call that the broker did not answer may be made again."""
        for left in reversed(range(_TRIES)):
            try:
                self._producer.commit_transaction(_WAIT_S)
                return
            except KafkaException as error:
                if error.args[0].txn_requires_abort():
                    self._producer.abort_transaction(_WAIT_S)
                    raise
                if not error.args[0].retriable() or left == 0:
                    raise


def replay(
    kafka: KafkaSettings, sink: ReplaySink, letters: Sequence[Letter], to: str | None = None, max_letters: int = 500
) -> Iterator[int]:
    """Sends letters back, in the order given, a chunk at a time.

    Args:
        kafka: the broker.
        sink: opened before the letters were read.
        letters: none of which was sent back before.
        to: the topic to send all of them to; their original topics where None.
        max_letters: in a chunk.

    Yields:
        How many were sent, after each chunk.

    Raises:
        UsageError: retention has removed a letter since it was listed, or it has no topic to go to.
        ReplayFailed: the broker did not take a chunk.
    """
    for chunk in chunks(letters, max_letters):
        records = fetch(kafka, {letter.place for letter in chunk})
        gone = [str(letter.place) for letter in chunk if letter.place not in records]
        if gone:
            raise UsageError(
                f"{DEAD_LETTERS.name} has no {', '.join(gone[:5])} any more; list what is left, and choose"
            )
        sink.send(
            [_sent_back(letter, _target(letter, to), records[letter.place]) for letter in chunk],
            [_mark(letter, _target(letter, to)) for letter in chunk],
        )
        yield len(chunk)


def _target(letter: Letter, to: str | None) -> str:
    target = to or letter.topic
    if target is None:
        raise UsageError(f"dead letter {letter.place} does not say where it was read from; name a topic with --to")
    return target


def _sent_back(letter: Letter, target: str, record: Any) -> Outgoing:
    return Outgoing(target, record.key(), record.value(), sent_headers(letter, record.headers() or ()))


def _mark(letter: Letter, target: str) -> Outgoing:
    return Outgoing(DEAD_LETTERS.name, letter.key, None, mark_headers(letter, target), letter.place.partition)


def _reason(error: BaseException) -> str:
    # When the client is fenced while it calls back, the binding raises a SystemError with the reason as its cause.
    told = error.args[0] if isinstance(error, KafkaException) else getattr(error.__cause__, "args", [None])[0]
    if not isinstance(told, KafkaError):
        return str(error)
    if told.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED):
        return "another replay of dead letters has begun since, and this one was stopped"
    return str(told.str())


def fetch(kafka: KafkaSettings, places: Collection[Place]) -> dict[Place, Any]:
    """The records at places of `dead-letters`; those that retention has removed are missing.

    Raises:
        UsageError: the broker did not deliver them in time.
    """
    consumer = Consumer(
        {
            **client_config(kafka),
            "group.id": "tidecast-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": kafka.fetch_wait_max_ms,
        }
    )
    try:
        return _fetched(consumer, places)
    finally:
        consumer.close()


def _fetched(consumer: Any, places: Collection[Place]) -> dict[Place, Any]:
    last = {partition: max(p.offset for p in places if p.partition == partition) for partition, _ in places}
    first = {partition: min(p.offset for p in places if p.partition == partition) for partition in last}
    consumer.assign([TopicPartition(DEAD_LETTERS.name, *at) for at in first.items()])
    found: dict[Place, Any] = {}
    deadline = time.monotonic() + _WAIT_S
    while last:
        if time.monotonic() > deadline:
            raise UsageError(f"the broker did not deliver {DEAD_LETTERS.name} within {_WAIT_S:g} s")
        for message in consumer.consume(1_000, 0.1):
            at_end = message.error() is not None and message.error().code() == KafkaError._PARTITION_EOF
            place = Place(message.partition(), message.offset())
            if message.error() is None and place in places:
                found[place] = message
            if at_end or (message.error() is None and place.offset >= last.get(place.partition, -1)):
                last.pop(place.partition, None)
    return found
