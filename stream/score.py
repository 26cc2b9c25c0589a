"""Score: each touched entity once, after the fold; and the alerts that follow from stock-out scores."""

from __future__ import annotations

from features.vectors import contract
from models.manifest import ManifestError
from models.registry import SHIPPED, Model, check_features, load
from stream.alerting import Alerting, as_of_ms
from stream.decode import DecodedBatch
from stream.errors import UsageError
from stream.events import SourceOffset
from stream.featurelog import FeatureLog
from stream.fold import Folded, State
from stream.metrics import Metrics
from stream.ownership import Ownership
from stream.provenance import ID, Touch, headers_of
from stream.reference import Reference
from stream.results import Results
from stream.scorers import NextBestOfferScorer, ReorderScorer, Scorer, StockoutScorer, Touched
from stream.settings import ModelSettings
from stream.topology import CONSUMED, FEATURE_LOG

#: Which scorer runs a model's task.
SCORERS: dict[str, type[Scorer]] = {
    "reorder": ReorderScorer,
    "stockout": StockoutScorer,
    "next-best-offer": NextBestOfferScorer,
}


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
                self._score(scorer, keys, where, batch, ownership, state, results)
        return results

    def _score(
        self,
        scorer: Scorer,
        keys: list[str],
        where: list[list[Touch]],
        batch: DecodedBatch,
        ownership: Ownership,
        state: State,
        results: Results,
    ) -> None:
        name, table = scorer.model.manifest.name, state.tables[scorer.entity]
        slots = table.slots_of(keys)
        sources = [[touch.newest for touch in touches] for touches in where]
        touched = Touched(keys, slots, as_of_ms(table, slots, scorer.views), sources)
        scored, rows = scorer.score(table, touched)
        logged = self._log.vectors(scorer, touched, scored, rows, batch, ownership)
        self._metrics.scores.labels(name).inc(len(scored))
        for i, ((key, record, _), touches) in enumerate(zip(scored, where, strict=True)):
            value = results.keep(name, key, record)
            if any(ownership.publishable(s.topic, s.partition, s.offset) for s in sources[i]):
                headers = headers_of(name, key, touches, record.as_of_ms, batch.traces)
                results.publish(scorer.topic.name, key, record, headers, value)
                if i in logged:
                    results.publish(FEATURE_LOG.name, key, logged[i], ((ID, b"vector:" + headers[0][1]), *headers[1:]))
        if isinstance(scorer, StockoutScorer):
            Alerting(scorer, state.alerts, ownership, batch.traces, results).scored(table, touched, scored, where)


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
