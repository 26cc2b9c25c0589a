"""The worker: the loop around the commit steps, its partitions, and its end."""

from __future__ import annotations

import functools
import gc
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

from features.store import Fence, FenceConflict, Record, Store, StoreUnavailable, Tick, Write
from features.store.base import bucket_of
from models.registry import Model
from stream import failpoints
from stream.ageing import ageing_of
from stream.chores import Chore
from stream.commit import SCORE_TTL_MS, Commit, Interrupted
from stream.decode import DeadLetter, Decoder, RecordLike
from stream.featurelog import FeatureLog
from stream.fold import State
from stream.metrics import Metrics
from stream.ownership import Ownership, Partition
from stream.reference import Reference
from stream.referencefeed import PUBLISHER, ReferenceFeed
from stream.score import Scoring
from stream.settings import Settings
from stream.sink import Sink, TransactionalSink, TransactionFailed
from stream.source import Begin, CommitRefused, Source
from stream.topicwatch import TopicWatch
from stream.topology import CONSUMED
from stream.warmup import warm_up

log = logging.getLogger(__name__)
T = TypeVar("T")

_REFERENCE_EVERY_S = 0.5
_FENCES_EVERY_S = 1.0
_TOPICS_EVERY_S = 5.0
_RETRY_S = 0.2
_STUCK_S = 60.0
#: How often what was done is committed: others see it only then where it is exactly once.
_EXACTLY_ONCE_MS, _AT_LEAST_ONCE_MS = 100, 1_000


class Stopped(Exception):
    """The worker was asked to stop while it waited for the store; the micro-batch was not taken in."""


class Superseded(Exception):
    """A newer owner has this worker's partitions: it must not write, and stops."""


class PartitionsWent(Exception):
    """Some partitions were revoked, and with them what was done for those that stay."""


