"""Importing: a foreign model, checked and released."""

from __future__ import annotations

import shutil
from pathlib import Path
from string import Template
from typing import Any

import msgspec
import numpy as np
import onnx

from export.convert import OPSET, convert
from export.errors import UsageError
from export.foreign.adapt import Adapted, adapt
from export.foreign.checks import TRACE_ROWS, asked, cause, check_rows, check_shapes, opened
from export.foreign.checks import told as tensors_told
from export.foreign.description import Description
from export.foreign.opening import open_module
from export.foreign.rows import GoldenRows
from export.tasks import task_of
from export.verify import InputsOf, Verdict, alone, verify
from features.vectors import contract
from models.manifest import (
    OPTIONAL,
    TASKS,
    Head,
    Manifest,
    Tensor,
    Training,
    sha256_of,
    write_manifest,
)
from models.session import Session

_GOLDEN_ROWS = 32
_CARD = """# $name $version

A model that was trained elsewhere, brought in by `tidecast-export import-model`. Nothing is known of how good it is:
measure it with `tidecast-export evaluate $name --model DIR --events DIR`.

## Data

$data ($data_licence), $trained_from to $trained_until.

## Parity

$parity

Contributions are $contributions.

## Limits

$limits
"""


def import_model(path: Path, told: Description, into: Path, trusted: bool = False) -> Path:
    """Brings a foreign model into the registry.

    Args:
        path: of its `.pt2`, `.pt` or `.onnx` file.
        told: its description.
        into: the registry's directory.
        trusted: whether a pickled module may be opened.

    Returns:
        The released directory.

    Raises:
        UsageError: it cannot be opened, cannot be exported, or its graph is not fit; nothing is released then.
    """
    directory = into / told.name / told.version
    if directory.exists():
        raise UsageError(f"{directory} is there already; give the model another version")
    draft = into / told.name / f".{told.version}.draft"
    draft.mkdir(parents=True, exist_ok=True)
    try:
        _draft(path, told, draft, trusted)
        draft.rename(directory)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return directory


def _draft(path: Path, told: Description, directory: Path, trusted: bool) -> None:
    rows = GoldenRows(told)
    graph = directory / "model.onnx"
    if path.suffix == ".onnx":
        baseline, own = 0.0, True
        _copy(path, told, graph)
        session = opened(path, graph)
        verdict = asked(path, told.task, lambda: alone(task_of(told.name), session, rows))
    else:
        network = adapt(open_module(path, trusted), told)
        _export(path, network, told, rows, graph)
        baseline, own = network.baseline, "contributions" in network.given or told.task == "next_best_offer"
        session = opened(path, graph, network)
        verdict = asked(path, told.task, lambda: verify(task_of(told.name), network, session, rows))
    if verdict.problems:
        raise UsageError(f"{path} is not fit for release:\n  " + "\n  ".join(verdict.problems[:20]))
    _release(told, directory, verdict, rows, baseline, own)


def _export(path: Path, network: Adapted, told: Description, rows: InputsOf, graph: Path) -> None:
    inputs = rows(TRACE_ROWS, 0)
    try:
        check_rows(path, network, rows)
        check_shapes(network, inputs)
        convert(network, told.task, inputs, graph)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"{path} cannot be exported to ONNX: {cause(error)}. It must take "
            f"{tensors_told(TASKS[told.task][0])} for any number of rows, without Python code that depends on values"
        ) from error


def _copy(path: Path, told: Description, graph: Path) -> None:
    """An ONNX file is taken as it is, if it has the names of the contract."""
    if told.features or told.inputs or told.outputs or told.unknown:
        raise UsageError("features, unknown, inputs and outputs are for torch modules: an ONNX file is taken as it is")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        weights_beside = onnx.load(path, load_external_data=False) != model
    except Exception as error:
        raise UsageError(f"{path} is no ONNX model: {error}") from error
    for what, wanted, found in zip(
        ("inputs", "outputs"), TASKS[told.task], (model.graph.input, model.graph.output), strict=True
    ):
        if not set(wanted) - OPTIONAL[told.task] <= {t.name for t in found} <= set(wanted):
            raise UsageError(
                f"{path}: its {what} are {sorted(t.name for t in found)}; wanted are {tensors_told(wanted)}"
            )
    if weights_beside:  # torch.onnx.export puts them into a file of their own; a released graph is one file
        onnx.save_model(model, graph)
    else:
        shutil.copyfile(path, graph)


def _release(told: Description, directory: Path, verdict: Verdict, rows: InputsOf, baseline: float, own: bool) -> None:
    session = Session(directory / "model.onnx")
    agreed = contract(told.task, heads=session.inputs)
    inputs, outputs = TASKS[told.task]
    manifest = Manifest(
        name=told.name,
        version=told.version,
        task=told.task,
        vector=told.task,
        features=list(agreed.features),
        reads=agreed.reads,
        inputs=[Tensor(name=name, type=kind) for name, kind in inputs.items() if name in session.inputs],
        outputs=[Tensor(name=name, type=kind) for name, kind in outputs.items() if name in session.outputs],
        sha256=sha256_of(directory / "model.onnx"),
        opset=OPSET,
        baseline=baseline,
        training=Training(
            data=told.data,
            licence=told.data_licence,
            rows=told.rows,
            trained_from=told.trained_from,
            trained_until=told.trained_until,
            tested_from="never",
            tested_until="never",
            seed=told.seed,
        ),
        metrics=[],
        calibration={},
        parity=verdict.parity,
        licence=told.licence,
        heads=[
            Head(input=name, output="probability", features=list(features), baseline=baseline)
            for name, features in agreed.heads.items()
        ],
    )
    write_manifest(directory, manifest)
    golden = rows(_GOLDEN_ROWS, 1)
    given = session.run(golden, rows=_GOLDEN_ROWS, shared=task_of(told.name).shared)
    named: Any = {f"in.{k}": v for k, v in golden.items()} | {f"out.{k}": v for k, v in given.items()}
    np.savez_compressed(directory / "golden.npz", **named)
    text = Template(_CARD).substitute(
        {**msgspec.structs.asdict(told), "parity": _parity(verdict), "contributions": _CONTRIBUTIONS[own]}
    )
    (directory / "card.md").write_text(text, encoding="utf-8")


_CONTRIBUTIONS = {
    True: "the model's own",
    False: "what each feature adds when they are made known one after another, from the first and from the last on "
    "(`export/networks/telescope.py`); they add up",
}


def _parity(verdict: Verdict) -> str:
    if verdict.parity.rows == 0:
        return "An ONNX file as it came: there was no module to compare it with."
    return (
        f"torch against onnxruntime over {verdict.parity.rows:,} rows (mixed from golden rows) in batches of 1 to "
        f"4,096: largest difference {verdict.parity.max_abs_difference:.2g}."
    )
