"""Sink: records to Kafka, idempotent, in order, with bounded memory."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from stream import failpoints
from stream.kafkaclient import client_config
from stream.settings import KafkaSettings

Headers = Sequence[tuple[str, bytes]]

#: The largest record we publish: a dead letter has all bytes of what was read.
MAX_RECORD_BYTES = 16_000_000


class SinkFailed(Exception):
    """A record was not acknowledged; what was not committed will be published again after a restart."""


def _config(kafka: KafkaSettings, linger_ms: int) -> dict[str, Any]:
    return {
        **client_config(kafka),
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": linger_ms,
        "compression.type": "lz4",
        "queue.buffering.max.messages": 200_000,
        "queue.buffering.max.kbytes": 131_072,
        "message.max.bytes": MAX_RECORD_BYTES,
        # Without it every acknowledgement makes a message and a call, only to find that there was no error.
        "delivery.report.only.error": True,
    }


#: What an abort tells of records that were on their way: that it has thrown them away.
_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
#: Longest waits: for the broker to end what an earlier producer left open, and to end a transaction of ours.
_INIT_S = 60.0
_END_S = 30.0
_FENCED_AGAIN_S = 60.0
#: Beyond a time-out that the client should keep itself.
_MORE_S = 2.0


class TransactionFailed(Exception):
    """A transaction did not end as it should, or nobody knows how it ended: read K and R again."""


class Sink:
    """The producer.

    Args:
        kafka: the broker.
        linger_ms: how long records wait for company.
    """

    def __init__(self, kafka: KafkaSettings, linger_ms: int = 5) -> None:
        self._config = _config(kafka, linger_ms)
        self._failed: str | None = None
        self._on_delivery = self._delivered
        self._producer = self._made()

    def _made(self) -> Any:
        return Producer(self._config)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None and error.code() not in _PURGED:
            self._failed = f"{message.topic()}[{message.partition()}]: {error.str()}"

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
    ) -> None:
        """Queues a record; a full queue waits for the broker, so memory stays bounded.

        Raises:
            SinkFailed: an earlier record was not acknowledged.
        """
        while True:
            try:
                # By position, and without headers where there are none: a third less than by name.
                if headers:
                    self._producer.produce(topic, value, key, -1, self._on_delivery, None, 0, list(headers))
                else:
                    self._producer.produce(topic, value, key, -1, self._on_delivery)
                return
            except BufferError:
                self._wait(0.05)
                self._check()
            except (KafkaException, SystemError) as error:  # the binding's own, where the producer was fenced
                raise SinkFailed(str(error)) from error

    def poll(self) -> None:
        """Takes in acknowledgements."""
        self._wait(0)
        self._check()

    def _wait(self, seconds: float) -> None:
        try:
            self._producer.poll(seconds)
        except (KafkaException, SystemError) as error:  # the binding's own, where the producer was fenced
            raise SinkFailed(str(error)) from error

    def flush(self, timeout_s: float = 60.0) -> None:
        """Waits until every record is acknowledged.

        Raises:
            SinkFailed: one was refused, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        left = self._producer.flush(timeout_s)
        self._check()
        if left:
            waited = time.monotonic() - deadline + timeout_s
            raise SinkFailed(f"{left} records were not acknowledged within {waited:.0f} s")

    def _check(self) -> None:
        if self._failed is not None:
            raise SinkFailed(self._failed)


