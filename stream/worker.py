"""The worker: the loop around the commit steps, its partitions, and its end."""

from __future__ import annotations

import gc
import logging
import time
import uuid
from collections.abc import Sequence

from features.store import FenceConflict, Record, Store, StoreUnavailable, Write
from features.store.base import bucket_of
from models.registry import Model
from stream import failpoints
from stream.ageing import ageing_of
from stream.chores import Chore
from stream.commit import SCORE_TTL_MS, Commit, Interrupted
from stream.decode import DeadLetter, Decoder, RecordLike
from stream.featurelog import FeatureLog
from stream.fold import State
from stream.joins import Joins
from stream.metrics import Metrics
from stream.ownership import Ownership, Partition
from stream.patience import Patience, Stopped
from stream.reference import Reference
from stream.referencefeed import PUBLISHER, ReferenceFeed
from stream.score import Scoring
from stream.settings import Settings
from stream.sink import Sink, TransactionalSink, TransactionFailed
from stream.source import Begin, CommitRefused, Source
from stream.tenure import Tenure
from stream.ticks import Ticks
from stream.topicwatch import TopicWatch
from stream.topology import CONSUMED
from stream.warmup import warm_up

log = logging.getLogger(__name__)

_REFERENCE_EVERY_S = 0.5
_FENCES_EVERY_S = 1.0
_TOPICS_EVERY_S = 5.0
_STUCK_S = 60.0
#: How often what was done is committed: others see it only then where it is exactly once.
_EXACTLY_ONCE_MS, _AT_LEAST_ONCE_MS = 100, 1_000


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
        self._patiently = Patience(metrics)
        worker = settings.worker
        self._state = State(store, worker.max_entities, metrics, worker.late_after_ms)
        self._ownership = Ownership(store.buckets, worker.duplicate_horizon)
        reference = Reference(self._state.ids)
        self._feed = ReferenceFeed(settings.kafka, reference, metrics)
        self._exactly_once = settings.worker.delivery == "exactly_once"
        self._sink = self._make_sink()
        self._joins = Joins(store, self._state.ids, settings.features, metrics)
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
                self._joins,
            ),
            self._sink,
            metrics,
            self._patiently,
            int(settings.store.expiry_grace_s * 1000),
        )
        self._ticks = Ticks(store, self._state.watermarks, self._ownership)
        topics = TopicWatch(settings.kafka, [t.name for t in CONSUMED])
        self._tenure = Tenure(store, self._ownership, self._sink, topics, self._patiently)
        #: Why K and R must be read again before the next micro-batch.
        self._stale: Exception | None = None

    def _make_sink(self) -> Sink:
        kafka = self._settings.kafka
        if not self._exactly_once:
            return Sink(kafka)
        # A worker with a name of its own ends at once what it left open when it died; others wait for the time-out.
        own = kafka.group_instance_id or uuid.uuid4().hex
        return TransactionalSink(kafka, f"{kafka.group_id}-{own}")

    @property
    def _source(self) -> Source:
        assert self._patiently.source is not None, "it runs"
        return self._patiently.source

    @property
    def _commit_every_s(self) -> float:
        given = self._settings.worker.commit_interval_ms
        return (given or (_EXACTLY_ONCE_MS if self._exactly_once else _AT_LEAST_ONCE_MS)) / 1000

    def stop(self) -> None:
        """Asks the worker to finish the micro-batch at hand, commit and leave the group."""
        self._patiently.stop.set()

    def healthy(self) -> bool:
        """Whether the loop has turned lately; a worker that waits for its store is well, one that hangs is not."""
        return self._patiently.since_turned_s < _STUCK_S

    def hung(self) -> bool:
        """Whether the loop has not turned for so long that it never will."""
        return self._patiently.since_turned_s > self._settings.worker.hung_after_s

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
        self._patiently.source = source
        worker = self._settings.worker
        chores = (
            Chore(self._commit_every_s, self._commit_offsets),
            Chore(_REFERENCE_EVERY_S, self._read_reference),
            Chore(_FENCES_EVERY_S, self._look_at_fences),
            Chore(_TOPICS_EVERY_S, self._tenure.check_topics),
        )
        try:
            # The group forms in the background meanwhile.
            warm_up()
            self._feed.read_all()
            _spare_the_collector()
            while not self._patiently.stop.is_set():
                self._patiently.turn()
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
                self._patiently.turn()
                between.turn()  # a backlog of ticks may be long, and a transaction must not be
                if self._patiently.stop.is_set():
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
        try:
            self._commit.commit(self._commit_transaction if self._exactly_once else self._source.commit)
            self._ticks.write()
            return True
        except CommitRefused as error:
            # Kept for the next interval, so that a quiet partition does not stay behind; a revoke forgets them.
            log.warning("offsets were not committed, trying again: %s", error)
        return False

    def _commit_transaction(self, offsets: dict[Partition, int]) -> None:
        assert isinstance(self._sink, TransactionalSink)
        self._sink.commit(offsets, self._source.group_metadata)

    def _assigned(self, partitions: list[Partition]) -> dict[Partition, Begin]:
        begin = self._tenure.claim(partitions, self._source)
        failpoints.reach("claimed")
        return begin

    def _revoked(self, partitions: list[Partition]) -> None:
        failpoints.reach("revoking")
        if not self._exactly_once:  # else the open transaction is of a generation that ends here: it is aborted
            self._commit_offsets()
        epochs = self._tenure.epochs(partitions)
        self._lost(partitions)
        self._tenure.release(epochs)

    def _lost(self, partitions: list[Partition]) -> None:
        self._ownership.drop(partitions)
        self._commit.abandon()
        self._forget()
        if self._ownership.owned:  # by KIP-848 others stay, and what was done for them has been abandoned, too
            self._stale = PartitionsWent(f"{', '.join(f'{t}[{p}]' for t, p in partitions)} went to another worker")

    def _forget(self) -> None:
        self._state.forget()
        self._joins.forget()

    def _recover(self, conflict: Exception) -> None:
        """Another owner, a store that lost its fences, or a transaction that did not end as it should: forget what is
        cached, read K and R again."""
        failpoints.reach("recovering")
        self._stale = None
        log.log(
            logging.INFO if isinstance(conflict, (PartitionsWent, Interrupted)) else logging.WARNING,
            "%s; reading K and R again",
            conflict,
        )
        self._forget()
        self._state.ids.save_again()
        self._commit.abandon()
        self._ownership.erasures.clear()
        self._ticks.forget()
        self._tenure.reread(self._source, conflict)
