"""Checks of a foreign model: what is wrong with it, and what its owner can do about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from export.errors import UsageError
from export.foreign.adapt import Adapted
from export.verify import InputsOf, Verdict
from models.manifest import TASKS, ManifestError, tensors_of
from models.session import BROKEN, Session

#: Rows that a module is tried with before it is converted.
TRACE_ROWS = 64
#: What torch.export raises where a program was exported for inputs of one size.
_GUARD, _SIZE = "Guard failed", ".size()["


def check_rows(path: Path, network: Adapted, rows: InputsOf) -> None:
    """A module takes any number of rows.

    Raises:
        UsageError: it was exported for one number of them, or takes many and not one.
    """
    for number in (TRACE_ROWS, 1):
        try:
            _ask(network, rows(number, 0))
        except Exception as error:
            if _GUARD in str(error) and _SIZE in str(error):
                raise UsageError(
                    f"{path} was exported for one number of rows ({first_line(error)}): export it for any number of "
                    "them, with a `torch.export.Dim` in `dynamic_shapes` for the rows of each input"
                ) from error
            if number == 1:
                raise UsageError(f"{path} takes {TRACE_ROWS} rows, but not one ({first_line(error)})") from error
            raise


def _ask(network: Adapted, inputs: Any) -> None:
    wanted, _ = tensors_of(network.task, network.lacks)
    with torch.no_grad():
        network.answers(*(torch.from_numpy(inputs[name]) for name in wanted))


def check_shapes(network: Adapted, inputs: Any) -> None:
    """Outputs have the shapes of the contract.

    Raises:
        UsageError: one has another shape.
    """
    wanted, given = tensors_of(network.task, network.lacks)
    with torch.no_grad():
        outputs = network(*(torch.from_numpy(inputs[name]) for name in wanted))
    for (name, kind), out in zip(given.items(), outputs, strict=True):
        axes = kind[kind.index("[") + 1 : -1].split(", ")
        fixed = [(i, int(axis)) for i, axis in enumerate(axes) if axis.isdigit()]
        if out.ndim != len(axes) or any(out.shape[i] != size for i, size in fixed):
            raise UsageError(f"its output {name!r} has the shape {tuple(out.shape)}; wanted is {kind}")


def opened(path: Path, graph: Path, module: Any = None) -> Session:
    """The graph as the engine runs it.

    Args:
        path: of the model as its owner knows it.
        graph: of the graph that was made of it.
        module: that it was made of; None where it was a graph.

    Raises:
        UsageError: onnxruntime cannot run it.
    """
    try:
        return Session(graph)
    except ManifestError as error:
        precise = module is not None and any(each.dtype == torch.float64 for each in module.parameters())
        hint = "; it works in float64, and may run after module.float()" if precise else ""
        raise UsageError(f"{path}: onnxruntime cannot run it ({first_line(error.__cause__ or error)}){hint}") from error


def asked(path: Path, task: str, ask: Callable[[], Verdict]) -> Verdict:
    """What comes of asking the graph.

    Raises:
        UsageError: it does not run on what the task's graphs are given.
    """
    try:
        return ask()
    except (ManifestError, ValueError, RuntimeError, *BROKEN) as error:
        raise UsageError(
            f"{path}: the graph does not run on {told(TASKS[task][0])} for any number of rows: {first_line(error)}"
        ) from error


def cause(error: Exception) -> str:
    """What happened, without torch.onnx's advice: it wraps the error of a step into one of its own."""
    inner = error.__cause__ if isinstance(error, torch.onnx.errors.OnnxExporterError) else None
    happened = inner or error
    lines = [line.strip() for line in str(happened).splitlines() if line.strip()]
    return f"{type(happened).__name__}: {' '.join(lines[:3])[:600]}"


def first_line(error: BaseException) -> str:
    """The first line of a message that says something.

    >>> first_line(ValueError("")), first_line(ValueError("one\\ntwo"))
    ('ValueError', 'one')
    """
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def told(tensors: dict[str, str]) -> str:
    """Names and kinds of tensors, for people.

    >>> told({"features": "float32[n, features]"})
    'features (float32[n, features])'
    """
    return ", ".join(f"{name} ({kind})" for name, kind in tensors.items())
