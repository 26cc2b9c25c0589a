"""Progress: how far a group has come."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from stream.settings import KafkaSettings
from stream.topology import CONSUMED, DEMAND

Partition = tuple[str, int]
#: Where fewer records of `demand` come than should: nothing new for so long, and then the comparison will tell.
_QUIET_S = 4.0
_ANSWER_S = 2.0


class Progress:
    """Whether a group has processed all.

    Where the input ends is known from its acknowledgements; where `demand` ends, from reading as many records as there
    must be: transaction markers take offsets, too.

    Args:
        kafka: the broker and the group.
        partitions: of every topic.
        demand: how many records there must be on `demand`.
    """

    def __init__(self, kafka: KafkaSettings, partitions: int, demand: int) -> None:
        client = {"bootstrap.servers": kafka.bootstrap_servers, "log_level": 2, "enable.auto.commit": False}
        # Not by the admin client: it dies where the coordinator has moved (librdkafka 2.16). Not the stable offsets
        # either: to ask for these is to wait for the end of transactions.
        group = {"group.id": kafka.group_id, "isolation.level": "read_uncommitted"}
        self._asks = Consumer({**client, **group})
        self._partitions = [TopicPartition(t.name, p) for t in CONSUMED for p in range(partitions)]
        self._committed: dict[Partition, int] = {}
        self._demand: dict[Partition, int] = {}
        self._missing, self._heard = demand, time.monotonic()
        self._reader = Consumer({**client, "group.id": "tidecast-faults"})
        self._reader.assign([TopicPartition(DEMAND.name, p, OFFSET_BEGINNING) for p in range(partitions)])

    def is_done(self, input_ends: Mapping[Partition, int]) -> bool:
        """Whether all of the input and all `demand` that came of it is committed."""
        self._ask()
        self._read()
        if not all(self._committed.get(p, 0) >= end for p, end in self.ends(input_ends).items()):
            self._heard = time.monotonic()  # what is not committed may bring more `demand` yet
            return False
        return self._missing <= 0 or time.monotonic() - self._heard > _QUIET_S

    def ends(self, input_ends: Mapping[Partition, int]) -> dict[Partition, int]:
        """The offset after the last record of every consumed partition."""
        return {**input_ends, **self._demand}

    def _read(self) -> None:
        for message in self._reader.consume(5_000, 0.02):
            self._heard = time.monotonic()
            if message.error() is None:
                self._missing -= 1
                self._demand[message.topic(), message.partition()] = message.offset() + 1

    def _ask(self) -> None:
        with contextlib.suppress(KafkaException):  # no coordinator for now
            found = self._asks.committed(self._partitions, timeout=_ANSWER_S)
            self._committed = {(p.topic, p.partition): p.offset for p in found if p.error is None}

    def close(self) -> None:
        """Lets go of the connections."""
        self._reader.close()
        self._asks.close()
