"""Smaller arithmetic: int8 weights and float16 graphs, kept only where they are as good and faster.

A gate that compares outputs, not figures: what is published must be what the float32 graph publishes, up to a tolerance
that is below what is shown, with the same ranks. Then no figure can be worse.
"""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from export.benchmark import benchmark
from export.tasks.base import Task
from export.verify import InputsOf, swapped
from models.manifest import ManifestError
from models.session import Session

#: Rows that both graphs are run on.
ROWS = 4_096
#: The largest difference of any output, and the share of rows that may be ranked otherwise.
_TOLERANCE, _SWAPPED = 2e-3, 0.001
#: It must be this much faster to be worth another arithmetic.
_FASTER = 0.9
_BATCH = 256
#: The difference where one graph tells a number and the other does not, or has no such form: JSON has no infinity.
_UNLIKE = 1e9


class Variant(msgspec.Struct, frozen=True):
    """What became of one arithmetic.

    Args:
        kind: `int8` or `float16`.
        bytes: of the file.
        largest_difference: to the outputs of the float32 graph, relative to max(|value|, 1).
        swapped: the share of rows that it ranks otherwise.
        us_per_row, float32_us_per_row: CPU time at a batch of 256.
        why_not: why it is not kept; empty where it is.
    """

    kind: str
    bytes: int
    largest_difference: float
    swapped: float
    us_per_row: float
    float32_us_per_row: float
    why_not: str


def quantize(task: Task, graph: Path, inputs_of: InputsOf) -> list[Variant]:
    """Tries both arithmetics; the fastest that passes takes the place of the graph, which is kept as `float32.onnx`."""
    found = [_try(kind, make, task, graph, inputs_of) for kind, make in _KINDS.items()]
    kept = sorted((v for v in found if not v.why_not), key=lambda v: v.us_per_row)
    if kept:
        shutil.copyfile(graph, graph.with_name("float32.onnx"))
        shutil.copyfile(graph.with_name(f"{kept[0].kind}.onnx"), graph)
    return found


def _int8(graph: Path, out: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(graph, out, weight_type=QuantType.QInt8)


def _float16(graph: Path, out: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(graph), keep_io_types=True), out)


_KINDS: dict[str, Callable[[Path, Path], None]] = {"int8": _int8, "float16": _float16}


def _try(kind: str, make: Callable[[Path, Path], None], task: Task, graph: Path, inputs_of: InputsOf) -> Variant:
    out = graph.with_name(f"{kind}.onnx")
    level, root = logging.root.level, logging.root
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            root.setLevel(logging.ERROR)  # the library tells every node that it leaves alone
            make(graph, out)
        session, plain = Session(out), Session(graph)
        return _measured(kind, out, session, plain, task, inputs_of)
    except (ManifestError, ValueError, RuntimeError, TypeError, KeyError) as error:
        return Variant(kind, 0, _UNLIKE, 1.0, 0.0, 0.0, f"the graph has no such form: {_without_place(error, out)}")
    finally:
        root.setLevel(level)


def _without_place(error: Exception, out: Path) -> str:
    """The beginning of a message, for a card: where the file lay is nobody's business."""
    return str(error).replace(str(out), out.name)[:200]


def _measured(kind: str, out: Path, session: Session, plain: Session, task: Task, inputs_of: InputsOf) -> Variant:
    inputs = inputs_of(ROWS, 11)
    wanted, given = (s.run(inputs, rows=ROWS, shared=task.shared) for s in (plain, session))
    difference = max(_difference(wanted[name], given[name]) for name in wanted)
    first = next(iter(wanted))
    others = swapped(wanted[first], given[first]) / ROWS
    fast, slow = (benchmark(s, inputs_of, task.shared, [_BATCH])[0].us_per_row for s in (session, plain))
    reasons = [
        (difference > _TOLERANCE, f"outputs differ by up to {difference:.2g}, more than {_TOLERANCE}"),
        (others > _SWAPPED, f"{others:.2%} of the rows are ranked otherwise"),
        (fast > _FASTER * slow, f"not faster: {fast:.2f} µs a row, float32 {slow:.2f}"),
    ]
    problems = task.problems(inputs, given)
    why_not = "; ".join([why for bad, why in reasons if bad] + problems)
    return Variant(kind, out.stat().st_size, difference, others, fast, slow, why_not)


def _difference(wanted: NDArray[Any], given: NDArray[Any]) -> float:
    """Relative to max(|value|, 1); `_UNLIKE` where only one of them is unknown."""
    a, b = wanted.astype(np.float64), given.astype(np.float64)
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return _UNLIKE
    return float(np.nan_to_num(np.abs(a - b) / np.maximum(np.abs(a), 1.0)).max(initial=0.0))
