"""The whole check: reads the feature log and the events, recomputes, compares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from features.ids import hash64
from models.manifest import Manifest
from stream.ageing import Ageing, ageing_of
from stream.errors import UsageError
from stream.events import FeatureVector
from stream.parity.compare import Report
from stream.parity.events import EventRows, rows_from_kafka, rows_from_log
from stream.parity.joined import products_of
from stream.parity.recompute import limits_of, recompute
from stream.parity.regions import regions_of
from stream.reader import TopicReader
from stream.score import load_models
from stream.settings import Settings
from stream.topology import CONSUMED, FEATURE_LOG

Progress = Callable[[str], None]
_DECODER = msgspec.json.Decoder(FeatureVector)


@dataclass(frozen=True, slots=True)
class Logged:
    """What was logged: vectors, and the keys of entities that have been erased since (`tidecast features forget`)."""

    vectors: list[FeatureVector]
    erased: frozenset[str] = frozenset()


def read_vectors(settings: Settings) -> Logged:
    """All vectors on the topic `feature-log`.

    Raises:
        UsageError: a record is no feature vector.
    """
    reader = TopicReader(settings.kafka, [FEATURE_LOG.name])
    vectors, erased = [], set()
    try:
        for record in reader.read_to_end(600.0):
            if record.value() is None:
                erased.add((record.key() or b"").decode(errors="replace"))
                continue
            try:
                vectors.append(_DECODER.decode(record.value()))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                at = f"{record.topic()}[{record.partition()}] offset {record.offset()}"
                raise UsageError(f"{at} is no feature vector: {error}") from error
    finally:
        reader.close()
    return Logged(vectors, frozenset(erased))


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
    logged: Logged,
    events: Path | None,
    partitions: int | None = None,
    progress: Progress = lambda step: None,
) -> Report:
    """Recomputes logged vectors and says how they compare.

    Args:
        settings: the worker's: its buckets and its horizon of duplicates decide which events counted, and whose scores
            age at which ticks decides as of when they were scored.
        logged: what was logged. Vectors of entities that were erased, and those that another version of the features
            made, cannot be recomputed: they are counted as unchecked.
        events: an event log that was replayed onto empty topics; None: what is on the input topics.
        partitions: of the topics it was replayed to; asked of the broker where None.
        progress: told each step.

    Raises:
        UsageError: the events cannot be read.
    """
    manifests = {name: model.manifest for name, model in load_models(settings.models).items()}
    vectors = [v for v in logged.vectors if v.key not in logged.erased and _is_ours(manifests, v)]
    keys = {(v.entity, v.key) for v in vectors} | {("region", key) for key in regions_of(vectors)}
    products = products_of(vectors)
    known: dict[str, bool] = {}
    progress(f"reading events for {len(vectors):,} vectors")

    def wanted(entity: str, key: str) -> bool:
        if entity != "product" or not products:
            return (entity, key) in keys
        if key not in known:
            known[key] = hash64(key) in products
        return known[key]

    if events is None:
        rows = rows_from_kafka(settings, wanted)
    else:
        rows = rows_from_log(events, partitions or _partitions(settings), settings, wanted)
    report = compare_with(rows, vectors, manifests, progress, logged.erased, ageing_of(manifests, settings))
    report.unchecked = len(logged.vectors) - len(vectors)
    return report


def compare_with(
    rows: EventRows,
    vectors: Sequence[FeatureVector],
    manifests: Mapping[str, Manifest],
    progress: Progress = lambda step: None,
    erased: Collection[str] = (),
    ageing: Ageing | None = None,
) -> Report:
    """Recomputes vectors from rows that have been read, and compares.

    Args:
        rows: of all entities that the vectors are of.
        vectors: logged ones.
        manifests: of the models, by name.
        progress: told each step.
        erased: entities that nothing is missing of.
        ageing: which models' scores age; none where None.
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
        for done in recompute(known, vector, rows, ageing) if known else ():
            report.add(done, vector)
    if vectors and all(v.share >= 1.0 for v in vectors):
        for model in manifests:
            report.unlogged((model, key) for key in _unlogged(model, by_model[model], rows) if key not in erased)
    return report


def _is_ours(manifests: Mapping[str, Manifest], vector: FeatureVector) -> bool:
    """Whether the vector was read in the way that the features are read now."""
    manifest = manifests.get(vector.model)
    return manifest is not None and vector.reads == manifest.reads


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
