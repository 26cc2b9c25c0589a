from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.datasets.dayfeatures import day_names
from export.datasets.hazard import hazard_rows
from export.datasets.hazardfeatures import groups_of
from export.datasets.hourly import Hourly
from export.datasets.periods import held_out, periods_of
from export.errors import UsageError
from export.evaluations.hourheads import MEAN, RATES, UNSEEN, Bench, Plan
from export.evaluations.stockout import Heads, evaluate
from export.evaluations.trees import ALL
from models.manifest import Metric, read_manifest
from models.session import Session
from tests.export.hours import FIRST_DAY, made_up
from tests.export.shop import write_shop

DAY_MS = 86_400_000
STOCKOUT = Path(__file__).parents[3] / "models" / "artifacts" / "stockout"


def bench(hours: Hourly, plan: Plan, from_ms: int | None = None) -> Bench:
    return Bench(hours, groups_of(hours.items, {}), periods_of(hours, from_ms), plan)


def oracle(hours: Hourly, items: NDArray[Any], from_day: int) -> Any:
    """Knows what happens: the rows are asked in this order."""
    out = hazard_rows(hours, items, from_day, FIRST_DAY + 40).out
    return lambda features: out.astype(np.float64)


def by_name(metrics: list[Metric]) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


def test_hazards_are_measured_beside_rates_and_trees_also_on_unseen_shops() -> None:
    hours = made_up(shops=10)
    of = bench(hours, Plan(items=30, draws=10))
    found = by_name(of.hazards(oracle(hours, np.arange(30), FIRST_DAY + 33)))
    for where in ("", UNSEEN):
        auc = found[f"AUC of out within 4 h{where}"]
        assert auc.value == 1.0 > auc.baselines[ALL] > auc.baselines[RATES]
        less = found[f"AUC of out within 4 h{where}, less {ALL}"]
        assert less.ci95 is not None
        assert less.value == pytest.approx(auc.value - auc.baselines[ALL])
        assert found[f"ECE of out within 4 h{where}, evening"].value < 0.01


def test_segments_are_regions_and_a_shop_that_names_none_is_in_none() -> None:
    hours = made_up(shops=10)
    bare = [item.partition("/")[2] if item.startswith("city-1") else item for item in hours.items]
    found = by_name(
        bench(replace(hours, items=bare), Plan(items=30, draws=10, trees=False)).hazards(
            oracle(hours, np.arange(30), FIRST_DAY + 33)
        )
    )
    segments = {name.rpartition(", ")[2] for name in found if name.startswith("ECE of out within 4 h, ")}
    assert segments - {UNSEEN.strip(", ")} == {"city-0", "morning", "midday", "evening"}


def test_the_next_day_is_measured_beside_the_mean_and_trees() -> None:
    hours = made_up(shops=10)
    found = by_name(bench(hours, Plan(items=30, draws=10)).next_day(lambda x: np.ones((len(x), 3))))
    for where in ("", UNSEEN):
        wape = found[f"WAPE of the next day{where}"]
        assert wape.ci95 is not None
        assert wape.value > wape.baselines[MEAN]
        assert wape.value > wape.baselines[ALL]


def test_the_test_period_is_the_last_week_unless_it_is_told() -> None:
    hours = made_up()
    assert periods_of(hours) == periods_of(hours, (FIRST_DAY + 33) * DAY_MS)
    assert periods_of(hours, (FIRST_DAY + 30) * DAY_MS).validation == FIRST_DAY + 23
    for day in (10, 40):
        with pytest.raises(
            UsageError, match=r"can't begin on .*: this event log of hours allows 2024-04-19 to 2024-05-06"
        ):
            periods_of(hours, (FIRST_DAY + day) * DAY_MS)
    with pytest.raises(UsageError, match="of 16 days, from 2024-03-28 on: too few for a time split, which takes 23"):
        periods_of(made_up(days=16))


def test_whole_shops_are_held_out() -> None:
    items = made_up(shops=20).items
    shops = {item.partition(":")[0] for item, out in zip(items, held_out(items, 0), strict=True) if out}
    assert len(shops) == 2
    assert sum(item.partition(":")[0] in shops for item in items) == held_out(items, 0).sum()


def released_with(tmp_path: Path, change: Callable[[list[str]], list[str]]) -> tuple[Session, Path]:
    """The newest release, as if its head of days had been released with other names."""
    copy = shutil.copytree(max(STOCKOUT.iterdir()), tmp_path / "released", dirs_exist_ok=True)
    manifest = json.loads((copy / "manifest.json").read_bytes())
    head = next(head for head in manifest["heads"] if head["input"] == "days")
    head["features"] = change(head["features"])
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return Session(copy / "model.onnx"), copy


def test_a_released_head_is_fed_by_the_names_of_its_features(tmp_path: Path) -> None:
    """So that a release is still measured when features have come since, or stand in another order."""
    session, model = released_with(tmp_path, lambda names: names[::-1])
    rows = np.random.default_rng(1).uniform(0, 5, (6, len(day_names()))).astype(np.float32)
    named = next(head.features for head in read_manifest(model).heads if head.input == "days")
    columns = [day_names().index(name) for name in named]
    item = {
        "features": np.zeros((6, 15)),
        "lead_time_days": np.ones(6),
        "position": np.zeros(6),
        "service_level": [0.9],
    }
    feeds = {name: np.asarray(array, np.float32) for name, array in item.items()} | {"days": rows[:, columns]}
    expected = session.run(feeds, 6, frozenset({"service_level"}))["next_day"]
    told = Heads(session, model).next_day(rows)
    assert np.array_equal(told, expected)
    assert not np.array_equal(told, Heads(session, max(STOCKOUT.iterdir())).next_day(rows))


def test_a_model_of_other_features_is_refused(tmp_path: Path) -> None:
    rows = np.zeros((1, len(day_names())), np.float32)
    session, model = released_with(tmp_path, lambda names: names[1:])
    with pytest.raises(UsageError, match=r"the model takes \d+ features of days; there are"):
        Heads(session, model).next_day(rows)
    session, model = released_with(tmp_path, lambda names: ["moon_phase", *names[1:]])
    with pytest.raises(UsageError, match="the model takes moon_phase of days, which are no longer computed"):
        Heads(session, model).next_day(rows)


def test_a_log_with_nothing_to_measure_is_refused(tmp_path: Path) -> None:
    model = max(STOCKOUT.iterdir())
    with pytest.raises(UsageError, match="no orders, and its inventory has no units_sold"):
        evaluate(model, tmp_path)


def test_a_log_of_orders_is_measured_by_its_lead_times(tmp_path: Path) -> None:
    events = write_shop(tmp_path)
    found = by_name(evaluate(max(STOCKOUT.iterdir()), events))
    assert set(found) >= {"pinball 0.9 of demand over the lead time", "coverage 0.9 of demand over the lead time"}
    assert not any("position" in name for name in found)  # it tells no stock levels
