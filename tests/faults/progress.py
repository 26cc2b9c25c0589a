"""Progress: how far a group has come, asked without waiting for an answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from stream.settings import KafkaSettings
from stream.topology import CONSUMED, DEMAND

Partition = tuple[str, int]
#: Where fewer records of `demand` come than should: nothing new for so long, and then the comparison will tell.
_QUIET_S = 4.0


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
        client = {"bootstrap.servers": kafka.bootstrap_servers, "log_level": 2}
        self._admin, self._group = AdminClient(client), kafka.group_id
        self._partitions = [TopicPartition(t.name, p) for t in CONSUMED for p in range(partitions)]
        self._asked: Any = None
        self._committed: dict[Partition, int] = {}
        self._demand: dict[Partition, int] = {}
        self._missing, self._heard = demand, time.monotonic()
        self._reader = Consumer({**client, "group.id": "tidecast-faults", "enable.auto.commit": False})
        self._reader.assign([TopicPartition(DEMAND.name, p, OFFSET_BEGINNING) for p in range(partitions)])

    def is_done(self, input_ends: Mapping[Partition, int]) -> bool:
        """Whether all of the input and all `demand` that came of it is committed."""
        self._read()
        self._ask()
        committed = all(self._committed.get(p, 0) >= end for p, end in self.ends(input_ends).items())
        return committed and (self._missing <= 0 or time.monotonic() - self._heard > _QUIET_S)

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
        if self._asked is None:
            group = ConsumerGroupTopicPartitions(self._group, self._partitions)
            self._asked = self._admin.list_consumer_group_offsets([group], request_timeout=5)[self._group]
        elif self._asked.done():
            with contextlib.suppress(KafkaException):  # no coordinator for now
                found = self._asked.result().topic_partitions
                self._committed = {(p.topic, p.partition): p.offset for p in found}
            self._asked = None

    def close(self) -> None:
        """Lets go of the connections."""
        self._reader.close()