class TransactionalSink(Sink):
    """The producer of exactly-once delivery: read-committed readers see what is produced after `commit`, or never.

    A transaction is begun by its first record. One that fails, or whose end is not known, is thrown away with its
    producer: librdkafka cannot be sure of it afterwards (KIP-890 is not in it).

    Args:
        kafka: the broker.
        transactional_id: the broker ends what an earlier producer of this name has left open.
        linger_ms: how long records wait for company.

    Raises:
        SinkFailed: the broker has no transactions, or refuses them.
    """

    def __init__(self, kafka: KafkaSettings, transactional_id: str, linger_ms: int = 5) -> None:
        self.transactional_id = transactional_id
        self._transaction = {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": kafka.transaction_timeout_ms,
        }
        self._timeout_s = kafka.transaction_timeout_ms / 1000
        self._open, self._doubtful, self._begun = False, False, 0.0
        self._fenced_at = -_FENCED_AGAIN_S
        super().__init__(kafka, linger_ms)

    def end_of(self, transactional_id: str) -> None:
        """Ends the transaction that a producer of that name has left open, so that readers need not wait for its
        time-out; the producer, should it still live, is refused from now on.

        Raises:
            SinkFailed: the broker does not do it.
        """
        self._ready(Producer({**self._config, "transactional.id": transactional_id}))

    def _made(self) -> Any:
        return self._ready(Producer({**self._config, **self._transaction}))

    def _ready(self, producer: Any) -> Any:
        deadline = time.monotonic() + _INIT_S
        while True:
            try:
                producer.init_transactions(10)
            except KafkaException as error:
                if error.args[0].fatal() or time.monotonic() > deadline:
                    raise SinkFailed(f"transactions cannot begin: {error.args[0].str()}") from error
                continue
            return producer

    def produce(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Queues a record within the open transaction; begins one where there is none.

        Raises:
            TransactionFailed: the transaction cannot go on.
        """
        if not self._open:
            self._begin()
        try:
            super().produce(topic, key, value, headers)
        except SinkFailed as error:
            raise TransactionFailed(str(error)) from error

    def _begin(self) -> None:
        if not self._open:
            self._open = True  # also where it cannot begin: the abort that follows puts the producer right
            self._begun = time.monotonic()
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                raise TransactionFailed(error.args[0].str()) from error

    def poll(self) -> None:
        """Takes in acknowledgements.

        Raises:
            TransactionFailed: a record was refused.
        """
        try:
            super().poll()
        except SinkFailed as error:
            raise TransactionFailed(str(error)) from error

    def commit(self, offsets: Mapping[tuple[str, int], int], group_metadata: Any) -> None:
        """Ends the transaction with the input offsets in it; all of it is seen, or nothing.

        Args:
            offsets: the next offset of each input partition.
            group_metadata: the consumer's, of the generation in which the records were polled.

        Raises:
            TransactionFailed: it was not committed, or nobody knows.
        """
        self._begin()
        failpoints.reach("committing")
        parts = [TopicPartition(topic, p, offset) for (topic, p), offset in offsets.items()]
        try:
            self._send_offsets(parts, group_metadata)
            failpoints.reach("offsets-sent")
            self._doubtful = True
            self._producer.commit_transaction(_END_S)
        except KafkaException as error:
            self._doubtful = self._doubtful and not error.args[0].txn_requires_abort()
            raise TransactionFailed(error.args[0].str()) from error
        failpoints.reach("committed")
        self._open = self._doubtful = False

    def _send_offsets(self, parts: list[Any], group_metadata: Any) -> None:
        """The client has a time-out for this, and does not keep it: it waits for ever for a group coordinator that is
        gone (librdkafka#5456, #5511, seen with 2.16). A producer that hangs there is left where it is.

        Raises:
            TransactionFailed: it hangs.
        """
        producer, answers = self._producer, queue.SimpleQueue[KafkaException | None]()

        def send() -> None:
            try:
                producer.send_offsets_to_transaction(parts, group_metadata, _END_S)
                answers.put(None)
            except KafkaException as error:
                answers.put(error)

        threading.Thread(target=send, daemon=True).start()
        try:
            error = answers.get(timeout=min(_END_S, self._timeout_s) + _MORE_S)
        except queue.Empty:
            self._doubtful = True
            raise TransactionFailed("the group coordinator does not take the offsets") from None
        if error is not None:
            raise error

    def abort(self) -> None:
        """Ends the open transaction so that nothing of it is ever seen.

        Raises:
            SinkFailed: the broker takes no transactions any more, such as when another worker has this one's id.
        """
        if not self._open:
            return
        doubtful, self._open, self._failed, self._doubtful = self._doubtful, False, None, False
        if doubtful:
            # Offsets or EndTxn were sent and not answered: this producer must not end another transaction, or the old
            # request may end it in its place. The coordinator ends it one way or the other before the next producer
            # may begin.
            self._producer = self._made()
            return
        try:
            self._producer.abort_transaction(_END_S)
        except KafkaException as error:
            self._judge(error)
            self._producer = self._made()

    def _judge(self, error: Any) -> None:
        """The broker fences a producer of which there is a newer one, or whose transaction has timed out."""
        fenced = error.args[0].code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED)
        timed_out = time.monotonic() - self._begun > self._timeout_s
        again = time.monotonic() - self._fenced_at < _FENCED_AGAIN_S
        self._fenced_at = time.monotonic() if fenced and not timed_out else self._fenced_at
        # Once may be a worker that took our partitions while we were away; one that does it again is our double.
        if fenced and not timed_out and again:
            raise SinkFailed(
                f"another producer has taken the transactional id {self._transaction['transactional.id']!r}: two "
                "workers must not have one kafka.group_instance_id"
            ) from error