def _spare_the_collector() -> None:
    """What is there now stays; what a micro-batch makes has no cycles and goes by itself, so look for some rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


class Worker:
    """Consumes, folds, scores, publishes and commits until it is stopped.

    Args:
        settings: all of them.
        models: by name, checked against the features (`stream.score.load_models`).
        store: where features, scores and fences are.
        metrics: what it counts.
    """

    def __init__(self, settings: Settings, models: dict[str, Model], store: Store, metrics: Metrics) -> None:
        self._settings, self._store, self._metrics = settings, store, metrics
        self._stop = threading.Event()
        worker = settings.worker
        self._state = State(store, worker.max_entities, metrics, worker.late_after_ms)
        self._ownership = Ownership(store.buckets, worker.duplicate_horizon)
        reference = Reference(self._state.ids)
        self._feed = ReferenceFeed(settings.kafka, reference, metrics)
        self._exactly_once = settings.worker.delivery == "exactly_once"
        self._sink = self._make_sink()
        self._commit = Commit(
            Decoder(worker.max_future_skew_ms, worker.max_record_bytes),
            self._state,
            self._ownership,
            Scoring(
                models,
                reference,
                settings.models,
                metrics,
                FeatureLog(settings.feature_log.share),
                ageing_of({name: model.manifest for name, model in models.items()}, settings),
            ),
            self._sink,
            metrics,
            self._patiently,
            int(settings.store.expiry_grace_s * 1000),
        )
        self._ticked: dict[Partition, int] = {}
        self._source: Source | None = None
        self._topics = TopicWatch(settings.kafka, [t.name for t in CONSUMED])
        #: Why K and R must be read again before the next micro-batch.
        self._stale: Exception | None = None
        self._turned = time.monotonic()

    def _make_sink(self) -> Sink:
        kafka = self._settings.kafka
        if not self._exactly_once:
            return Sink(kafka)
        # A worker with a name of its own ends at once what it left open when it died; others wait for the time-out.
        own = kafka.group_instance_id or uuid.uuid4().hex
        return TransactionalSink(kafka, f"{kafka.group_id}-{own}")

    @property
    def _commit_every_s(self) -> float:
        given = self._settings.worker.commit_interval_ms
        return (given or (_EXACTLY_ONCE_MS if self._exactly_once else _AT_LEAST_ONCE_MS)) / 1000

    def stop(self) -> None:
        """Asks the worker to finish the micro-batch at hand, commit and leave the group."""
        self._stop.set()

    def healthy(self) -> bool:
        """Whether the loop has turned lately; a worker that waits for its store is well, one that hangs is not."""
        return time.monotonic() - self._turned < _STUCK_S

    def hung(self) -> bool:
        """Whether the loop has not turned for so long that it never will."""
        return time.monotonic() - self._turned > self._settings.worker.hung_after_s

    def ready(self) -> bool:
        """Whether it has partitions to work on."""
        return bool(self._ownership.owned)

    def run(self) -> None:
        """Runs until `stop`.

        Raises:
            Superseded: another worker has taken over while this one was away.
            UsageError: a topic is gone.
        """
        topics = [t.name for t in CONSUMED]
        source = Source(self._settings.kafka, topics, self._assigned, self._revoked, self._lost)
        self._source = source
        worker = self._settings.worker
        chores = (
            Chore(self._commit_every_s, self._commit_offsets),
            Chore(_REFERENCE_EVERY_S, self._read_reference),
            Chore(_FENCES_EVERY_S, self._look_at_fences),
            Chore(_TOPICS_EVERY_S, lambda: self._topics.check(self._store.pin_topics)),
        )
        try:
            # The group forms in the background meanwhile.
            warm_up()
            self._feed.read_all()
            _spare_the_collector()
            while not self._stop.is_set():
                self._turned = time.monotonic()
                records = source.poll(worker.batch_max_records, worker.batch_max_wait_ms / 1000)
                if self._stale is not None:
                    self._recover(self._stale)  # the records were polled from where we do not go on
                elif records:
                    self._process(records)
                for chore in chores:
                    chore.turn()
            self._commit_offsets()
        except Stopped:
            log.warning("stopped while the store was unavailable; the open micro-batch will be taken in again")
        finally:
            try:
                self._commit.abandon()
            finally:
                source.close()
                self._feed.close()

    def _read_reference(self) -> None:
        assert self._source is not None
        self._feed.read()
        if PUBLISHER in self._ownership.owned:
            self._feed.publish(self._source.committed, self._publish_letters)

    def _publish_letters(self, letters: Sequence[DeadLetter]) -> bool:
        """Kafka forgets offsets of topics that a group does not subscribe to after a week; the store remembers."""
        names = [f"{letter.topic}:{letter.partition}:{letter.offset}" for letter in letters]
        known = self._patiently(lambda: self._store.load("d", "reference", names))
        try:
            self._commit.publish_letters([letter for letter, told in zip(letters, known, strict=True) if told is None])
        except TransactionFailed as error:
            self._recover(error)
            return False
        if not self._commit_offsets():
            return False
        told = [Record("d", "reference", name, b"1", SCORE_TTL_MS) for name in names]
        writes = [Write(bucket_of(r.entity, self._store.buckets), [], [r]) for r in told]
        self._patiently(lambda: self._store.commit(writes))
        return True

    def _look_at_fences(self) -> None:
        """A worker to which nothing comes would not hear of a store that has lost something."""
        try:
            self._commit.look_at_fences()
        except FenceConflict as conflict:
            self._recover(conflict)
        except StoreUnavailable as error:
            log.info("the fences were not looked at: %s", error)

    def _process(self, records: list[RecordLike]) -> None:
        begun = time.perf_counter()
        try:
            between = Chore(self._commit_every_s, self._commit_now)
            for part in self._commit.parts(records):
                self._commit.take_in(part)
                self._turned = time.monotonic()
                between.turn()  # a backlog of ticks may be long, and a transaction must not be
                if self._stop.is_set():
                    break
        except (FenceConflict, TransactionFailed, Interrupted) as conflict:
            self._recover(conflict)
        self._metrics.batch_seconds.observe(time.perf_counter() - begun)

    def _commit_offsets(self) -> bool:
        """Step 6; tells whether all is committed."""
        try:
            return self._commit_now()
        except TransactionFailed as error:
            self._recover(error)
            return False

    def _commit_now(self) -> bool:
        assert self._source is not None
        try:
            self._commit.commit(self._commit_transaction if self._exactly_once else self._source.commit)
            self._tick()
            return True
        except CommitRefused as error:
            # Kept for the next interval, so that a quiet partition does not stay behind; a revoke forgets them.
            log.warning("offsets were not committed, trying again: %s", error)
        return False

    def _commit_transaction(self, offsets: dict[Partition, int]) -> None:
        assert self._source is not None
        assert isinstance(self._sink, TransactionalSink)
        self._sink.commit(offsets, self._source.group_metadata)

    def _tick(self) -> None:
        """Tells readers of the store how far event time has come; without a store they will hear of it later."""
        newest = self._state.watermarks.newest
        moved = {p: t for p, t in newest.items() if p in self._ownership.owned and self._ticked.get(p) != t}
        if moved:
            wall_ms = int(time.time() * 1000)
            try:
                self._store.tick({f"{topic}:{p}": Tick(t, wall_ms) for (topic, p), t in moved.items()})
                self._ticked |= moved
            except StoreUnavailable as error:
                log.warning("the clock was not written: %s", error)

    def _assigned(self, partitions: list[Partition]) -> dict[Partition, Begin]:
        """Claims the partitions, ends what their last owners left open, and reads K; R is what the store says."""
        assert self._source is not None
        if not partitions:
            return {}
        self._patiently(lambda: self._topics.check_now(self._store.pin_topics))
        claimed = {p: self._patiently(functools.partial(self._store.claim, *p, self._name)) for p in partitions}
        self._end_of({fence.owner for fences in claimed.values() for fence in fences} - {"", self._name})
        begin = {}
        for partition, offset in self._source.committed(partitions).items():
            owned = self._ownership.take(partition, offset or 0, claimed[partition])
            begin[partition] = Begin(owned.begin, owned.published_to)
            log.info("owns %s[%d]: K=%s R=%s, begins at %d", *partition, offset, owned.folded_to, owned.begin)
        failpoints.reach("claimed")
        return begin

    @property
    def _name(self) -> str:
        """Under which the next owner can end our transaction, should we die with one open."""
        return self._sink.transactional_id if isinstance(self._sink, TransactionalSink) else ""

    def _end_of(self, owners: set[str]) -> None:
        """Else K, and all that readers see, would wait for the time-out of a dead owner's transaction."""
        for owner in sorted(owners):
            if isinstance(self._sink, TransactionalSink):
                log.info("ends what %s may have left open", owner)
                self._sink.end_of(owner)

    def _revoked(self, partitions: list[Partition]) -> None:
        failpoints.reach("revoking")
        if not self._exactly_once:  # else the open transaction is of a generation that ends here: it is aborted
            self._commit_offsets()
        epochs = {p: self._ownership.owned[p].epochs for p in partitions if p in self._ownership.owned}
        self._lost(partitions)
        try:
            for partition, own in epochs.items():
                self._store.release(*partition, own)
        except StoreUnavailable as error:
            log.info("the store does not know that partitions were released in order: %s", error)

    def _lost(self, partitions: list[Partition]) -> None:
        self._ownership.drop(partitions)
        self._commit.abandon()
        self._state.forget()
        if self._ownership.owned:  # by KIP-848 others stay, and what was done for them has been abandoned, too
            self._stale = PartitionsWent(f"{', '.join(f'{t}[{p}]' for t, p in partitions)} went to another worker")

    def _recover(self, conflict: Exception) -> None:
        """Another owner, a store that lost its fences, or a transaction that did not end as it should: forget what is
        cached, read K and R again."""
        assert self._source is not None
        failpoints.reach("recovering")
        self._stale = None
        log.log(
            logging.INFO if isinstance(conflict, (PartitionsWent, Interrupted)) else logging.WARNING,
            "%s; reading K and R again",
            conflict,
        )
        self._state.forget()
        self._state.ids.save_again()
        self._commit.abandon()
        self._ownership.erasures.clear()
        self._ticked.clear()
        while not self._reread(conflict):
            pass  # partitions came or went while the store was away

    def _reread(self, conflict: Exception) -> bool:
        assert self._source is not None
        generation, held = self._ownership.generation, list(self._ownership.owned)
        fences = {}
        for partition in held:
            if self._ownership.generation != generation:
                return False
            fences[partition] = self._own_fences(partition, conflict)
        if self._ownership.generation != generation:
            return False
        committed = self._source.committed(held)
        owned = {p: self._ownership.take(p, committed[p] or 0, fences[p]) for p in held}
        self._source.seek({p: Begin(o.begin, o.published_to) for p, o in owned.items()})
        return True

    def _own_fences(self, partition: Partition, conflict: Exception) -> list[Fence]:
        """The fences of a partition that is ours; claimed again only where the store has lost our claim.

        To claim it in any case would take it from a newer owner that is about to have it.
        """
        own = self._ownership.owned[partition].epochs
        fences = self._patiently(functools.partial(self._store.fences, *partition))
        if max(f.epoch for f in fences) > max(own):
            raise Superseded(f"another worker has taken {partition[0]}[{partition[1]}]; this one stops") from conflict
        if [f.epoch for f in fences] == own:
            return fences
        return self._patiently(functools.partial(self._store.claim, *partition, self._name))

    def _patiently(self, call: Callable[[], T]) -> T:
        """Calls until the store answers; meanwhile polling is paused, so memory does not grow.

        Raises:
            Stopped: the worker is to stop.
        """
        answer: list[T] = []

        def busy() -> bool:
            self._turned = time.monotonic()
            if self._stop.is_set():
                raise Stopped
            try:
                answer.append(call())
            except StoreUnavailable as error:
                self._metrics.store_waits.inc()
                log.warning("waiting for the store: %s", error)
                time.sleep(_RETRY_S)
                return True
            return False

        try:
            return call()
        except StoreUnavailable as error:
            log.warning("waiting for the store: %s", error)
            if self._source is None:
                while busy():
                    pass
            else:
                self._source.pause_while(busy)
            return answer[0]
