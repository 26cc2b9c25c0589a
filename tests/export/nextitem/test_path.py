"""Next-item from a log of clicks alone to a graph: it learns more than a Markov chain, and nothing of the future."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from export.cli import main
from export.datasets.sessions import Rules
from export.errors import UsageError
from export.nextitem import sampling
from export.nextitem.convert import convert
from export.nextitem.learn import train
from export.nextitem.learn import trained as trained_model
from export.nextitem.plan import make_plan, rules_of, training_sessions
from export.work import Work
from tests.export.browsing import DAY_MS, FIRST_MS, browse, write_clicks

FIGURE = "validation P@20 + MRR@20"
TASK = ("next-best-offer", "--task", "next-item")

# A training of seconds, on a machine that may have much else to do.
pytestmark = pytest.mark.timeout(900)


def command(monkeypatch: pytest.MonkeyPatch, step: str, *options: str) -> int:
    monkeypatch.setattr("sys.argv", ["tidecast-export", step, *TASK, *options])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    views, _ = browse(2_000, products=150, category=75, links=40)
    return write_clicks(tmp_path_factory.mktemp("clicks"), views, named=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    views, _ = browse(500, products=50, category=25, links=20)
    return write_clicks(tmp_path_factory.mktemp("small"), views)


def small_work(small: Path, directory: Path) -> Work:
    work = Work("next-best-offer", directory)
    make_plan(work, small, Rules(), 7, None)
    return work


@pytest.fixture(scope="module")
def trained(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    work = Work("next-best-offer", tmp_path_factory.mktemp("work"))
    make_plan(work, log, Rules(), 7, None)
    train(work, 4, lambda text, share: None)
    return work


def test_the_network_beats_the_chain(log: Path, trained: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.json"
    assert (
        command(monkeypatch, "evaluate", "--model", str(trained.directory), "--events", str(log), "--json", str(out))
        == 0
    )
    lines = json.loads(out.read_bytes())
    assert {line["model"] for line in lines} == {"next-best-offer/next-item"}
    found = {line["metric"]: line for line in lines}
    hits = found["P@20 of the next view"]
    assert hits["ci95"][0] > hits["baselines"]["Markov chain"] > hits["baselines"]["popularity"]
    assert found["P@20 of the next view less session-kNN"]["ci95"][0] > 0


def chain(sessions: int, seed: int, products: int = 60) -> NDArray[np.int64]:
    """Views of sessions in which each view decides which of three products comes next; nothing else does."""
    leads, rng = np.random.default_rng(1).integers(products, size=(products, 3)), np.random.default_rng(seed)
    views = rng.integers(products, size=(sessions, 8))
    for at in range(1, 8):
        views[:, at] = leads[views[:, at - 1], rng.integers(3, size=sessions)]
    return views


def test_of_a_chain_what_comes_next_is_told(tmp_path: Path) -> None:
    """As released: of what the last view says, and nothing of those before it."""
    work = Work("next-best-offer", tmp_path / "work")
    make_plan(work, write_clicks(tmp_path / "log", chain(500, seed=2)), Rules(), 7, None)
    told = train(work, 1, lambda text, share: None)
    assert (told["of what is next"], told["mix"] >= 0.6) == (1.0, True)
    model = trained_model(work)
    assert float(model.seen.decay) == 0.0
    one = torch.tensor([[0] * 19 + [5]])
    same = torch.tensor([[7] * 19 + [5]])
    assert torch.equal(model.seen(one), model.seen(same))
    assert convert(work) < 1e-5


def test_a_test_of_what_was_learnt_is_refused(
    trained: Work, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--out", str(trained.directory), "--from", "2011-02-01")
    assert command(monkeypatch, "evaluate", *options) == 2
    assert "would be of what it knows" in " ".join(capsys.readouterr().err.split())


def test_the_graph_is_the_network(trained: Work) -> None:
    assert convert(trained) < 1e-5


def test_what_is_broken_off_is_gone_on_from(small: Path, tmp_path: Path) -> None:
    whole, broken = small_work(small, tmp_path / "whole"), small_work(small, tmp_path / "broken")
    train(whole, 3, lambda text, share: None)

    def stop(text: str, share: float) -> None:
        if text.startswith("choosing: epoch 2, step"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(broken, 3, stop)
    heard: list[str] = []
    train(broken, 3, lambda text, share: heard.append(text))
    assert heard[0].startswith("choosing: epoch 2")
    torch.testing.assert_close(_weights(broken), _weights(whole), rtol=0, atol=0)


def _weights(work: Work) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(work.path("checkpoint.pt"), weights_only=True)
    return weights


def test_the_future_changes_nothing_that_is_learnt_from(log: Path, tmp_path: Path) -> None:
    """Plants a sure pair into the test: all its views are turned around."""
    from_ms = FIRST_MS + 20 * DAY_MS
    table = pl.read_parquet(log / "clicks.parquet")
    after = pl.col("event_time_ms") >= from_ms + DAY_MS
    planted = pl.concat([table.filter(~after), table.filter(after).with_columns(sku=pl.col("sku").reverse())])
    shutil.copytree(log, tmp_path / "planted")
    planted.write_parquet(tmp_path / "planted" / "clicks.parquet")
    found = []
    for name, events in (("a", log), ("b", tmp_path / "planted")):
        work = Work("next-best-offer", tmp_path / name)
        make_plan(work, events, Rules(), 7, from_ms)
        found.append(training_sessions(work))
    assert found[0].names == found[1].names
    assert np.array_equal(found[0].item, found[1].item)
    assert found[0].end_ms.max() < from_ms


def test_a_drawn_softmax_learns_too(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = train(small_work(small, tmp_path / "all"), 4, lambda text, share: None)
    monkeypatch.setattr(sampling, "ALL", 20)
    monkeypatch.setattr(sampling, "_DRAWN", 40)
    drawn = train(small_work(small, tmp_path / "drawn"), 4, lambda text, share: None)
    assert drawn[FIGURE] == pytest.approx(everything[FIGURE], rel=0.05)


def test_what_is_asked_for_wrongly_is_told(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"--rule length=3: give one of gap_minutes, least_views, least_seen"):
        rules_of(["length=3"])
    with pytest.raises(UsageError, match="no session is left; --rule least_seen=1 keeps"):
        make_plan(Work("next-best-offer", tmp_path), log, Rules(least_seen=10**6), 7, None)
    assert command(monkeypatch, "evaluate", "--out", str(tmp_path / "nowhere")) == 2
    assert command(monkeypatch, "train", "--events", str(log), "--from", "2030-01-01", "--out", str(tmp_path)) == 2
    monkeypatch.setattr("sys.argv", ["tidecast-export", "train", "reorder", "--task", "next-item"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
