"""Opening: the file of a foreign model as a torch module."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from export.errors import UsageError

_SAVE = "save it with `torch.export.save(torch.export.export(module, inputs, dynamic_shapes=…), 'model.pt2')`"


def open_module(path: Path, trusted: bool = False) -> Any:
    """The module in a `.pt2` file (torch.export) or a `.pt` file (a pickled module).

    Args:
        trusted: a pickled module runs whatever code its file holds: only then it is opened.

    Raises:
        UsageError: no file, none of these, or not trusted.
    """
    if not path.exists():
        raise UsageError(f"{path} is missing")
    if path.suffix == ".pt2":
        return _exported(path)
    if path.suffix in (".pt", ".pth"):
        return _pickled(path, trusted)
    raise UsageError(f"{path}: a model is a .pt2, .pt or .onnx file")


def _exported(path: Path) -> Any:
    try:
        return torch.export.load(path).module()
    except Exception as error:
        raise UsageError(f"{path} is no program of torch.export: {error}; {_SAVE}") from error


def _pickled(path: Path, trusted: bool) -> Any:
    if _is_torchscript(path):
        raise UsageError(
            f"{path} is TorchScript, which is not converted here: of the Python module that it was made from, {_SAVE}; "
            "or write an .onnx file of it with `torch.onnx.export(…, dynamo=False)`"
        )
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        if not trusted:
            raise UsageError(
                f"{path} holds a pickled module, and opening it runs whatever code it holds: "
                f"say --trust if you know who made it, or {_SAVE}"
            ) from None
        found = _unpickled(path)
    except Exception as error:
        raise UsageError(f"{path} is no file of torch: {error}") from error
    if not isinstance(found, torch.nn.Module):
        raise UsageError(f"{path} holds weights ({type(found).__name__}), but no module that has them; {_SAVE}")
    return found.eval()


def _is_torchscript(path: Path) -> bool:
    """Whether it is what `torch.jit.save` writes: an archive that has constants beside its data."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _unpickled(path: Path) -> Any:
    try:
        return torch.load(path, weights_only=False, map_location="cpu")
    except Exception as error:
        raise UsageError(
            f"{path}: {type(error).__name__}: {error}; its class must be importable here, or {_SAVE}"
        ) from error
