"""The registry: released models in `<directory>/<name>/<version>/`, checked against the features they are fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.manifest import (
    OPTIONAL,
    Manifest,
    ManifestError,
    all_versions,
    graph_of,
    read_manifest,
    variant_of,
    versions,
)
from models.session import Session

SHIPPED = Path(__file__).parent / "artifacts"


@dataclass(frozen=True, slots=True)
class Model:
    """A released model, ready to score."""

    manifest: Manifest
    session: Session
    directory: Path


def names(directory: Path) -> list[str]:
    """The models in a registry."""
    return sorted(d.name for d in directory.glob("*") if d.is_dir() and all_versions(directory, d.name))


def holder(directory: Path, name: str) -> Path:
    """The registry that a model is taken from: the shipped one where this has released models, but none of the name."""
    there = names(directory)
    return SHIPPED if there and name not in there else directory


def variants(directory: Path) -> list[str]:
    """The variants that any model in a registry has."""
    of_all = (variant_of(version) for name in names(directory) for version in all_versions(directory, name))
    return sorted({variant for variant in of_all if variant is not None})


def load(directory: Path, name: str, version: str | None = None, variant: str | None = None) -> Model:
    """Loads a model: the version that is named, else the newest one.

    Args:
        directory: the registry.
        name: of the model.
        version: which one; of a variant as well.
        variant: the newest of this one is loaded where no version is named; of a model that has none of it, the newest
            that is no variant.

    Raises:
        ManifestError: no such model or version, or it is broken.
    """
    known, usual = all_versions(directory, name), versions(directory, name)
    if not known:
        raise ManifestError(f"there is no model {name!r} in {directory}; there are {names(directory) or 'none'}")
    if version is not None and version not in known:
        raise ManifestError(f"model {name!r} has no version {version!r} in {directory}; there are {known}")
    newest = [*usual, *(versions(directory, name, variant) if variant else [])]
    if version is None and not newest:
        raise ManifestError(f"model {name!r} has only variants in {directory}, {known}; name one")
    chosen = directory / name / (version or newest[-1])
    manifest = read_manifest(chosen)
    if (manifest.name, manifest.version) != (name, chosen.name):
        raise ManifestError(
            f"{chosen}: its manifest is of model {manifest.name} {manifest.version}; move it to "
            f"{directory / manifest.name / manifest.version}, or release the model again"
        )
    session = Session(chosen / "model.onnx")
    _check_graph(manifest, session)
    return Model(manifest, session, chosen)


def _check_graph(manifest: Manifest, session: Session) -> None:
    inputs, outputs = graph_of(manifest.task, session.inputs)
    for kind, wanted, found in (("inputs", inputs, session.inputs), ("outputs", outputs, session.outputs)):
        if not set(wanted) - OPTIONAL[manifest.task] <= set(found) <= set(wanted):
            raise ManifestError(
                f"model {manifest.name} {manifest.version}: its graph has the {kind} {sorted(found)}, "
                f"but the task {manifest.task!r} has {sorted(wanted)}; convert it again"
            )
    if session.inputs[0] == "features" and isinstance(session.width, int) and session.width != len(manifest.features):
        raise ManifestError(
            f"model {manifest.name} {manifest.version}: its graph takes {session.width} features, but its manifest "
            f"names {len(manifest.features)}: {manifest.features}; convert it again"
        )


def check_features(
    manifest: Manifest,
    features: Sequence[str],
    reads: Mapping[str, str],
    heads: Mapping[str, Sequence[str]],
) -> None:
    """Refuses a model that was trained on other features than it would be fed.

    Args:
        manifest: of the model.
        features: names of the features in column order, as the engine has them.
        reads: `view.aggregation` to its fingerprint, as the engine has them.
        heads: features of the optional parts of graphs that the engine feeds, by the name of their input.

    Raises:
        ManifestError: names the columns and aggregations that do not fit.
    """
    who = f"model {manifest.name} {manifest.version} does not fit its features"
    pairs = [(manifest.features, features)]
    pairs += [(head.features, heads[head.input]) for head in manifest.heads if head.input in heads]
    for wanted, found in pairs:
        if wanted != list(found):
            raise ManifestError(f"{who}: {_difference(wanted, found)}; train and release it again")
    changed = [name for name, fingerprint in manifest.reads.items() if reads.get(name) != fingerprint]
    if changed:
        raise ManifestError(
            f"{who}: {changed} have changed in the feature views since it was trained; train and release it again"
        )


def _difference(wanted: Sequence[str], found: Sequence[str]) -> str:
    gone = [f for f in wanted if f not in found]
    new = [f for f in found if f not in wanted]
    detail = f"it needs {gone}, which are gone" if gone else ""
    detail += ("; " if gone and new else "") + (f"it does not know {new}" if new else "")
    return detail or "the columns are in another order"
