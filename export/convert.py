"""torch to ONNX: one self-contained file, with the names, shapes and dtypes of the task's graph contract."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from export.errors import UsageError
from export.networks.trees import translations
from models.manifest import graph_of

Arrays = dict[str, NDArray[Any]]

OPSET = 18
#: Largest released file.
LIMIT_BYTES = 3_000_000


def convert(network: Any, task: str, inputs: Arrays, path: Path) -> None:
    """Writes the graph of `network`.

    Args:
        network: takes the task's inputs by position, gives its outputs; `lacks` names those that it has not.
        task: a key of `models.manifest.TASKS`; optional inputs take part where they are given.
        inputs: real inputs, for tracing; any number of rows from 2 on.
        path: of the file to write.

    Raises:
        UsageError: the file is larger than 3 MB.
    """
    wanted, given = graph_of(task, inputs, lacked(network))
    sizes = {name: torch.export.Dim(name, min=1, max=1_000_000) for name in ("n", "b", "c", "p", "h", "d", "s")}
    dynamic = tuple(
        {axis: sizes[name] for axis, name in enumerate(_axes(kind)) if name in sizes} for kind in wanted.values()
    )
    arguments = tuple(torch.from_numpy(inputs[name]) for name in wanted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            arguments,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(wanted),
            output_names=list(given),
            dynamic_shapes=_as_taken(network, dynamic),
            custom_translation_table=translations(network),
            verbose=False,
        )
    model = program.model_proto
    for record in (*model.graph.node, *model.graph.value_info):
        record.ClearField("metadata_props")
        record.ClearField("doc_string")
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    if path.stat().st_size > LIMIT_BYTES:
        raise UsageError(f"{path} has {path.stat().st_size:,} bytes; a released model has at most {LIMIT_BYTES:,}")


def _as_taken(network: Any, shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Shapes of the inputs as torch groups them: all that `*others` takes is one of them."""
    kinds = [each.kind for each in inspect.signature(network.forward).parameters.values()]
    first = kinds.index(inspect.Parameter.VAR_POSITIONAL) if inspect.Parameter.VAR_POSITIONAL in kinds else len(shapes)
    return (*shapes[:first], shapes[first:]) if first < len(shapes) else shapes


def lacked(network: Any) -> frozenset[str]:
    """The optional inputs and outputs that a network has not."""
    return frozenset(getattr(network, "lacks", ()))


def _axes(kind: str) -> list[str]:
    """The axes of a shape as written in `TASKS`.

    >>> _axes("int64[b, 32, 8]")
    ['b', '32', '8']
    """
    return [axis.strip() for axis in kind[kind.index("[") + 1 : -1].split(",")]


def reference(network: Any, task: str, inputs: Arrays) -> Arrays:
    """What torch itself gives for inputs, by output name."""
    wanted, given = graph_of(task, inputs, lacked(network))
    with torch.no_grad():
        outputs = network(*(torch.from_numpy(inputs[name]) for name in wanted))
    return {name: np.asarray(value.numpy()) for name, value in zip(given, outputs, strict=True)}
