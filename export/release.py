"""A release: model.onnx, manifest.json, card.md and golden.npz in `models/artifacts/<name>/<version>/`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

from export.benchmark import Cost
from export.card import CARDS, card
from export.convert import OPSET, lacked
from export.drift import histograms
from export.errors import UsageError
from export.plots import draw
from export.quantize import Variant
from export.split import date_of
from export.tasks.base import Arrays, Evaluation, Task
from export.verify import Verdict
from export.work import Origin, Work
from features.vectors import contract
from models.manifest import (
    VERSION,
    Fallback,
    Manifest,
    Parity,
    Tensor,
    Training,
    graph_of,
    sha256_of,
    write_manifest,
)
from models.session import Session

GOLDEN_ROWS = 32
#: The version of a model that is not released.
_DRAFT = "0"


def release(
    task: Task,
    work: Work,
    fallback: Fallback,
    data: str,
    licence: str,
    version: str,
    into: Path,
    text: Path | None = None,
) -> Path:
    """Writes the release; replaces an earlier one of the same version.

    Args:
        text: what a person has to say of the model, Markdown for its card; that of the shipped one where None.

    Returns:
        Its directory.

    Raises:
        UsageError: a step is missing, the graph did not pass `verify`, or it is no version.
    """
    if not re.fullmatch(VERSION, version):
        raise UsageError(f"version {version}: give a dotted one, such as 1.0 or 1.0.2, or a variant, such as 1.0+spain")
    arrays, origin = work.dataset()
    evaluation = work.load("metrics.json", "evaluate", Evaluation)
    verdict = work.load("parity.json", "verify", Verdict)
    if verdict.problems:
        raise UsageError(f"{work.path('parity.json')}: the graph has {len(verdict.problems)} problems; not released")
    costs, variants = (
        work.load("cost.json", "benchmark", list[Cost]),
        work.load("variants.json", "quantize", list[Variant]),
    )
    manifest = structs.replace(
        _manifest(task, work, arrays, origin, version),
        training=_training(task, arrays, origin, data, licence),
        metrics=evaluation.metrics,
        calibration=evaluation.calibration,
        parity=verdict.parity,
        fallback=fallback,
        us_per_row={str(cost.rows): cost.us_per_row for cost in costs if not cost.caller},
    )
    directory = into / task.name / version
    _write(work, manifest, directory)
    said = (text or CARDS / f"{task.name}.md").read_text(encoding="utf-8")
    (directory / "card.md").write_text(card(manifest, evaluation, origin, costs, variants, said), encoding="utf-8")
    draw(evaluation.curves, directory)
    _golden(task, arrays, origin, directory)
    return directory


def draft(task: Task, work: Work, directory: Path) -> Path:
    """Writes graph and manifest of a model under way, so that it can be measured as a released one is.

    Returns:
        The directory.
    """
    arrays, origin = work.dataset()
    _write(work, _manifest(task, work, arrays, origin, _DRAFT), directory)
    return directory


def _write(work: Work, manifest: Manifest, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(work.path("model.onnx", "convert"), directory / "model.onnx")
    write_manifest(directory, manifest)


def _manifest(task: Task, work: Work, arrays: Arrays, origin: Origin, version: str) -> Manifest:
    """What is known once there is a graph."""
    network = work.network(task.network())
    heads = task.heads(network, arrays, origin)
    agreed = contract(task.vector, {head.input for head in heads})
    inputs, outputs = graph_of(task.task, Session(work.path("model.onnx", "convert")).inputs, lacked(network))
    fitted = origin.split.fit(arrays["as_of_ms"])
    return Manifest(
        name=task.name,
        version=version,
        task=task.task,
        vector=task.vector,
        features=list(agreed.features),
        reads=agreed.reads,
        inputs=[Tensor(name=name, type=kind) for name, kind in inputs.items()],
        outputs=[Tensor(name=name, type=kind) for name, kind in outputs.items()],
        sha256=sha256_of(work.path("model.onnx", "convert")),
        opset=OPSET,
        baseline=network.baseline,
        training=_training(task, arrays, origin, origin.events, "unknown"),
        metrics=[],
        calibration={},
        parity=Parity(rows=0, max_abs_difference=0.0, max_rel_difference=0.0),
        licence="Apache-2.0",
        reference=histograms(arrays["features"][fitted], agreed.features),
        heads=heads,
    )


def _training(task: Task, arrays: Arrays, origin: Origin, data: str, licence: str) -> Training:
    split = origin.split
    fitted = split.fit(arrays["as_of_ms"])
    first_ms = int(arrays["as_of_ms"][fitted].min()) if fitted.any() else split.first_ms
    return Training(
        data=data,
        licence=licence,
        rows=int(fitted.sum()),
        trained_from=date_of(first_ms),
        trained_until=date_of(split.fit_until_ms - 1),
        tested_from=date_of(split.test_from_ms),
        tested_until=date_of(split.test_until_ms - 1),
        seed=origin.seed,
        simulated=list(task.simulated),
    )


def _golden(task: Task, arrays: Arrays, origin: Origin, directory: Path) -> None:
    """Real inputs and what the released file gives for them, as `in.<name>` and `out.<name>`."""
    inputs = task.inputs(arrays, origin.split, GOLDEN_ROWS, seed=1)
    outputs = Session(directory / "model.onnx").run(inputs, rows=GOLDEN_ROWS, shared=task.shared)
    named: Any = {f"in.{k}": v for k, v in inputs.items()} | {f"out.{k}": v for k, v in outputs.items()}
    np.savez_compressed(directory / "golden.npz", **named)
