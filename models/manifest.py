"""The model manifest: what a model takes and gives, what it was made from, and how good it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Container
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

#: The graph contract of each task: input and output names with their shapes (n rows; b customers; c candidates;
#: p products that occur in the customers' sequences or rows, each once, and the place of each element among them).
#: Reorder: `customer` and `item` are the row's customer among b, and its product among p. `next_days` is the mean
#: number of days until the product is bought again, `active` the chance that its customer orders within 30 days.
#: Next best offer: products that the customer buys and those of offers are the same where their numbers are; 0 is none.
#: `offer_sold` is what the shop says of each offer's product (`features.vectors.joined`), NaN where that is unknown.
TASKS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "reorder": (
        {
            "features": "float32[n, features]",
            "customer": "int64[n]",
            "item": "int64[n]",
            "words": "int64[p, 8]",
            "place": "int64[b, 16]",
            "age_days": "float32[b, 16]",
        },
        {
            "probability": "float32[n, 3]",
            "contributions": "float32[n, features]",
            "rank": "float32[n]",
            "next_days": "float32[n]",
            "active": "float32[n]",
        },
    ),
    "stockout": (
        {
            "features": "float32[n, features]",
            "lead_time_days": "float32[n]",
            "position": "float32[n]",
            "service_level": "float32[1]",
        },
        {
            "p_stockout": "float32[n]",
            "demand_quantiles": "float32[n, 3]",
            "order_quantity": "float32[n]",
            "contributions": "float32[n, features]",
        },
    ),
    "next_best_offer": (
        {
            "features": "float32[b, features]",
            "words": "int64[p, 8]",
            "place": "int64[b, 32]",
            "age_days": "float32[b, 32]",
            "viewed": "float32[b, 32]",
            "own_product": "int64[b, 32]",
            "own": "float32[b, 32, 8]",
            "offer_words": "int64[c, 8]",
            "offer_numbers": "float32[c, 3]",
            "offer_sold": "float32[c, 6]",
            "offer_product": "int64[c]",
            "eligible": "float32[b, c]",
        },
        {
            "top": "int64[b, 5]",
            "probability": "float32[b, 5]",
            "expected_margin": "float32[b, 5]",
            "sequence_contributions": "float32[b, 5, 32]",
            "other_contributions": "float32[b, 5, 3]",
        },
    ),
}

#: Inputs and outputs that a graph may lack: the engine does without them.
OPTIONAL: dict[str, frozenset[str]] = {
    "reorder": frozenset({"customer", "item", "words", "place", "age_days", "rank", "next_days", "active"}),
    "stockout": frozenset(),
    "next_best_offer": frozenset({"own_product", "own", "offer_product", "offer_sold"}),
}


def tensors_of(task: str, lacks: Container[str] = ()) -> tuple[dict[str, str], dict[str, str]]:
    """The inputs and outputs of a task's graph without those that it lacks, with their shapes.

    >>> list(tensors_of("reorder", lacks={"rank"})[1])
    ['probability', 'contributions', 'next_days', 'active']
    """
    inputs, outputs = TASKS[task]
    return {n: t for n, t in inputs.items() if n not in lacks}, {n: t for n, t in outputs.items() if n not in lacks}


#: Parts that a graph may have beside that, each whole or not at all: rows of their own (h hours of items, d days of
#: items; s items as a worker knows them), of which a caller that has none sends none. A row that is all NaN has NaN
#: for outputs, and contributions of 0.
ROWS_APART: dict[str, list[tuple[dict[str, str], dict[str, str]]]] = {
    "stockout": [
        (
            {"hours": "float32[h, hours]", "days": "float32[d, days]"},
            {
                "lost_sales": "float32[n]",
                "hazards": "float32[h, 4]",
                "hours_contributions": "float32[h, hours]",
                "next_day": "float32[d, 3]",
                "days_contributions": "float32[d, days]",
            },
        ),
        (
            {"shelf": "float32[s, shelf]"},
            {"shelf_hazards": "float32[s, 4]", "shelf_contributions": "float32[s, shelf]"},
        ),
    ],
}


def graph_of(task: str, names: Collection[str], lacks: Container[str] = ()) -> tuple[dict[str, str], dict[str, str]]:
    """The graph contract of a task, with those optional parts of which `names`, of inputs or outputs, hold some.

    >>> list(graph_of("stockout", ["features"])[1])
    ['p_stockout', 'demand_quantiles', 'order_quantity', 'contributions']
    >>> list(graph_of("stockout", ["features", "shelf"])[0])
    ['features', 'lead_time_days', 'position', 'service_level', 'shelf']
    """
    inputs, outputs = tensors_of(task, lacks)
    for more, also in ROWS_APART.get(task, ()):
        if {*more, *also} & set(names):
            inputs, outputs = inputs | more, outputs | also
    return inputs, outputs


#: What counts as a release; other folders, such as drafts, are passed over.
VERSION = r"^\d+(\.\d+)*(\+[a-z][a-z0-9-]*)?$"
_VERSION = re.compile(VERSION)


class ManifestError(Exception):
    """A manifest or its model is missing, broken or not what it says. The message says what to do."""


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output of the graph; a shape as in `TASKS`."""

    name: str
    type: str


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A figure on the test period, with baselines on the same rows."""

    name: str
    value: float
    baselines: dict[str, float] = {}
    ci95: tuple[float, float] | None = None


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """Where the model comes from."""

    data: str
    licence: str
    rows: int
    trained_from: str
    trained_until: str
    tested_from: str
    tested_until: str
    seed: int
    simulated: list[str] = []


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """torch against onnxruntime on real rows."""

    rows: int
    max_abs_difference: float
    max_rel_difference: float


class Popular(msgspec.Struct, frozen=True):
    """A product with its share of the training period's orders."""

    sku: str
    share: Annotated[float, Meta(ge=0, le=1)]


