"""ONNX sessions: one a model, one thread, no spinning, batches in parts, padded to a few shapes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from models.manifest import ManifestError

#: What onnxruntime raises for a file that it cannot run; they have no common base.
BROKEN = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
#: Batch shapes are multiples of this: every vector instruction of every kernel is full then, so what a row scores does
#: not depend on how many others there are. (On its place among them it may, in the last bit: sums over a row begin at
#: an aligned address.)
_STEP = 16
#: Larger batches are run in parts, so that memory is bounded. Each of hundreds of nodes costs something, however few
#: rows there are: parts of 1,024 take up to a tenth longer (`benchmarks/graphs.py --parts`). What all rows share is
#: worked through anew for each part, so parts have so many times its rows at least.
MOST_ROWS = 4096
_TIMES = 4


def padded_size(n: int) -> int:
    """The smallest batch shape that holds n rows: few shapes, since onnxruntime plans memory for each,
    but close to each other, since a row of padding costs as much as any other.

    >>> [padded_size(n) for n in (1, 17, 250)]
    [16, 32, 256]
    """
    return max(-(-n // _STEP), 1) * _STEP


class Session:
    """Runs one ONNX model.

    Args:
        path: of model.onnx.

    Raises:
        ManifestError: onnxruntime cannot load it.

    Example:
        session.run({"features": rows}, rows=len(rows))["probability"]
    """

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session: Any = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except BROKEN as error:
            raise ManifestError(f"{path} cannot be loaded: {error}; convert and release the model again") from error
        self.inputs: list[str] = [i.name for i in self._session.get_inputs()]
        self._taken = frozenset(self.inputs)
        self.outputs: list[str] = [o.name for o in self._session.get_outputs()]
        #: Width of the last axis of each input, where it is fixed.
        self.widths: dict[str, Any] = {i.name: (i.shape or [None])[-1] for i in self._session.get_inputs()}
        #: That of the first input.
        self.width = self.widths[self.inputs[0]]

    def run(
        self, feeds: Mapping[str, NDArray[Any]], rows: int, shared: frozenset[str] = frozenset()
    ) -> dict[str, NDArray[Any]]:
        """Scores `rows` rows.

        Args:
            feeds: an array an input; those not in `shared` have `rows` as first axis and are padded with zeros. Those
                that the graph does not take are passed over. Inputs
                with rows apart (`models.manifest.ROWS_APART`) may be left out: they and their outputs have none then.
            rows: how many rows of the outputs to keep.
            shared: inputs that are the same for all rows.

        Returns:
            An array an output, first axis of length `rows`.
        """
        most = max([MOST_ROWS, *(_TIMES * len(feeds[name]) for name in shared & feeds.keys())])
        parts = [self._part(feeds, at, min(at + most, rows), shared) for at in range(0, max(rows, 1), most)]
        joined = parts[0] if len(parts) == 1 else [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        return dict(zip(self.outputs, joined, strict=True))

    def _part(
        self, feeds: Mapping[str, NDArray[Any]], begin: int, end: int, shared: frozenset[str]
    ) -> list[NDArray[Any]]:
        """The outputs of rows `begin` to `end`."""
        size = padded_size(end - begin)
        padded = {n: a if n in shared else _pad(a[begin:end], size) for n, a in feeds.items() if n in self._taken}
        for name in self._left_out(feeds):
            padded[name] = np.zeros((0, self.widths[name]), np.float32)
        return [a[: end - begin] for a in self._session.run(self.outputs, padded)]

    def _left_out(self, feeds: Mapping[str, NDArray[Any]]) -> list[str]:
        return [name for name in self.inputs if name not in feeds and isinstance(self.widths[name], int)]


def _pad(array: NDArray[Any], size: int) -> NDArray[Any]:
    if len(array) == size:
        return array
    out = np.zeros((size, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out
