"""However many workers share the partitions and however topics interleave: the same feature records, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from features.store import MemoryStore
from tests.stream.build import Engine, Message, RecordingSink, features_in
from tests.stream.test_parity import events, on_topics

TOPICS = ("orders", "clicks", "demand", "inventory")
PARTITIONS = 2


class Group:
    """Workers with a partition each (or all), a common store, and demand coming back as the broker would bring it."""

    def __init__(self, records: Sequence[Message], workers: int, seed: int) -> None:
        self._random = random.Random(seed)
        self.logs: dict[tuple[str, int], list[Message]] = {(t, p): [] for t in TOPICS for p in range(PARTITIONS)}
        for record in records:
            self.logs[record.topic(), record.partition()].append(record)
        self.store, self.at = MemoryStore(), dict.fromkeys(self.logs, 0)
        self.engines = [Engine(self.store, RecordingSink()) for _ in range(workers)]
        self.taken = [0] * workers
        for i, engine in enumerate(self.engines):
            engine.ownership.duplicate_horizon = 1_000
            engine.assign({(t, p): None for t, p in self.logs if p % workers == i})

    def run(self) -> dict[str, dict[str, bytes]]:
        while any(self.at[p] < len(log) for p, log in self.logs.items()):
            i = self._random.randrange(len(self.engines))
            self._turn(i, self.engines[i])
        return features_in(self.store)

    def _turn(self, i: int, engine: Engine) -> None:
        batch: list[Message] = []
        own = sorted(engine.ownership.owned)
        # Some topics are far behind others for a while.
        for partition in self._random.sample(own, self._random.randint(1, len(own))):
            log, n = self.logs[partition], self._random.randint(0, 9)
            batch += log[self.at[partition] : self.at[partition] + n]
            self.at[partition] = min(self.at[partition] + n, len(log))
        if batch:
            engine.commit.process(batch)
        demand = [p for p in engine.sink.published if p.topic == "demand"]
        for p in demand[self.taken[i] :]:
            at = "demand", ord((p.key or b"").decode()[-1]) % PARTITIONS
            self.logs[at].append(Message((*at, len(self.logs[at])), p.key, p.value))
        self.taken[i] = len(demand)


@pytest.mark.parametrize("seed", range(6))
def test_records_are_equal_bit_for_bit(seed: int) -> None:
    records = on_topics(events(120, seed))
    alone = Group(records, workers=1, seed=0).run()
    assert sum(len(entities) for entities in alone.values()) > 12
    for workers in (1, 2):
        assert Group(records, workers, seed=100 + seed).run() == alone
