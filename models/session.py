"""ONNX sessions: one a model, one thread, no spinning, batches padded to a few shapes."""

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
_BROKEN = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
_BUCKETS = (16, 64, 256, 1024, 4096)


def padded_size(n: int) -> int:
    """The smallest batch shape that holds n rows: onnxruntime plans memory once a shape.

    >>> [padded_size(n) for n in (1, 17, 5000)]
    [16, 64, 8192]
    """
    for size in _BUCKETS:
        if n <= size:
            return size
    return -(-n // _BUCKETS[-1]) * _BUCKETS[-1]


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
        except _BROKEN as error:
            raise ManifestError(f"{path} cannot be loaded: {error}; convert and release the model again") from error
        self.inputs: list[str] = [i.name for i in self._session.get_inputs()]
        self.outputs: list[str] = [o.name for o in self._session.get_outputs()]
        #: Width of the first input's last axis, where it is fixed.
        self.width = self._session.get_inputs()[0].shape[-1]

    def run(
        self, feeds: Mapping[str, NDArray[Any]], rows: int, shared: frozenset[str] = frozenset()
    ) -> dict[str, NDArray[Any]]:
        """Scores `rows` rows.

        Args:
            feeds: an array an input; those not in `shared` have `rows` as first axis and are padded with zeros.
            rows: how many rows of the outputs to keep.
            shared: inputs that are the same for all rows.

        Returns:
            An array an output, first axis of length `rows`.
        """
        size = padded_size(rows)
        padded = {n: a if n in shared else _pad(a, size) for n, a in feeds.items()}
        outputs = self._session.run(self.outputs, padded)
        return {n: a[:rows] for n, a in zip(self.outputs, outputs, strict=True)}


def _pad(array: NDArray[Any], size: int) -> NDArray[Any]:
    if len(array) == size:
        return array
    out = np.zeros((size, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out
