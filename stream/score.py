"""Score: each touched entity once, after the fold; and the alerts that follow from stock-out scores."""

from __future__ import annotations

import logging
from typing import NamedTuple

from features.aggregations.base import Times
from features.store import Entry
from features.store.base import bucket_of
from features.vectors import contract
from models.manifest import ManifestError
from models.registry import SHIPPED, Model, check_features, holder, load, names, variants
from stream.ageing import Ageing, index_of, rank_of
from stream.alerting import Alerting, as_of_ms
from stream.decode import DecodedBatch
from stream.errors import UsageError
from stream.events import SourceOffset
from stream.featurelog import FeatureLog
from stream.fold import Folded, State
from stream.joins import Joins
from stream.metrics import Metrics
from stream.ownership import Ownership
from stream.provenance import ID, Touch, headers_of
from stream.reference import Reference
from stream.results import Results
from stream.scorers import NextBestOfferScorer, ReorderScorer, Scorer, StockoutScorer, Touched
from stream.settings import ModelSettings
from stream.topology import CONSUMED, FEATURE_LOG

log = logging.getLogger(__name__)

#: Which scorer runs a model's task.
SCORERS: dict[str, type[Scorer]] = {
    "reorder": ReorderScorer,
    "stockout": StockoutScorer,
    "next-best-offer": NextBestOfferScorer,
}


def load_models(settings: ModelSettings) -> dict[str, Model]:
    """The models that the topology names, checked against the features that the engine has.

    A registry with released models that has none of a name leaves it to the shipped one, and that is logged: who
    releases a model of their own into a registry of their own need not copy the others.

    Raises:
        UsageError: a model is missing, broken, or does not fit its features, or none has the variant.
    """
    directory = settings.directory or SHIPPED
    if settings.variant is not None and settings.variant not in variants(directory):
        raise UsageError(
            f"models.variant {settings.variant}: no model in {directory} has it; there are "
            f"{variants(directory) or 'none'} (see `tidecast models list`)"
        )
    models = {}
    try:
        for name in SCORERS:
            found = holder(directory, name)
            if found != directory:
                log.warning("%s has no model %r, it has %s: the shipped one scores", directory, name, names(directory))
            model = load(found, name, settings.versions.get(name), settings.variant)
            wanted = contract(model.manifest.vector)
            check_features(model.manifest, wanted.features, wanted.reads, wanted.heads)
            models[name] = model
    except ManifestError as error:
        raise UsageError(f"{error} (see `tidecast models list`)") from error
    return models


class Aged(NamedTuple):
    """Entities that are scored since time has passed: as of when, int64 of shape (n,), and the marks of their ranks."""

    as_of_ms: Times
    marks: list[int]


