"""The floor: what any worker in Python on this client would spend, `python -m benchmarks.floor RECORDS`.

Polls the same topics with the worker's own source (the same consumer settings), decodes every record with the same
types, and produces given records (those that a worker produced from the same input) with the worker's own sink (the
same producer settings), in the same transactions. No columns, no features, no store, no models.

RECORDS is a file of `Given`, in MessagePack. Says `ready` when it has partitions; ends at SIGTERM.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec

from stream.settings import Settings, load
from stream.sink import Sink, TransactionalSink
from stream.source import Begin, Partition, Source
from stream.topology import CONSUMED, DEMAND

_EXACTLY_ONCE_MS, _AT_LEAST_ONCE_MS = 100, 1_000


class Produced(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record that a worker produced."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = []


class Given(msgspec.Struct, frozen=True):
    """What to produce, spread evenly over so many records of the input."""

    inputs: int
    records: list[Produced]


class Floor:
    """A worker that does nothing of its own.

    Args:
        settings: those of the worker.
        given: what to produce.
    """

    def __init__(self, settings: Settings, given: Given) -> None:
        kafka, self._worker = settings.kafka, settings.worker
        exactly_once = self._worker.delivery == "exactly_once"
        self._sink = TransactionalSink(kafka, f"floor-{uuid.uuid4().hex}") if exactly_once else Sink(kafka)
        every_ms = self._worker.commit_interval_ms or (_EXACTLY_ONCE_MS if exactly_once else _AT_LEAST_ONCE_MS)
        self._every_s = every_ms / 1000
        self._source = Source(kafka, [t.name for t in CONSUMED], self._assigned, lambda _: None, lambda _: None)
        self._given, self._taken, self._made = given, 0, 0
        self._waiting = iter(given.records)
        self._offsets: dict[Partition, int] = {}
        self._decode = {t.name: msgspec.json.Decoder(t.record).decode for t in CONSUMED}
        self._stop = threading.Event()

    def _assigned(self, partitions: list[Partition]) -> dict[Partition, Begin]:
        if partitions:
            print("ready", flush=True)
        committed = self._source.committed(partitions) if partitions else {}
        return {partition: Begin(offset or 0, offset or 0) for partition, offset in committed.items()}

    def stop(self) -> None:
        """Ends the loop."""
        self._stop.set()

    def run(self) -> None:
        """Polls, decodes, produces and commits until it is stopped."""
        # The floor is to be as low as it can be: collections are rare, and pass over what is there from the start.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        committed = time.monotonic()
        while not self._stop.is_set():
            records = self._source.poll(self._worker.batch_max_records, self._worker.batch_max_wait_ms / 1000)
            decoders, offsets = self._decode, self._offsets
            for record in records:
                topic = record.topic()
                decoders[topic](record.value() or b"")
                record.key()
                offsets[topic, record.partition()] = record.offset() + 1
                self._taken += topic != DEMAND.name
            produce = self._sink.produce
            for made in self._due():
                produce(made.topic, made.key, made.value, made.headers)
            if records:
                self._sink.poll()
            if time.monotonic() - committed >= self._every_s:
                self._commit()
                committed = time.monotonic()
        self._commit()
        self._source.close()

    def _due(self) -> Iterator[Produced]:
        due = len(self._given.records) * self._taken // self._given.inputs
        for _ in range(due - self._made):
            yield next(self._waiting)
        self._made = due

    def _commit(self) -> None:
        if not self._offsets:
            return
        if isinstance(self._sink, TransactionalSink):
            self._sink.commit(self._offsets, self._source.group_metadata)
        else:
            self._sink.flush()
            self._source.commit(self._offsets)
        self._offsets = {}


def main() -> None:
    given = msgspec.msgpack.Decoder(Given).decode(Path(sys.argv[1]).read_bytes())
    floor = Floor(load(environ=os.environ).settings, given)
    signal.signal(signal.SIGTERM, lambda *_: floor.stop())
    floor.run()


if __name__ == "__main__":
    main()
