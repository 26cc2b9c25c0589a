"""The whole path on a small shop: dataset, train, evaluate, convert, verify, release, for every model."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export import steps
from export.cli import main
from export.errors import UsageError
from export.history import read_log
from export.pathcommands import release
from export.report import evaluate_released
from export.tasks import MODELS, task_of
from export.work import Work
from models.manifest import graph_of, read_manifest
from models.session import Session
from tests.export.shop import write_shop

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session", params=MODELS)
def work(request: pytest.FixtureRequest, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """A model that went through all steps but the release."""
    made = Work(request.param, tmp_path_factory.mktemp(request.param))
    steps.make_dataset(made, shop, seed=1)
    steps.train(made, epochs=1, tell=lambda text, share: None)
    steps.evaluate(made)
    steps.convert_graph(made)
    return made


@pytest.fixture(scope="session")
def measured(work: Work) -> Work:
    """It went through verify, quantize and benchmark as well."""
    assert steps.verify_graph(work).problems == []
    plain = work.path("model.onnx").read_bytes()
    variants = steps.quantize_graph(work)
    kept = [v for v in variants if not v.why_not]
    assert {v.kind for v in variants} == {"int8", "float16"}
    assert (work.path("model.onnx").read_bytes() == plain) == (not kept)
    costs = steps.benchmark_graph(work)
    assert [cost.rows for cost in costs if not cost.caller] == [1, 16, 256, 1024, 4096]
    assert [cost.caller for cost in costs if cost.caller] == list(task_of(work.model).callers)
    assert all(0 < cost.us_per_row < 100_000 and cost.p50_ms <= cost.p99_ms for cost in costs)
    return work


def _outputs(work: Work, rows: int = 200) -> tuple[Arrays, Arrays, Any]:
    task = task_of(work.model)
    arrays, origin = work.dataset()
    inputs = task.inputs(arrays, origin.split, rows, seed=5)
    outputs = Session(work.path("model.onnx")).run(inputs, rows=rows, shared=task.shared)
    return inputs, outputs, work.network(task.network())


def test_released_model_is_complete(measured: Work, shop: Path, tmp_path: Path) -> None:
    work = measured
    said = tmp_path / "said.md"
    said.write_text("## Limits\n\nMade up.\n")
    directory = steps.release_model(work, shop, "a made-up shop", "CC0", "9.9.9", tmp_path, said)
    manifest = read_manifest(directory)
    assert (manifest.name, manifest.version) == (work.model, "9.9.9")
    session = Session(directory / "model.onnx")
    assert (session.inputs, session.outputs) == tuple(map(list, graph_of(manifest.task, session.inputs)))
    assert (directory / "card.md").read_text(encoding="utf-8").endswith("## Limits\n\nMade up.\n")
    plots = set() if work.model == "stockout" else {"reliability.png", "lift.png"}  # this shop counts no stock
    files = {"model.onnx", "manifest.json", "card.md", "golden.npz"} | plots
    assert {path.name for path in directory.iterdir()} == files


def test_what_is_no_version_or_no_text_is_refused(work: Work, shop: Path, tmp_path: Path) -> None:
    for version in ("1.0-beta", "next", "1.0+Spain", ""):
        with pytest.raises(UsageError, match=r"give a dotted one, such as 1\.0"):
            steps.release_model(work, shop, "a made-up shop", "CC0", version, tmp_path)
    with pytest.raises(UsageError, match=r"--text .*nothing.md: there is no such file"):
        release(work.model, shop, work.directory, tmp_path, text=tmp_path / "nothing.md")
    assert not list(tmp_path.iterdir())


def test_contributions_add_up(work: Work) -> None:
    inputs, out, network = _outputs(work)
    if work.model == "reorder":
        p = out["probability"][:, 2].astype(np.float64)
        score, parts = np.log(p) - np.log1p(-p), out["contributions"].sum(axis=1)
    elif work.model == "stockout":
        score, parts = np.log1p(out["demand_quantiles"][:, 1]), out["contributions"].sum(axis=1)
    else:
        shown = np.take_along_axis(inputs["eligible"], out["top"], axis=1) > 0
        p = out["probability"].astype(np.float64)[shown]
        every = out["sequence_contributions"].sum(axis=2) + out["other_contributions"].sum(axis=2)
        score, parts = np.log(p) - np.log1p(-p), every[shown]
    assert np.abs(parts + network.baseline - score).max() < 1e-3


def test_no_row_knows_its_label(work: Work, shop: Path) -> None:
    """The newest event in a state is never later than the as-of time, and every label window starts after it."""
    arrays, _ = work.dataset()
    if work.model == "reorder":
        assert (arrays["state_ms"] <= arrays["as_of_ms"]).all()
        assert (arrays["next_days"] > 0).all()
    elif work.model == "stockout":
        day = read_log(shop).history.demand.columns["event_time_ms"].max() // 86_400_000
        assert ((arrays["as_of_ms"] + 1) // 86_400_000 + arrays["horizon_days"] <= day + 1).all()
    else:
        assert (arrays["state_ms"] < arrays["as_of_ms"]).all()
        assert (arrays["age_days"][~np.isnan(arrays["age_days"])] > 0).all()


def test_every_figure_has_an_interval(work: Work) -> None:
    """Those of segments as well."""
    told = json.loads(work.path("metrics.json").read_text())["metrics"]
    assert [metric["name"] for metric in told if not metric["ci95"]] == []
    assert any("orders before" in metric["name"] or "of 28 days" in metric["name"] for metric in told)


def test_split_keeps_labels_out_of_the_test(work: Work) -> None:
    _, origin = work.dataset()
    split, gap = origin.split, origin.split.horizon_days * 86_400_000
    assert split.train_until_ms + gap <= split.validation_from_ms
    assert split.fit_until_ms + gap <= split.test_from_ms


def test_quantiles_do_not_cross() -> None:
    from export.networks.quantiles import LEVELS, around_median, exceedance, quantile

    generator = torch.Generator().manual_seed(1)
    steps_ = torch.rand(len(LEVELS) - 1, 500, generator=generator)
    q = around_median(torch.randn(1, 500, generator=generator) + 1, steps_).clamp_min(0.0)
    assert bool((q[1:] >= q[:-1]).all())
    risks = torch.stack([exceedance(q, torch.full((500,), at)) for at in (0.0, 0.5, 1.0, 3.0, 9.0, 70.0)])
    assert bool((risks[1:] <= risks[:-1] + 1e-6).all())
    wanted = torch.stack([quantile(q, torch.tensor([level])) for level in (0.01, 0.3, 0.5, 0.9, 0.99, 0.999)])
    assert bool((wanted[1:] >= wanted[:-1] - 1e-6).all())


@pytest.mark.parametrize("command", [["dataset"], ["evaluate", "--model", "."]])
def test_command_reports_usage_errors_with_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Of an event log that is none, and of a model whose manifest is broken."""
    (tmp_path / "manifest.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["tidecast-export", command[0], "reorder", *command[1:], "--events", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def test_a_path_is_told_as_it_is_in_one_line(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / ("long" * 30) / "[bold]"
    monkeypatch.setattr(
        "sys.argv", ["tidecast-export", "dataset", "next-best-offer", "--events", str(shop), "--out", str(out)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert f" rows in {out / 'dataset.npz'}\n" in capsys.readouterr().err


def test_missing_step_and_event_log_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run `tidecast-export dataset reorder` first"):
        steps.train(Work("reorder", tmp_path), None, lambda text, share: None)
    with pytest.raises(UsageError, match=r"it has no orders\.parquet"):
        steps.make_dataset(Work("reorder", tmp_path), tmp_path, seed=1)
    with pytest.raises(UsageError, match="there is no model 'churn'"):
        task_of("churn")


def test_train_makes_the_data_set_it_lacks(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["tidecast-export", "train", "reorder", "--events", str(shop), "--out", str(tmp_path), "--epochs", "1"]
    monkeypatch.setattr("sys.argv", command)
    work = Work("reorder", tmp_path)
    assert not work.is_of(shop)
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
    assert work.is_of(shop, seed=7)
    assert not work.is_of(shop, seed=8)
    assert not work.is_of(tmp_path)
    columns = task_of("reorder").columns
    assert work.is_of(shop, columns=columns)
    assert not work.is_of(shop, columns=[*columns, "moon_phase"]), "features have changed since"
    made = (tmp_path / "dataset.npz").stat().st_mtime
    os.utime(shop / "orders.parquet", (made + 1, made + 1))
    assert not work.is_of(shop), "the log has changed since"
    assert (tmp_path / "checkpoint.pt").exists()


def test_a_shop_with_fewer_products_than_are_shown_can_be_exported(tmp_path: Path) -> None:
    work, shop = Work("next-best-offer", tmp_path / "work"), write_shop(tmp_path / "shop", customers=20, products=3)
    steps.make_dataset(work, shop, seed=1)
    steps.train(work, epochs=1, tell=lambda text, share: None)
    steps.evaluate(work)
    steps.convert_graph(work)
    assert steps.verify_graph(work).problems == []
    steps.benchmark_graph(work)
    found = evaluate_released(work.model, work.directory, shop, None, lambda text, share: None)
    hits = {metric.name: metric.value for metric in found if metric.name.startswith("Recall@5")}
    assert next(iter(hits.values())) == 1.0, "all that there is, is shown"
    assert all(value == 0.0 for name, value in hits.items() if "less" in name)
