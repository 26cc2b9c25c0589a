"""The worker inside a Faust application: the commit steps, driven by somebody else's loop.

Faust polls, assigns and commits offsets; this does the rest. Every call blocks and all of them come from one thread, so
that Faust's own loop and heartbeats go on meanwhile.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from features.store import Fence, FenceConflict, Record, Store, StoreUnavailable, Write
from features.store.base import bucket_of
from models.registry import Model
from stream.commit import SCORE_TTL_MS, Commit
from stream.deadletter import headers_of
from stream.decode import DeadLetter, Decoder, RecordLike, reason_of
from stream.faust_record import FaustRecord
from stream.featurelog import FeatureLog
from stream.fold import State
from stream.joins import Joins
from stream.metrics import Metrics
from stream.ownership import Ownership, Partition
from stream.reader import TopicReader
from stream.reference import Reference
from stream.score import Scoring
from stream.settings import Settings
from stream.sink import Sink
from stream.source import CommitRefused
from stream.tenure import Superseded
from stream.ticks import Ticks
from stream.topology import DEAD_LETTERS

log = logging.getLogger(__name__)
T = TypeVar("T")

_RETRY_S = 0.2

CommitOffsets = Callable[[dict[Partition, int]], None]


class GaveUp(Exception):
    """The store was unavailable when the partitions had to be given back; the micro-batch was not taken in."""


class StoreLost(Exception):
    """The store has lost what this worker wrote: the next one reads it from Kafka again."""


class FaustWorker:
    """Takes in the micro-batches that Faust hands it, and gives the offsets to commit back to it.

    Args:
        settings: all of them; `kafka` is where records are published and reference data is read.
        models: by name, checked against the features (`stream.score.load_models`).
        store: where features, scores and fences are.
        sink: where records are published.
        reader: of the reference topics.
        metrics: what it counts.
    """

    def __init__(
        self,
        settings: Settings,
        models: dict[str, Model],
        store: Store,
        sink: Sink,
        reader: TopicReader,
        metrics: Metrics,
    ) -> None:
        worker = settings.worker
        self._store, self._sink, self._reader, self._metrics = store, sink, reader, metrics
        self._state = State(store, worker.max_entities, metrics, worker.late_after_ms)
        self._ownership = Ownership(store.buckets, worker.duplicate_horizon)
        self._reference = Reference(self._state.ids)
        self._joins = Joins(store, self._state.ids, settings.features, metrics)
        self._commit = Commit(
            Decoder(worker.max_future_skew_ms, worker.max_record_bytes),
            self._state,
            self._ownership,
            Scoring(
                models,
                self._reference,
                settings.models,
                metrics,
                FeatureLog(settings.feature_log.share),
                joins=self._joins,
            ),
            sink,
            metrics,
            self._patiently,
            int(settings.store.expiry_grace_s * 1000),
        )
        self._unread: deque[RecordLike] = deque()
        self._ticks = Ticks(store, self._state.watermarks, self._ownership)
        self._generation: int | None = None
        self._leaving = threading.Event()

    def _forget(self) -> None:
        self._state.forget()
        self._joins.forget()

    def ready(self) -> bool:
        """Whether it has partitions to work on."""
        return bool(self._ownership.owned)

    def leave(self) -> None:
        """Stops waiting for the store: the partitions are to be given back. The one method for other threads."""
        self._leaving.set()

    def assigned(
        self, committed: Mapping[Partition, int | None], generation: int, within_s: float
    ) -> dict[Partition, int]:
        """Claims partitions.

        Args:
            committed: K of each; None where nothing has been committed.
            generation: of the group; records of others are not taken in.
            within_s: how long to wait for the store: Faust sends no heartbeats while it assigns.

        Returns:
            Where each begins: min(K, R).

        Raises:
            StoreUnavailable: it did not answer in time.
        """
        self._leaving.clear()
        self._generation = generation
        give_up_at = time.monotonic() + within_s
        begin = {}
        for partition, offset in committed.items():
            fences = self._patiently(functools.partial(self._store.claim, *partition), give_up_at)
            owned = self._ownership.take(partition, offset or 0, fences)
            begin[partition] = owned.begin
            log.info("owns %s[%d]: K=%s R=%s, begins at %d", *partition, offset, owned.folded_to, owned.begin)
        return begin

    def revoked(self, commit_offsets: CommitOffsets) -> None:
        """Commits what is done, and forgets the partitions: another worker may have them next."""
        try:
            self.commit(commit_offsets)
        finally:
            self._ownership.drop(list(self._ownership.owned))
            self._commit.abandon()
            self._forget()

    def process(self, records: Sequence[FaustRecord]) -> None:
        """Steps 1 to 5 of `stream.commit`.

        Raises:
            GaveUp: the partitions are to be given back, and the store is away.
            StoreLost, Superseded, SinkFailed: the application must end; what is not committed is taken in again.
        """
        owned, generation = self._ownership.owned, self._generation
        # Faust may hand over what it had buffered before a rebalance; it has been sought back to, and comes again.
        current = [r for r in records if r.generation == generation and (r.topic(), r.partition()) in owned]
        if not current:
            return
        begun = time.perf_counter()
        try:
            self._commit.process(current)
        except FenceConflict as conflict:
            self._refresh_fences(conflict)
            self._commit.process(current)
        self._metrics.batch_seconds.observe(time.perf_counter() - begun)

    def commit(self, commit_offsets: CommitOffsets) -> None:
        """Step 6: gives the offsets away when all that was published is acknowledged.

        Raises:
            SinkFailed: a record was refused.
        """
        try:
            self._commit.commit(commit_offsets)
            self._ticks.write()
        except CommitRefused as error:
            # Kept for the next time, so that a quiet partition does not stay behind; a revoke forgets them.
            log.warning("offsets were not committed (%s): tried again, by the next worker if this one ends", error)

    def read_reference(self, to_end: bool = False) -> None:
        """Takes in the catalog and the offers, as far as they have come; or up to their end."""
        self._unread += self._reader.read_to_end() if to_end else self._reader.poll()
        while self._unread:  # what the store kept waiting until partitions had to be given back is tried again
            self._refer(self._unread[0])
            self._unread.popleft()

    def close(self, commit_offsets: CommitOffsets) -> None:
        """Commits what is done and lets go of broker and store."""
        try:
            self.revoked(commit_offsets)
        finally:
            self._reader.close()
            self._store.close()

    def _refresh_fences(self, conflict: FenceConflict) -> None:
        """An entity was erased, or an answer of the store was lost: forget what is cached, and read the fences again.

        Faust cannot be sent back to an earlier offset in the midst of a stream, so whatever needs it ends the worker.
        """
        log.warning("%s; reading the fences again", conflict)
        self._forget()
        self._state.ids.save_again()
        self._ownership.erasures.clear()
        self._ticks.forget()
        for partition, owned in list(self._ownership.owned.items()):
            fences = self._patiently(functools.partial(self._store.fences, *partition))
            if max(f.epoch for f in fences) > max(owned.epochs):
                raise Superseded(f"another worker has taken {partition[0]}[{partition[1]}]") from conflict
            if _lost(fences, owned.epochs, owned.folded_to):
                raise StoreLost(
                    f"the store has lost the fence of {partition[0]}[{partition[1]}], and so maybe features: start "
                    "this worker again, and it reads from Kafka what is missing"
                ) from conflict
            self._ownership.take(partition, owned.published_to, fences)

    def _patiently(self, call: Callable[[], T], give_up_at: float = float("inf")) -> T:
        """Calls until the store answers."""
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                self._metrics.store_waits.inc()
                log.warning("waiting for the store: %s", error)
                if time.monotonic() > give_up_at:
                    raise
                if self._leaving.wait(_RETRY_S):
                    raise GaveUp(str(error)) from error

    def _refer(self, record: RecordLike) -> None:
        """What cannot be taken in becomes a dead letter once, though every worker reads it."""
        try:
            self._reference.apply(record)
        except (ValueError, RecursionError) as error:
            stage, reason = reason_of(error)
            topic, partition, offset = record.topic(), record.partition(), record.offset()
            self._metrics.dead.labels(topic, stage).inc()
            at = f"{topic}:{partition}:{offset}"
            if self._patiently(lambda: self._store.load("d", "reference", [at]))[0] is None:
                headers = record.headers() or ()
                letter = DeadLetter(topic, partition, offset, record.key(), record.value(), stage, reason, headers)
                self._sink.produce(DEAD_LETTERS.name, letter.key, letter.value, headers_of(letter))
                self._sink.flush()
                told = Record("d", "reference", at, b"1", SCORE_TTL_MS)
                write = Write(bucket_of(at, self._store.buckets), [], [told])
                self._patiently(lambda: self._store.commit([write]))


def _lost(fences: Sequence[Fence], epochs: Sequence[int], folded_to: Sequence[int | None]) -> bool:
    """Whether the store is behind what was written to it."""
    return any(
        fence.epoch != epoch or (fence.next_offset or 0) < (offset or 0)
        for fence, epoch, offset in zip(fences, epochs, folded_to, strict=True)
    )
