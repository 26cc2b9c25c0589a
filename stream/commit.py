"""The commit order, in numbered steps that can be checked against the design.

One micro-batch:

1. decode; what cannot be taken in becomes a dead letter; what was delivered before is dropped
2. load the missing states of touched entities; fold only events at or past R
3. score each touched entity once, after the fold (events at or past K count as touching); at a tick of event time
   also those whose score has aged (stream/rescore.py)
4. write states, latest scores, alert states and the new fence: all of a bucket, or nothing, and only if the fence is
   where we believe it to be
5. produce scores, alerts, demand records and dead letters
6. at each commit interval: commit the offsets, with the transaction or when all that was produced is acknowledged

The fence is asked before anything is produced, so that nothing leaves a worker whose state is not the store's: one
that was replaced, or whose store has lost something or erased an entity (docs/decisions/0012). A crash between 4 and
5 leaves events in the state that are not published: [K, R), which the next worker scores and publishes.

Exactly once, 5 happens inside a Kafka transaction that 6 commits together with the offsets: after a crash between 5 and
6 nothing of it is ever seen. At least once, 6 waits and commits the offsets alone: after a
crash records are published again. The state is exact either way: R keeps an input record from being folded twice, and
the source positions beside it keep a demand record that was published twice from being folded twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from features.store import Entry, Record, Store, Write
from features.store.base import bucket_of
from stream import deadletter, failpoints
from stream.cut import Cutter, Part
from stream.decode import DeadLetter, DecodedBatch, Decoder, RecordLike, item_key
from stream.duplicates import drop_duplicates
from stream.events import SourceOffset
from stream.fold import Folded, State
from stream.metrics import Metrics
from stream.ownership import Ownership, Partition
from stream.provenance import Touch, headers_of
from stream.repartition import demand_of
from stream.rescore import Rescoring
from stream.results import Results, encode
from stream.score import Scoring
from stream.sink import Sink, TransactionalSink
from stream.topology import DEAD_LETTERS, DEMAND

SCORE_TTL_MS = 90 * 86_400_000


class Interrupted(Exception):
    """Partitions came or went in the middle of a micro-batch: K and R must be read again."""


Waiting = Callable[[Callable[[], Any]], Any]


class Commit:
    """Carries micro-batches through the six steps.

    Args:
        state, ownership, scoring, store, sink, metrics: the parts.
        patiently: calls something that needs the store again and again while the store is unavailable.
        grace_ms: how long the store keeps a feature record beyond its TTL.
    """

    def __init__(
        self,
        decoder: Decoder,
        state: State,
        ownership: Ownership,
        scoring: Scoring,
        sink: Sink,
        metrics: Metrics,
        patiently: Waiting,
        grace_ms: int = 86_400_000,
    ) -> None:
        self._grace_ms = grace_ms
        self._decoder, self._state, self._ownership = decoder, state, ownership
        self._scoring, self._sink, self._metrics = scoring, sink, metrics
        self._store: Store = state.store
        self._patiently = patiently
        self._cutter = Cutter(scoring.ageing, ownership)
        self._rescoring = Rescoring(self._cutter, scoring, state, ownership)
        self._uncommitted: dict[Partition, int] = {}
        self._generation = 0

    def process(self, records: Sequence[RecordLike]) -> None:
        """Steps 1 to 5, of all parts of a micro-batch.

        Raises:
            FenceConflict: another worker has a partition, or the store was emptied.
            SinkFailed: the broker refused a record.
        """
        for part in self.parts(records):
            self.take_in(part)

    def parts(self, records: Sequence[RecordLike]) -> Iterator[Part]:
        """A micro-batch, cut where scores have aged; offsets may be committed between its parts. One where none age."""
        now_ms = int(time.time() * 1000)
        return self._cutter.parts(records, lambda some: self._decoder.decode(some, now_ms))  # 1

    def take_in(self, part: Part) -> None:
        """Steps 1 to 5, of one part.

        Raises:
            FenceConflict: another worker has a partition, or the store was emptied.
            SinkFailed: the broker refused a record.
        """
        batch = drop_duplicates(part.batch, self._ownership, self._metrics)
        failpoints.reach("decoded")
        results = Results()
        alerting = self._scoring.alerting(batch, self._ownership, self._state, results)
        passed = None if alerting is None else alerting.passed
        self._generation = self._ownership.generation
        folded = self._steadily(lambda: self._state.fold(batch, self._ownership, passed))  # 2
        failpoints.reach("folded")
        self._scoring.score(batch, folded, self._ownership, self._state, results)  # 3
        due = self._steadily(lambda: self._rescoring.due(part, folded))
        self._rescoring.score(part, due, results)
        failpoints.reach("scored")
        self._write(batch, folded, results, self._rescoring.clocks(part, due))  # 4
        failpoints.reach("written")
        self._produce(batch, results)  # 5
        failpoints.reach("produced")
        self._uncommitted |= batch.next_offsets

    def _steadily(self, call: Callable[[], Any]) -> Any:
        """Calls until the store answers, unless partitions come or go meanwhile: the client is polled while we wait.

        Raises:
            Interrupted: they did; nothing of the micro-batch has been written by this call.
        """

        def unless_interrupted() -> Any:
            if self._ownership.generation != self._generation:
                raise Interrupted("partitions came or went while the store was away")
            return call()

        return self._patiently(unless_interrupted)

    def publish_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Dead letters of reference topics: published with the next commit, and the offsets after them with it."""
        for letter in letters:
            self._sink.produce(DEAD_LETTERS.name, letter.key, letter.value, deadletter.headers_of(letter))
            self._uncommitted[letter.topic, letter.partition] = letter.offset + 1
        self._metrics.published.labels(DEAD_LETTERS.name).inc(len(letters))

    def look_at_fences(self) -> None:
        """A micro-batch without records: writes nothing, and finds out whether the fences are where they were left.

        Raises:
            FenceConflict: another worker has a partition, or the store has lost something.
            StoreUnavailable: no answer.
        """
        self._store.load_all([], self._ownership.guards(self._ownership.owned, range(self._store.buckets)))

    def commit(self, commit_offsets: Callable[[dict[Partition, int]], None]) -> None:
        """Step 6."""
        if self._uncommitted:
            if not isinstance(self._sink, TransactionalSink):
                self._sink.flush()
            offsets = {p: self._never_back(p, offset) for p, offset in self._uncommitted.items()}
            commit_offsets(offsets)
            for partition, offset in offsets.items():
                if partition in self._ownership.owned:  # else of a reference topic
                    self._ownership.owned[partition].published_to = offset
            self._uncommitted.clear()

    def _never_back(self, partition: Partition, offset: int) -> int:
        """K stays where it is while events in [R, K) are folded again."""
        owned = self._ownership.owned.get(partition)
        return offset if owned is None else max(offset, owned.published_to)

    def abandon(self) -> None:
        """Forgets what was not committed: exactly once, nobody will ever see it."""
        self._uncommitted.clear()
        if isinstance(self._sink, TransactionalSink):
            self._sink.abort()

    def _produce(self, batch: DecodedBatch, results: Results) -> None:
        produce, publishable = self._sink.produce, self._ownership.publishable
        counts: dict[str, int] = {}
        if "orders" in batch.topics:
            for partition, offset, record in demand_of(batch.topics["orders"]):
                if publishable("orders", partition, offset):
                    touch = Touch(SourceOffset("orders", partition, offset), offset)
                    headers = headers_of(DEMAND.name, record.event_id, [touch], record.event_time_ms, batch.traces)
                    produce(DEMAND.name, item_key(record).encode(), encode(record), headers)
                    counts[DEMAND.name] = counts.get(DEMAND.name, 0) + 1
        failpoints.reach("half-produced")
        for topic, key, _, value, headers in results.published:
            produce(topic, key.encode(), value, headers)
            counts[topic] = counts.get(topic, 0) + 1
        for letter in batch.dead_letters:
            self._metrics.dead.labels(letter.topic, letter.stage).inc()
            if publishable(letter.topic, letter.partition, letter.offset):
                produce(DEAD_LETTERS.name, letter.key, letter.value, deadletter.headers_of(letter))
                counts[DEAD_LETTERS.name] = counts.get(DEAD_LETTERS.name, 0) + 1
        for topic, n in counts.items():
            self._metrics.published.labels(topic).inc(n)
        self._sink.poll()

    def _write(
        self, batch: DecodedBatch, folded: Folded, results: Results, clocks: Mapping[Partition, Sequence[bytes]]
    ) -> None:
        ids = self._state.ids
        records = [*self._changed(folded), *self._results(results)]
        buckets = [records] if self._store.buckets == 1 else self._spread(records)
        entries: list[list[Entry]] = [[] for _ in buckets]
        for entry in results.entries:
            entries[bucket_of(entry.entity, self._store.buckets)].append(entry)
        self._steadily(self._state.register)
        self._steadily(lambda: self._store.remember_names(ids.pending()))
        ids.saved()
        failpoints.reach("named")
        erasures = self._ownership.erasures
        writes = [
            Write(
                bucket,
                self._ownership.moves(batch.next_offsets, bucket, clocks),
                held,
                erasures.get(bucket),
                entries[bucket],
            )
            for bucket, held in enumerate(buckets)
        ]
        self._steadily(lambda: self._store.commit(writes))
        for write in writes:
            self._ownership.moved(write.fences, write.bucket)

    def _spread(self, records: Sequence[Record]) -> list[list[Record]]:
        buckets: list[list[Record]] = [[] for _ in range(self._store.buckets)]
        for record in records:
            buckets[bucket_of(record.entity, self._store.buckets)].append(record)
        return buckets

    def _changed(self, folded: Folded) -> list[Record]:
        out = []
        for name, keys in folded.changed.items():
            view = self._state.views[name]
            table = self._state.tables[view.entity]
            entities = list(keys)
            blobs = table.pack(name, table.slots_of(entities))
            ttl_ms = view.ttl_ms + min(self._grace_ms, view.ttl_ms)
            out += [Record("f", name, e, blob, ttl_ms) for e, blob in zip(entities, blobs, strict=True)]
        return out

    def _results(self, results: Results) -> list[Record]:
        out = [Record("s", model, key, value, SCORE_TTL_MS) for model, key, value in results.latest]
        out += [Record("a", "supply", k, encode(state), SCORE_TTL_MS) for k, state in results.alerts.items()]
        return out
