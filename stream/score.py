"""Score: each touched entity once, after the fold; and the alerts that follow from stock-out scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from features.aggregations.base import Slots, Times
from features.table import EntityTable
from features.vectors import contract
from models.manifest import ManifestError
from models.registry import SHIPPED, Model, check_features, load
from stream.alerts import AlertState, advance, restate
from stream.decode import DecodedBatch
from stream.errors import UsageError
from stream.events import SourceOffset, StockoutScore
from stream.featurelog import FeatureLog
from stream.fold import Folded, State
from stream.metrics import Metrics
from stream.ownership import Ownership
from stream.reference import Reference
from stream.scorers import NextBestOfferScorer, ReorderScorer, Scorer, StockoutScorer, Touched
from stream.settings import ModelSettings
from stream.topology import CONSUMED, FEATURE_LOG, SUPPLY_ALERTS

#: Which scorer runs a model's task.
SCORERS: dict[str, type[Scorer]] = {
    "reorder": ReorderScorer,
    "stockout": StockoutScorer,
    "next-best-offer": NextBestOfferScorer,
}


@dataclass(slots=True)
class Results:
    """What a micro-batch publishes and keeps.

    Args:
        published: (topic, key, record), in order: what unpublished records (at or past K) touched.
        latest: (model, entity, record): the newest score of each entity, for the widgets.
        alerts: item to its changed alert state.
    """

    published: list[tuple[str, str, Any]] = field(default_factory=list)
    latest: list[tuple[str, str, Any]] = field(default_factory=list)
    alerts: dict[str, AlertState] = field(default_factory=dict)

    def add(self, scorer: Scorer, key: str, record: Any, new: bool) -> None:
        """Notes a score; it is published if it is new."""
        self.latest.append((scorer.model.manifest.name, key, record))
        if new:
            self.published.append((scorer.topic.name, key, record))


def load_models(settings: ModelSettings) -> dict[str, Model]:
    """The models that the topology names, checked against the features that the engine has.

    Raises:
        UsageError: a model is missing, broken, or does not fit its features.
    """
    directory = settings.directory or SHIPPED
    models = {}
    try:
        for name in SCORERS:
            model = load(directory, name, settings.versions.get(name))
            wanted = contract(model.manifest.vector)
            check_features(model.manifest, wanted.features, wanted.reads)
            models[name] = model
    except ManifestError as error:
        raise UsageError(f"{error} (see `tidecast models list`)") from error
    return models


class Scoring:
    """Runs the scorers over what a micro-batch touched."""

    def __init__(
        self,
        models: dict[str, Model],
        reference: Reference,
        settings: ModelSettings,
        metrics: Metrics,
        log: FeatureLog | None = None,
    ) -> None:
        self._log = FeatureLog(0.0) if log is None else log
        self.scorers = {name: SCORERS[name](model, reference, settings) for name, model in models.items()}
        self._metrics = metrics

    def score(self, batch: DecodedBatch, folded: Folded, ownership: Ownership, state: State) -> Results:
        """Scores and alerts of all touched entities.

        Those that only published records touched (before K: the store had lost them) are kept, not published again.
        """
        results = Results()
        sources = {topic: _sources(topic, folded) for topic in batch.topics}
        for name, scorer in self.scorers.items():
            touching = [t.name for t in CONSUMED if name in t.models and t.name in sources]
            keys = list(dict.fromkeys(key for topic in touching for key in sources[topic]))
            if not keys:
                continue
            table = state.tables[scorer.entity]
            slots = table.slots_of(keys)
            where = [[sources[topic][key] for topic in touching if key in sources[topic]] for key in keys]
            touched = Touched(keys, slots, _as_of(table, slots, scorer), where)
            scored, rows = scorer.score(table, touched)
            logged = self._log.vectors(scorer, touched, scored, rows, batch, ownership)
            self._metrics.scores.labels(name).inc(len(scored))
            unsure = {key for t in touching for feed in folded.feeds[t] for key in ownership.unsure(t, feed)}
            for i, ((key, record, _), source) in enumerate(zip(scored, where, strict=True)):
                new = any(ownership.publishable(s.topic, s.partition, s.offset) for s in source)
                results.add(scorer, key, record, new)
                if new and i in logged:
                    results.published.append((FEATURE_LOG.name, key, logged[i]))
                if isinstance(record, StockoutScore):
                    _alert(key, record, state, results, new, key in unsure)
        return results


def _as_of(table: EntityTable, slots: Slots, scorer: Scorer) -> Times:
    """The newest event time in the views that the model reads.

    Those alone: how records of other topics came in between is not the same in every run, and must not show in a score.
    """
    times = [table.records[view]["event_time_ms"][slots] for view in scorer.views]
    return np.asarray(np.maximum.reduce(times))


def _alert(item: str, score: StockoutScore, state: State, results: Results, new: bool, unsure: bool) -> None:
    after, alert = advance(state.alert(item), score)
    if alert is not None:
        state.alerts[item] = results.alerts[item] = after
    elif unsure:  # a crash between steps 5 and 6: the state knows of the alert, the topic may not
        alert = restate(after, score)
    if alert is not None and (new or unsure):
        results.published.append((SUPPLY_ALERTS.name, item, alert))


def _sources(topic: str, folded: Folded) -> dict[str, SourceOffset]:
    """The newest record of the micro-batch that touched each entity."""
    newest: dict[str, SourceOffset] = {}
    for feed in folded.feeds[topic]:
        if feed.rows.stream != "order_lines":  # its order event says the same
            last = dict(zip(feed.rows.entities, range(len(feed.rows)), strict=True))
            partition, offset = feed.partition.tolist(), feed.offset.tolist()
            newest |= {key: SourceOffset(topic, partition[i], offset[i]) for key, i in last.items()}
    return newest