class Scoring:
    """Runs the scorers over what a micro-batch touched.

    Args:
        ageing: which models' scores age.
        joins: reads the views of products; None: nothing is known of them.
    """

    def __init__(
        self,
        models: dict[str, Model],
        reference: Reference,
        settings: ModelSettings,
        metrics: Metrics,
        log: FeatureLog | None = None,
        ageing: Ageing | None = None,
        joins: Joins | None = None,
    ) -> None:
        self.ageing = Ageing() if ageing is None else ageing
        self._log = FeatureLog(0.0) if log is None else log
        self.scorers = {name: SCORERS[name](model, reference, settings, joins) for name, model in models.items()}
        self._metrics = metrics

    def alerting(self, batch: DecodedBatch, ownership: Ownership, state: State, results: Results) -> Alerting | None:
        """Looks at alerts in a micro-batch; None where no model tells of risks."""
        for scorer in self.scorers.values():
            if isinstance(scorer, StockoutScorer):
                return Alerting(scorer, state.alerts, ownership, batch.traces, results)
        return None

    def score(
        self, batch: DecodedBatch, folded: Folded, ownership: Ownership, state: State, results: Results | None = None
    ) -> Results:
        """Scores and alerts of all touched entities.

        Those that only published records touched (before K: the store had lost them) are kept, not published again.

        Args:
            results: what there is already of this micro-batch.
        """
        results = Results() if results is None else results
        touches = {topic: _touches(topic, folded) for topic in batch.topics}
        for name, scorer in self.scorers.items():
            touching = [t.name for t in CONSUMED if name in t.models and t.name in touches]
            keys = list(dict.fromkeys(key for topic in touching for key in touches[topic]))
            if keys:
                where = [[touches[topic][key] for topic in touching if key in touches[topic]] for key in keys]
                self.score_entities(scorer, keys, where, batch, ownership, state, results)
        return results

    def score_entities(
        self,
        scorer: Scorer,
        keys: list[str],
        where: list[list[Touch]],
        batch: DecodedBatch,
        ownership: Ownership,
        state: State,
        results: Results,
        aged: Aged | None = None,
    ) -> None:
        """Scores and alerts of some entities of one model, all of them in memory.

        Args:
            where: the records that touched each entity.
            aged: they are scored since time has passed, as of then and not as of their newest event.
        """
        name, table = scorer.model.manifest.name, state.tables[scorer.entity]
        slots = table.slots_of(keys)
        sources = [[touch.newest for touch in touches] for touches in where]
        as_of = as_of_ms(table, slots, scorer.views) if aged is None else aged.as_of_ms
        touched = Touched(keys, slots, as_of, sources)
        scored, rows = scorer.score(table, touched)
        logged = self._log.vectors(scorer, touched, scored, rows, batch, ownership)
        self._metrics.scores.labels(name).inc(len(scored))
        if aged is not None:
            self._metrics.rescored.labels(name).inc(len(scored))
        # The trace of a record that only let time pass says nothing of an entity.
        traces = batch.traces if aged is None else {}
        for i, ((key, record, _), touches) in enumerate(zip(scored, where, strict=True)):
            value = None
            if self._newer_than_store(name, key, sources[i], ownership):
                value = results.keep(name, key, record)
                if name in self.ageing.after_ms:
                    rank = rank_of(record.as_of_ms, 0 if aged is None else aged.marks[i])
                    results.entries.append(Entry(index_of(name, sources[i][-1].partition), key, rank))
            if any(ownership.publishable(s.topic, s.partition, s.offset) for s in sources[i]):
                headers = headers_of(name, key, touches, record.as_of_ms, traces)
                results.publish(scorer.topic.name, key, record, headers, value)
                if i in logged:
                    results.publish(FEATURE_LOG.name, key, logged[i], ((ID, b"vector:" + headers[0][1]), *headers[1:]))
        if isinstance(scorer, StockoutScorer):
            Alerting(scorer, state.alerts, ownership, traces, results).scored(table, touched, scored, where)

    def _newer_than_store(self, model: str, key: str, sources: list[SourceOffset], ownership: Ownership) -> bool:
        """Whether the score may be newer than the one that the store has.

        Where scores age, the store's may be as of a tick after the records that come again: it stays.
        """
        if model not in self.ageing.after_ms:
            return True
        bucket = bucket_of(key, ownership.buckets)
        return not all(ownership.in_state(source, bucket) for source in sources)


def _touches(topic: str, folded: Folded) -> dict[str, Touch]:
    """The records of the micro-batch that touched each entity: the newest, and where the first was."""
    found: dict[str, Touch] = {}
    for feed in folded.feeds[topic]:
        if feed.rows.stream != "order_lines":  # its order event says the same
            entities, n = feed.rows.entities, len(feed.rows)
            last = dict(zip(entities, range(n), strict=True))
            first = dict(zip(reversed(entities), range(n - 1, -1, -1), strict=True))
            partition, offset = feed.partition.tolist(), feed.offset.tolist()
            found |= {
                key: Touch(SourceOffset(topic, partition[i], offset[i]), offset[first[key]]) for key, i in last.items()
            }
    return found
