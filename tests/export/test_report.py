"""Reports: what scripts read, and messages for what cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.benchmarks import BENCHMARKS
from export.card import CARDS
from export.cli import main
from export.errors import UsageError
from export.releases import RELEASES, Release
from export.report import evaluate_released, time_of, write_report
from models.manifest import Metric, variant_of, versions
from models.registry import SHIPPED
from tests.export.shop import write_shop

FIGURES = [Metric(name="AUC", value=0.8, baselines={"frequency": 0.7}, ci95=(0.7, 0.9)), Metric(name="ECE", value=0.1)]


def test_figures_of_other_models_stay(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    write_report(path, "reorder", Path("a"), FIGURES)
    write_report(path, "stockout", Path("a"), FIGURES[:1])
    write_report(path, "reorder", Path("a"), FIGURES[1:])
    assert json.loads(path.read_bytes()) == [
        {
            "model": "stockout",
            "dataset": "a",
            "metric": "AUC",
            "value": 0.8,
            "ci95": [0.7, 0.9],
            "baselines": {"frequency": 0.7},
        },
        {"model": "reorder", "dataset": "a", "metric": "ECE", "value": 0.1, "ci95": None, "baselines": {}},
    ]


def test_what_cannot_be_measured_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no model 'churn'"):
        evaluate_released("churn", tmp_path, tmp_path, None, lambda text, share: None)
    with pytest.raises(UsageError, match=r"--from yesterday: .*; give a date such as"):
        evaluate_released("reorder", tmp_path, tmp_path, "yesterday", lambda text, share: None)


def test_the_command_measures_a_released_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released, out = SHIPPED / "reorder" / versions(SHIPPED, "reorder")[-1], tmp_path / "out.json"
    command = ["evaluate", "reorder", "--model", str(released), "--events", str(write_shop(tmp_path / "shop"))]
    monkeypatch.setattr("sys.argv", ["tidecast-export", *command, "--from", "2011-07-20", "--json", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    lines = json.loads(out.read_bytes())
    assert {line["model"] for line in lines} == {"reorder"}
    assert any(line["metric"].startswith("NDCG@10") and line["ci95"] and line["baselines"] for line in lines)


def test_a_model_under_way_is_measured_from_its_work_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, work, out = write_shop(tmp_path / "shop"), tmp_path / "work", tmp_path / "out.json"
    for command in (
        ["train", "reorder", "--events", str(shop), "--out", str(work), "--epochs", "1", "--from", "2011-07-20"],
        [
            "evaluate",
            "reorder",
            "--events",
            str(shop),
            "--model",
            str(work),
            "--from",
            "2011-07-20",
            "--json",
            str(out),
        ],
    ):
        monkeypatch.setattr("sys.argv", ["tidecast-export", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
    assert json.loads((work / "origin.json").read_bytes())["split"]["test_from_ms"] == time_of("2011-07-20")
    assert any(line["metric"].startswith("NDCG@10") for line in json.loads(out.read_bytes()))


def test_figures_of_rows_that_were_fitted_are_warned_of(tmp_path: Path) -> None:
    released = SHIPPED / "reorder" / versions(SHIPPED, "reorder")[-1]
    warned: list[str] = []
    with pytest.raises(UsageError, match="no event log"):
        evaluate_released("reorder", released, tmp_path, "2011-02-01", lambda text, share: None, warned.append)
    assert "figures are too good" in warned[0]


def test_a_directory_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither a released model \(manifest.json\) nor a trained one"):
        evaluate_released("reorder", tmp_path, tmp_path, None, lambda text, share: None)


def test_what_is_measured_is_what_is_shipped_for_that_log() -> None:
    made = {(release.model, variant_of(release.version), log) for release in RELEASES for log in logs_of(release)}
    for benchmark in BENCHMARKS:
        transfer = benchmark.model == "next-best-offer" and benchmark.log == "complete-journey"  # trains there itself
        log = f"{benchmark.log}-but-last" if benchmark.last else benchmark.log
        assert transfer or (benchmark.model, benchmark.variant, log) in made


def test_each_shipped_model_has_a_work_directory_and_a_text_of_its_own() -> None:
    keys = [release.key for release in RELEASES]
    assert len(set(keys)) == len(keys)
    assert all((CARDS / f"{key}.md").is_file() for key in keys)
    for release in RELEASES:
        assert (SHIPPED / release.model / release.version / "model.onnx").is_file(), release.key


def logs_of(release: Release) -> list[str]:
    return [log for log in (release.log, release.hours_log) if log is not None]
