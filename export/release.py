"""A release: model.onnx, manifest.json, card.md and golden.npz in `models/artifacts/<name>/<version>/`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from export.benchmark import Cost
from export.card import card
from export.convert import OPSET, lacked
from export.errors import UsageError
from export.quantize import Variant
from export.split import date_of
from export.tasks.base import Arrays, Evaluation, Task
from export.verify import Verdict
from export.work import Origin, Work
from features.vectors import contract
from models.manifest import Fallback, Manifest, Tensor, Training, sha256_of, tensors_of, write_manifest
from models.session import Session

GOLDEN_ROWS = 32


def release(task: Task, work: Work, fallback: Fallback, data: str, licence: str, version: str, into: Path) -> Path:
    """Writes the release; replaces an earlier one of the same version.

    Returns:
        Its directory.

    Raises:
        UsageError: a step is missing, or the graph did not pass `verify`.
    """
    arrays, origin = work.dataset()
    evaluation = work.load("metrics.json", "evaluate", Evaluation)
    verdict = work.load("parity.json", "verify", Verdict)
    if verdict.problems:
        raise UsageError(f"{work.path('parity.json')}: the graph has {len(verdict.problems)} problems; not released")
    graph = work.path("model.onnx", "convert")
    costs, variants = (
        work.load("cost.json", "benchmark", list[Cost]),
        work.load("variants.json", "quantize", list[Variant]),
    )
    network = work.network(task.network())
    agreed = contract(task.vector)
    inputs, outputs = tensors_of(task.task, lacked(network))
    manifest = Manifest(
        name=task.name,
        version=version,
        task=task.task,
        vector=task.vector,
        features=list(agreed.features),
        reads=agreed.reads,
        inputs=[Tensor(name=name, type=kind) for name, kind in inputs.items()],
        outputs=[Tensor(name=name, type=kind) for name, kind in outputs.items()],
        sha256=sha256_of(graph),
        opset=OPSET,
        baseline=network.baseline,
        training=_training(task, arrays, origin, data, licence),
        metrics=evaluation.metrics,
        calibration=evaluation.calibration,
        parity=verdict.parity,
        licence="Apache-2.0",
        fallback=fallback,
        us_per_row={str(cost.rows): cost.us_per_row for cost in costs},
    )
    directory = into / task.name / version
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(graph, directory / "model.onnx")
    write_manifest(directory, manifest)
    (directory / "card.md").write_text(card(manifest, evaluation, origin, costs, variants), encoding="utf-8")
    _golden(task, arrays, origin, directory)
    return directory


def _training(task: Task, arrays: Arrays, origin: Origin, data: str, licence: str) -> Training:
    split = origin.split
    fitted = split.fit(arrays["as_of_ms"])
    return Training(
        data=data,
        licence=licence,
        rows=int(fitted.sum()),
        trained_from=date_of(int(arrays["as_of_ms"][fitted].min())),
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
