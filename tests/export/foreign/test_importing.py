"""Foreign models: modules of any kind become models that the engine runs, or a message that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from export.cli import main
from export.errors import UsageError
from export.foreign.description import Description, read_description
from export.foreign.importing import import_model
from export.foreign.rows import GoldenRows
from features.vectors import contract, joined
from features.vectors.reorder import FEATURES
from models.registry import SHIPPED, check_features, load
from models.session import Session

COLUMNS = ["product_days_since", "product_orders", "customer_orders"]


class Forest(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Another architecture than ours, with interactions; one output."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, outputs))

    def forward(self, x: Any) -> Any:
        logits = self.net(torch.log1p(x.clamp(0.0, 1e6)))
        return torch.sigmoid(torch.cumsum(torch.nn.functional.softplus(logits), dim=1) - 4.0)


class Branching(Forest):
    def forward(self, x: Any) -> Any:
        return super().forward(x) if float(x.sum()) > 0 else super().forward(-x)


class Named(nn.Module):  # type: ignore[misc]
    """Inputs and outputs by other names."""

    def forward(self, rows: Any) -> dict[str, Any]:
        p = torch.sigmoid(rows[:, :1] * torch.tensor([[0.1, 0.2, 0.3]]))
        return {"p": p.clamp(0.01, 0.99), "why": rows * 0.0}


def told(**more: Any) -> Description:
    given = {"name": "reorder", "version": "7.0.0", "data": "a made-up shop", "features": COLUMNS} | more
    return Description(**given)


def saved(module: nn.Module, path: Path) -> Path:
    if path.suffix == ".pt2":
        rows = torch.export.Dim("rows", min=1, max=1_000_000)
        example = torch.rand(8, 3)
        torch.export.save(torch.export.export(module, (example,), dynamic_shapes=({0: rows},)), path)
    else:
        torch.save(module, path)
    return path


@pytest.fixture(scope="module", params=["model.pt", "model.pt2"])
def released(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("released")
    return import_model(saved(Forest(), tmp_path / request.param), told(), tmp_path / "registry", trusted=True)


def test_it_scores_as_its_module_does(released: Path) -> None:
    rows = GoldenRows(told())(500, 9)
    outputs = Session(released / "model.onnx").run(rows, rows=500)
    at = [list(FEATURES).index(name) for name in COLUMNS]
    with torch.no_grad():
        wanted = Forest()(torch.from_numpy(np.nan_to_num(rows["features"][:, at])))
    np.testing.assert_allclose(outputs["probability"], wanted.numpy(), atol=1e-5)


def test_it_gets_contributions_that_add_up(released: Path) -> None:
    model = load(released.parents[1], "reorder", "7.0.0")
    rows = GoldenRows(told())(500, 9)
    outputs = model.session.run(rows, rows=500)
    p = outputs["probability"][:, 2].astype(np.float64).clip(1e-6, 1 - 1e-6)
    total = outputs["contributions"].sum(axis=1) + model.manifest.baseline
    assert np.abs(total - (np.log(p) - np.log1p(-p))).max() < 1e-3
    others = [i for i, name in enumerate(FEATURES) if name not in COLUMNS]
    assert not outputs["contributions"][:, others].any()
    assert np.abs(outputs["contributions"]).max() > 0.1


def test_the_engine_takes_it(released: Path) -> None:
    model = load(released.parents[1], "reorder")
    check_features(model.manifest, model.manifest.features, model.manifest.reads, {})
    assert model.manifest.parity.rows > 4_096
    assert "a made-up shop" in (released / "card.md").read_text(encoding="utf-8")


def test_a_planted_cause_is_the_reason(tmp_path: Path) -> None:
    """Only the days since count in it, so they must be the whole reason."""
    module = Forest()
    with torch.no_grad():
        module.net[0].weight[:, 1:] = 0.0
    directory = import_model(saved(module, tmp_path / "m.pt"), told(), tmp_path / "registry", trusted=True)
    outputs = Session(directory / "model.onnx").run(GoldenRows(told())(100, 2), rows=100)
    why = np.abs(outputs["contributions"])
    assert (why.sum(axis=1) - why[:, list(FEATURES).index("product_days_since")]).max() < 1e-6


def test_names_may_differ(tmp_path: Path) -> None:
    description = told(inputs={"features": "rows"}, outputs={"probability": "p"})
    directory = import_model(saved(Named(), tmp_path / "m.pt"), description, tmp_path / "registry", trusted=True)
    assert Session(directory / "model.onnx").outputs == ["probability", "contributions"]


def test_an_onnx_file_is_taken_as_it_is(released: Path, tmp_path: Path) -> None:
    again = import_model(released / "model.onnx", told(features=[], version="8.0"), tmp_path / "other")
    assert (again / "model.onnx").read_bytes() == (released / "model.onnx").read_bytes()


@pytest.mark.parametrize(
    ("module", "changes", "message"),
    [
        (Branching(), {}, r"cannot be exported to ONNX: .*without Python code that depends on values"),
        (Forest(outputs=2), {}, r"its output 'probability' has the shape \(64, 2\); wanted is float32\[n, 3\]"),
        (Forest(), {"name": "next-best-offer", "features": []}, r"outputs: next-best-offer must give"),
        (nn.Sequential(nn.Linear(3, 3)), {}, r"not fit for release:\s+batch 1: .*outside \[0, 1\]"),
    ],
)
def test_what_does_not_fit_is_told_and_not_released(
    module: nn.Module, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = saved(module, tmp_path / "m.pt")
    if changes.get("name") == "next-best-offer":
        changes = {**changes, "outputs": {"top": 0}}
    with pytest.raises(UsageError, match=message):
        import_model(path, told(**changes), tmp_path / "registry", trusted=True)
    assert not list((tmp_path / "registry").glob("*/*"))


def test_a_pickle_is_opened_only_if_it_is_trusted(tmp_path: Path) -> None:
    path = saved(Forest(), tmp_path / "m.pt")
    with pytest.raises(UsageError, match="runs whatever code it holds: say --trust"):
        import_model(path, told(), tmp_path)
    torch.save(Forest().state_dict(), path)
    with pytest.raises(UsageError, match=r"holds weights .*, but no module that has them"):
        import_model(path, told(), tmp_path)


def test_the_same_version_is_not_overwritten(released: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is there already; give the model another version"):
        import_model(released / "model.onnx", told(features=[]), released.parents[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "churn"', "Invalid enum value 'churn'"),
        ('name = "reorder"\nversion = "1"\ndata = "x"\nfeatures = ["colour"]', "there is no 'colour' in reorder"),
        ('name = "reorder"\nversion = "1"\ndata = "x"\nfeature = []', "unknown field"),
        (
            'name = "reorder"\nversion = "1"\ndata = "x"\nfeatures = ["product_orders", "product_orders"]',
            "'product_orders' comes twice",
        ),
        ("name = ", "m.toml"),
    ],
)
def test_a_description_that_is_wrong_is_told(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_description(path)


def command(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of `import-model` into `tmp_path`."""
    description = tmp_path / "m.toml"
    description.write_text(f'name = "reorder"\nversion = "1.2"\ndata = "x"\nfeatures = {COLUMNS!r}\n')
    typed = ["tidecast-export", "import-model", str(path), "--manifest", str(description), "--into", str(tmp_path)]
    monkeypatch.setattr("sys.argv", typed)
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(saved(Forest(), tmp_path / "m.pt2"), tmp_path, monkeypatch) == 0
    assert load(tmp_path, "reorder").manifest.version == "1.2"


def test_a_graph_that_asks_what_the_shop_sells_of_offers_is_told_it(tmp_path: Path) -> None:
    """The shipped one, as if it were somebody else's: the engine must know that it asks, and of which columns."""
    shipped = load(SHIPPED, "next-best-offer")
    description = Description(name="next-best-offer", version="9.0", data="somebody's")
    directory = import_model(shipped.directory / "model.onnx", description, tmp_path / "registry")
    found = load(directory.parents[1], "next-best-offer").manifest
    assert [(head.input, head.features) for head in found.heads] == [("offer_sold", list(joined.FEATURES))]
    assert found.reads == shipped.manifest.reads
    wanted = contract("next_best_offer", heads=["offer_sold"])
    check_features(found, wanted.features, wanted.reads, wanted.heads)
