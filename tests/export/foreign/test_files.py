"""Files as people have them: exported for one size, in another precision, by torch.jit, or in two pieces."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from export.cli import main
from export.errors import UsageError
from export.foreign.importing import import_model
from models.manifest import read_manifest
from models.session import Session
from tests.export.foreign.test_importing import COLUMNS, Forest, saved, told

ROWS = torch.export.Dim("rows", min=1, max=1_000_000)


class Whole(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Takes all features, and gives all that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(33, 64), nn.Tanh(), nn.Linear(64, 3))

    def forward(self, features: Any) -> Any:
        known = torch.nan_to_num(features, 0.0, 0.0, 0.0).clamp(-100.0, 100.0)
        steps = torch.nn.functional.softplus(self.net(known))
        return torch.sigmoid(torch.cumsum(steps, dim=1) - 4.0), torch.zeros_like(known)


class Precise(Forest):
    """Works in float64, and has an operator that onnxruntime has not in it, or only such as it has."""

    def __init__(self, curve: nn.Module) -> None:
        super().__init__()
        self.net[1] = curve
        self.double()

    def forward(self, x: Any) -> Any:
        return super().forward(x.double())


def as_onnx(path: Path, sizes: Any) -> Path:
    names: Any = {"input_names": ["features"], "output_names": ["probability", "contributions"]}
    torch.onnx.export(Whole().eval(), (torch.rand(8, 33),), path, dynamo=True, dynamic_shapes=sizes, **names)
    return path


def of_one_size(path: Path) -> Path:
    torch.export.save(torch.export.export(Forest(), (torch.rand(64, 3),)), path.with_suffix(".pt2"))
    return path.with_suffix(".pt2")


def scripted(path: Path) -> Path:
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # people have such files
        torch.jit.save(torch.jit.trace(Forest().eval(), torch.rand(64, 3)), path.with_suffix(".pt"))
    return path.with_suffix(".pt")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (of_one_size, r"takes 64 rows, but not one .*dynamic_shapes="),
        (scripted, r"is TorchScript, which torch.onnx does not take any more; save it with `torch.export"),
        (
            lambda path: saved(Precise(nn.GELU()), path.with_suffix(".pt2")),
            r"cannot run .*Erf.* after module.float\(\)",
        ),
    ],
)
def test_what_cannot_be_run_is_told(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        import_model(make(tmp_path / "m"), told(), tmp_path / "registry", trusted=True)
    assert not list((tmp_path / "registry").glob("*/*"))


def test_a_module_in_another_precision_gives_what_the_engine_reads(tmp_path: Path) -> None:
    directory = import_model(saved(Precise(nn.ReLU()), tmp_path / "m.pt2"), told(), tmp_path / "registry")
    outputs = Session(directory / "model.onnx").run({"features": np.ones((5, 33), np.float32)}, rows=5)
    assert {name: array.dtype for name, array in outputs.items()} == dict.fromkeys(outputs, np.dtype(np.float32))


def test_weights_in_a_file_beside_come_along(tmp_path: Path) -> None:
    path = as_onnx(tmp_path / "m.onnx", ({0: ROWS},))
    assert (tmp_path / "m.onnx.data").exists()
    directory = import_model(path, told(features=[]), tmp_path / "registry")
    for piece in (path, tmp_path / "m.onnx.data"):
        piece.unlink()
    features = np.random.default_rng(1).random((7, 33), np.float32)
    found = Session(directory / "model.onnx").run({"features": features}, rows=7)
    with torch.no_grad():
        wanted = Whole().eval()(torch.from_numpy(features))[0]
    np.testing.assert_allclose(found["probability"], wanted.numpy(), atol=1e-6)
    assert read_manifest(directory).version == "7.0.0"


def test_weights_beside_that_are_gone_are_told(tmp_path: Path) -> None:
    path = as_onnx(tmp_path / "m.onnx", ({0: ROWS},))
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(UsageError, match=r"m.onnx is no ONNX model: .*m.onnx.data"):
        import_model(path, told(features=[]), tmp_path / "registry")


def test_a_graph_of_one_size_is_told(tmp_path: Path) -> None:
    path = as_onnx(tmp_path / "m.onnx", None)
    assert [d.dim_value for d in onnx.load(path).graph.input[0].type.tensor_type.shape.dim] == [8, 33]
    with pytest.raises(UsageError, match=r"does not run on .* for any number of rows: .*invalid dimensions"):
        import_model(path, told(features=[]), tmp_path / "registry")


def test_messages_keep_their_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, description = saved(Forest(outputs=2), tmp_path / "m.pt2"), tmp_path / "m.toml"
    description.write_text(f'name = "reorder"\nversion = "1.2"\ndata = "x"\nfeatures = {COLUMNS!r}\n')
    command = ["tidecast-export", "import-model", str(path), "--manifest", str(description), "--into", str(tmp_path)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "has the shape (64, 2); wanted is float32[n, 3]" in capsys.readouterr().err
