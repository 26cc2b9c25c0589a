"""The graph of next-item as ONNX, compared with torch on real sessions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from export.convert import OPSET
from export.datasets.prefixes import LENGTH, prefixes_of
from export.errors import UsageError
from export.networks.nextitem import NextItem
from export.nextitem.learn import trained
from export.nextitem.plan import training_sessions
from export.work import Work
from models.session import Session

_COMPARED = 1_000
_TOLERANCE = 1e-5


def convert(work: Work) -> float:
    """Writes model.onnx: `views` in, `top` and `chance` out, as `NextItem.forward` has them; products.json beside it
    names the products.

    Returns:
        The largest difference of a chance between torch and onnxruntime, on real rows and on hostile ones.

    Raises:
        UsageError: the graph is not what the network is.
    """
    model, path = trained(work), work.path("model.onnx")
    rows = prefixes_of(training_sessions(work))
    pick = np.random.default_rng(0).choice(len(rows), min(_COMPARED, len(rows)), replace=False)
    views = np.concatenate([rows.window(pick), _hostile()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (torch.from_numpy(views[:64]),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["views"],
            output_names=["top", "chance"],
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=1_000_000)},),
            verbose=False,
        )
    onnx.save(program.model_proto, path)
    gap = _difference(model, Session(path), views)
    if not gap <= _TOLERANCE:
        raise UsageError(f"{path} differs from torch by {gap:.2g}; it is not fit for use")
    return gap


def _hostile() -> NDArray[np.int64]:
    """Nothing viewed, products that do not exist, and a gap in the middle."""
    views = np.zeros((4, LENGTH), np.int64)
    views[1], views[2], views[3, 3::5] = -5, 2**40, 1
    return views


def _difference(model: NextItem, session: Session, views: NDArray[np.int64]) -> float:
    """Of chances; a product that is named otherwise than by torch must have the same chance."""
    given = session.run({"views": views}, rows=len(views))
    with torch.no_grad():
        expected: Any = model(torch.from_numpy(views))[1].numpy()
        own: Any = np.take_along_axis(
            model.chances(torch.from_numpy(_known(model, views))).numpy(), given["top"], axis=1
        )
    return float(max(np.abs(expected - given["chance"]).max(), np.abs(own - given["chance"]).max()))


def _known(model: NextItem, views: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where((views > 0) & (views < model.seen.who.shape[0]), views, 0)
