"""The whole check: reads the feature log and the events, recomputes, compares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from models.manifest import Manifest
from stream.errors import UsageError
from stream.events import FeatureVector
from stream.parity.compare import Report
from stream.parity.events import EventRows, rows_from_kafka, rows_from_log
from stream.parity.recompute import limits_of, recompute
from stream.score import load_models
from stream.settings import Settings
from stream.source import TopicReader
from stream.topology import CONSUMED, FEATURE_LOG

Progress = Callable[[str], None]
_DECODER = msgspec.json.Decoder(FeatureVector)


def read_vectors(settings: Settings) -> Iterator[FeatureVector]:
    """All vectors on the topic `feature-log`; tombstones are passed over."""
    reader = TopicReader(settings.kafka, [FEATURE_LOG.name])
    try:
        for record in reader.read_to_end(600.0):
            if record.value() is not None:
                yield _DECODER.decode(record.value())
    finally:
        reader.close()


def vectors_in(path: Path) -> Iterator[FeatureVector]:
    """The vectors of a file with one record a line.

    Raises:
        UsageError: a line is no feature vector.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield _DECODER.decode(line)
                except msgspec.DecodeError as error:
                    raise UsageError(f"{path}: line {number} is no feature vector: {error}") from error


def check(
    settings: Settings,
    vectors: list[FeatureVector],
    events: Path | None,
    partitions: int | None = None,
    progress: Progress = lambda step: None,
) -> Report:
    """Recomputes logged vectors and says how they compare.

    Args:
        settings: the worker's: its buckets and its horizon of duplicates decide which events counted.
        vectors: what was logged.
        events: an event log that was replayed onto empty topics; None: what is on the input topics.
        partitions: of the topics it was replayed to; asked of the broker where None.
        progress: told each step.

    Raises:
        UsageError: the vectors are of a model or of features that are not these.
    """
    manifests = {name: model.manifest for name, model in load_models(settings.models).items()}
    _check_reads(manifests, vectors)
    keys = {(v.entity, v.key) for v in vectors}
    progress(f"reading events for {len(vectors):,} vectors")

    def wanted(entity: str, key: str) -> bool:
        return (entity, key) in keys

    if events is None:
        rows = rows_from_kafka(settings, wanted)
    else:
        rows = rows_from_log(events, partitions or _partitions(settings), settings, wanted)
    return compare_with(rows, vectors, manifests, progress)


def compare_with(
    rows: EventRows,
    vectors: Sequence[FeatureVector],
    manifests: Mapping[str, Manifest],
    progress: Progress = lambda step: None,
) -> Report:
    """Recomputes vectors from rows that have been read, and compares.

    Args:
        rows: of all entities that the vectors are of.
        vectors: logged ones.
        manifests: of the models, by name.
        progress: told each step.
    """
    report = Report()
    by_model: dict[str, list[FeatureVector]] = defaultdict(list)
    for v in vectors:
        by_model[v.model].append(v)
    for model, logged in sorted(by_model.items()):
        progress(f"recomputing {len(logged):,} vectors of {model} from {rows.events:,} events")
        vector = manifests[model].vector
        known = [v for v in logged if _known(v, rows)]
        report.unaccounted(len(logged) - len(known))
        for done in recompute(known, vector, rows) if known else ():
            report.add(done, vector)
    if vectors and all(v.share >= 1.0 for v in vectors):
        for model in manifests:
            report.unlogged((model, key) for key in _unlogged(model, by_model[model], rows))
    return report


def _check_reads(manifests: Mapping[str, Manifest], vectors: Sequence[FeatureVector]) -> None:
    for v in vectors:
        if v.model not in manifests:
            raise UsageError(f"a vector is of model {v.model!r}; the registry has {sorted(manifests)}")
        reads = manifests[v.model].reads
        if v.reads != reads:
            changed = sorted(name for name in v.reads.keys() | reads.keys() if v.reads.get(name) != reads.get(name))
            raise UsageError(
                f"vectors of {v.model} {v.version} read {changed} in another way than the views do now; "
                "check them with the version that made them"
            )


def _partitions(settings: Settings) -> int:
    reader = TopicReader(settings.kafka, [CONSUMED[0].name])
    try:
        return len(reader.positions)
    finally:
        reader.close()


def _known(vector: FeatureVector, rows: EventRows) -> bool:
    """Whether the events have anything of the entity on a topic that touches the model's scores."""
    return any((topic, vector.key) in rows.last for topic in _touching(vector.model))


def _touching(model: str) -> list[str]:
    return [topic.name for topic in CONSUMED if model in topic.models]


def _unlogged(model: str, logged: list[FeatureVector], rows: EventRows) -> Iterator[str]:
    """Entities with an event that is in none of their vectors."""
    reached: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for v in logged:
        for part in v.reflects:
            of_key = reached[part.topic, v.key]
            for partition, newest in limits_of(part).items():
                of_key[partition] = max(of_key.get(partition, -1), newest)
    missing = {
        key
        for topic in _touching(model)
        for (of, key), places in rows.last.items()
        if of == topic and any(reached[topic, key].get(p, -1) < newest for p, newest in places.items())
    }
    yield from sorted(missing)
