"""The registry: released models in `<directory>/<name>/<version>/`, checked against the features they are fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.manifest import OPTIONAL, Manifest, ManifestError, graph_of, read_manifest, versions
from models.session import Session

SHIPPED = Path(__file__).parent / "artifacts"
#: Registries within the shipped one: of the models that are made for another kind of shop than a wholesaler.
SHOPS = ("households",)


@dataclass(frozen=True, slots=True)
class Model:
    """A released model, ready to score."""

    manifest: Manifest
    session: Session
    directory: Path


def names(directory: Path) -> list[str]:
    """The models in a registry."""
    return sorted(d.name for d in directory.glob("*") if d.is_dir() and versions(directory, d.name))


def shipped(name: str, shop: str) -> Path:
    """The registry that a shipped model for a kind of shop is in; that of the wholesaler where there is none for it.

    >>> [shipped(name, "households").name for name in ("reorder", "stockout")]
    ['households', 'artifacts']
    """
    of_shop = SHIPPED / shop
    return of_shop if shop in SHOPS and versions(of_shop, name) else SHIPPED


def load(directory: Path, name: str, version: str | None = None) -> Model:
    """Loads a model: the newest version, or the one that is named.

    Raises:
        ManifestError: no such model or version, or it is broken.
    """
    known = versions(directory, name)
    if not known:
        raise ManifestError(f"there is no model {name!r} in {directory}; there are {names(directory) or 'none'}")
    if version is not None and version not in known:
        raise ManifestError(f"model {name!r} has no version {version!r} in {directory}; there are {known}")
    chosen = directory / name / (version or known[-1])
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