class Fallback(msgspec.Struct, frozen=True):
    """Data for entities that the model cannot score.

    Args:
        popular: the most ordered products, most popular first.
    """

    popular: list[Popular] = []


class Histogram(msgspec.Struct, frozen=True):
    """How a feature was spread in training.

    Args:
        edges: between the bins, rising; the first bin is all below the first edge, the last all from the last on.
        shares: of the known values in each bin, one more than edges; empty where none was known.
        unknown: share of rows where it was unknown.
    """

    edges: list[float]
    shares: list[float]
    unknown: float


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """An optional part of the graph, with rows and features of its own.

    Args:
        input: its name.
        output: what it tells.
        features: names in column order.
        baseline: contributions add up from here.
    """

    input: str
    output: str
    features: list[str]
    baseline: float


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json` beside `model.onnx`.

    Args:
        name: `reorder`, `stockout` or `next-best-offer`: what scores carry as `model`.
        version: dotted; newer sorts later. A variant is told behind a plus: `0.10.0+households`.
        task: a key of `TASKS`.
        vector: the feature vector it reads.
        features: names of the numeric features in column order.
        reads: what it reads, as view.aggregation, with a fingerprint of how that was kept and read in training.
        sha256: of model.onnx.
        baseline: the score's expectation in log-odds or log-units; contributions add up from here.
        fallback: data for entities that the model cannot score.
        us_per_row: CPU time of a row on one core of the machine that released it, by the number of rows of a call.
        reference: how each feature was spread in training, to tell drift by.
        heads: the optional parts of the graph.
        rescore_after_days: age at which a score is renewed though no event came; None: never.
    """

    name: Annotated[str, Meta(min_length=1)]
    version: Annotated[str, Meta(pattern=VERSION)]
    task: Literal["reorder", "stockout", "next_best_offer"]
    vector: str
    features: list[str]
    reads: dict[str, str]
    inputs: list[Tensor]
    outputs: list[Tensor]
    sha256: str
    opset: int
    baseline: float
    training: Training
    metrics: list[Metric]
    calibration: dict[str, float]
    parity: Parity
    licence: str
    fallback: Fallback = Fallback()
    us_per_row: dict[str, float] = {}
    reference: dict[str, Histogram] = {}
    heads: list[Head] = []
    rescore_after_days: Annotated[float, Meta(gt=0, lt=100_000)] | None = None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def variant_of(version: str) -> str | None:
    """What a version is a variant for: build metadata, as Semantic Versioning calls it.

    >>> variant_of("0.10.0+households"), variant_of("0.10.0")
    ('households', None)
    """
    return version.partition("+")[2] or None


def _order(version: str) -> tuple[tuple[int, ...], str]:
    number, _, variant = version.partition("+")
    return tuple(int(part) for part in number.split(".")), variant


def all_versions(directory: Path, name: str) -> list[str]:
    """Released versions of a model and of its variants, oldest first."""
    found = [
        d.name for d in (directory / name).glob("*") if _VERSION.fullmatch(d.name) and (d / "manifest.json").exists()
    ]
    return sorted(found, key=_order)


def versions(directory: Path, name: str, variant: str | None = None) -> list[str]:
    """Released versions of a model that are no variant, or those of one variant, oldest first."""
    return [version for version in all_versions(directory, name) if variant_of(version) == variant]


def read_manifest(directory: Path) -> Manifest:
    """Reads and checks `manifest.json` and the hash of `model.onnx`.

    Raises:
        ManifestError: missing, not valid, or the model file is another one.
    """
    path = directory / "manifest.json"
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        found = sha256_of(directory / "model.onnx")
    except FileNotFoundError as error:
        raise ManifestError(f"{directory}: {Path(error.filename).name} is missing; release the model again") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: {error}; release the model again") from error
    if found != manifest.sha256:
        raise ManifestError(
            f"{directory}: model.onnx is not the file that the manifest describes (sha256 {found[:12]}…, "
            f"expected {manifest.sha256[:12]}…); release the model again"
        )
    return manifest


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Writes `manifest.json`, indented for people."""
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (directory / "manifest.json").write_bytes(encoded + b"\n")
