"""Leave one campaign out: what is held out does not teach, and figures are of the right lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.datasets.campaignrows import Rows
from export.evaluations import campaigns
from export.evaluations.bootstrap import resamples
from export.evaluations.campaigns import Lists, figures, held_out, lists_of, measure
from tests.export.campaignshop import write_campaign_shop
from tests.export.shop import write_shop


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lists, Rows]:
    found = lists_of(write_campaign_shop(tmp_path_factory.mktemp("shop")), practice=40, seed=1)
    assert found is not None
    return found


def test_every_list_has_a_success(made: tuple[Lists, Rows]) -> None:
    lists, practice = made
    assert (lists.rows.wanted > 0).all()
    assert (practice.wanted > 0).all()
    assert len(lists.held) == 3, "one campaign has too few lists"
    assert set(lists.kinds) == {"A", "B"}


def test_labels_of_a_held_campaign_do_not_move_its_scores(
    made: tuple[Lists, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    lists, practice = made
    monkeypatch.setattr(campaigns, "SMALLEST", int(np.bincount(lists.campaign).max()))
    monkeypatch.setattr(campaigns, "_ROUNDS", 5)
    here = (lists.campaign == lists.held[0])[lists.rows.list_of]
    swapped = np.where(here, 1 - lists.rows.label, lists.rows.label).astype(np.float32)
    other = replace(lists, rows=replace(lists.rows, label=swapped))
    plain, moved = (held_out(one, practice, 1, lambda text, share: None) for one in (lists, other))
    for name in ("", "LightGBM", "LightGBM, practised"):
        np.testing.assert_array_equal(plain[name][here], moved[name][here])
        assert len(np.unique(plain[name][here])) > 1


def test_a_perfect_score_has_the_oracles_figures(made: tuple[Lists, Rows]) -> None:
    lists, _ = made
    label = lists.rows.label.astype(np.float64)
    scores = {"": label, "LightGBM": -label, "oracle": label}
    found = {metric.name: metric for metric in figures(lists, scores, resamples(60, 20, 1))}
    ndcg = found["NDCG@10, campaigns held out"]
    assert ndcg.value == ndcg.baselines["oracle"] == pytest.approx(1.0)
    apart = found["NDCG@10, campaigns held out, less LightGBM"]
    assert apart.ci95 is not None
    assert 0 < apart.ci95[0] <= apart.value <= apart.ci95[1]
    assert {name.split(", ", 1)[1] for name in found if not name.endswith("LightGBM")} >= {
        "campaigns of type A",
        "campaigns of type B",
    }


def test_a_log_without_campaigns_has_no_such_figures(tmp_path: Path) -> None:
    assert measure(write_shop(tmp_path, days=40), 10, 1, lambda text, share: None, practice=5) == []
