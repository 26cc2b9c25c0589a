"""What is said of every shelf at a moment: that of training's own features, and nothing of what came later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from export.catalog import read_products
from export.cli import app
from export.datasets.dayfeatures import day_features
from export.datasets.days import days_of
from export.datasets.hazard import hazard_rows
from export.datasets.hazardfeatures import groups_of, hazard_features, hour_names
from export.datasets.hourly import IN_STOCK, read_hourly
from export.errors import UsageError
from export.evaluations.stockout import Heads
from export.shelves import COLUMNS, shelves_of, when, written
from features.aggregations.base import DAY_MS, HOUR_MS
from features.logfile import has_topic
from models.registry import SHIPPED, load
from models.session import Session
from tests.export.hours import A_DAY, FIRST_DAY, OPENS, made_up, write_hours

DAY = FIRST_DAY + 30
#: Two hours after opening, at noon, and an hour before closing.
HOURS = (8, 12, 21)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hours(tmp_path_factory.mktemp("hours"), made_up(days=34, shops=6))


@pytest.fixture(scope="module")
def model() -> Path:
    return load(SHIPPED, "stockout").directory


def at(hour: float, day: int = DAY) -> int:
    return day * DAY_MS + int(hour * HOUR_MS)


def cut(log: Path, until_ms: int, into: Path) -> Path:
    """The log as it was then."""
    into.mkdir()
    told = pl.read_parquet(log / "inventory.parquet").filter(pl.col("event_time_ms") < until_ms)
    told.write_parquet(into / "inventory.parquet")
    (into / "catalog.parquet").write_bytes((log / "catalog.parquet").read_bytes())
    return into


@pytest.mark.parametrize("hour", HOURS)
def test_it_is_what_training_would_have_seen(log: Path, model: Path, hour: int) -> None:
    found, hours = shelves_of(log, model, at(hour)), read_hourly(log)
    groups = groups_of(hours.items, dict(read_products(log).select("sku", "category").iter_rows()))
    rows = hazard_rows(hours, np.arange(len(hours.items)), DAY, DAY + 1)
    rows = rows.take(rows.row == 30 * A_DAY + hour - OPENS - 1)
    heads = Heads(Session(model / "model.onnx"), model)
    told = heads.hazards(hazard_features(hours, groups, rows)[1]).astype(np.float64)
    within = dict(zip(rows.item.tolist(), (1.0 - np.cumprod(1.0 - told, axis=1)).tolist(), strict=True))
    every = np.arange(len(hours.items))
    days = heads.next_day(day_features(days_of(hours), groups, np.full(len(every), DAY), every)[1])
    assert len(found) == len(every)
    for row in found.iter_rows(named=True):
        item = hours.items.index(f"{row['location']}:{row['sku']}")
        assert row["in_stock"] == (hours.state[30 * A_DAY + hour - OPENS - 1, item] == IN_STOCK)
        assert row["in_stock"] == (item in within)
        if row["in_stock"]:
            assert [row[f"p_out_{k}h"] for k in (1, 2, 3, 4)] == pytest.approx(within[item], abs=1e-6)
        assert [row[f"demand_{q}"] for q in ("q10", "q50", "q90")] == pytest.approx(days[item].tolist(), rel=1e-5)
        assert row["day"].toordinal() - 719_163 == DAY


@pytest.mark.parametrize("hour", [*HOURS, 22, 24])
def test_what_comes_later_changes_nothing(log: Path, model: Path, hour: int, tmp_path: Path) -> None:
    then = cut(log, at(hour), tmp_path / "then")
    assert_frame_equal(shelves_of(log, model, at(hour)), shelves_of(then, model, at(hour)))


def test_a_started_hour_has_not_happened(log: Path, model: Path) -> None:
    assert_frame_equal(shelves_of(log, model, at(12.7)), shelves_of(log, model, at(12)))


def test_first_comes_what_runs_out_first(log: Path, model: Path) -> None:
    found = shelves_of(log, model, at(12))
    assert tuple(found.columns) == COLUMNS
    here = found.filter("in_stock")
    risk = here["p_out_4h"].to_list()
    assert risk == sorted(risk, reverse=True)
    assert len(here) > 5
    assert (
        here.select((pl.col("p_out_1h") <= pl.col("p_out_2h")) & (pl.col("p_out_3h") <= pl.col("p_out_4h")))
        .to_series()
        .all()
    )
    gone = found.filter(~pl.col("in_stock"))
    assert len(gone) > 0
    assert gone.select(pl.col("p_out_1h").is_null().all(), pl.col("why").list.len().sum() == 0).row(0) == (True, True)
    for why in here["why"].to_list():
        sizes = [abs(reason["contribution"]) for reason in why]
        assert 0 < len(why) <= 3
        assert sizes == sorted(sizes, reverse=True)
        assert {reason["feature"] for reason in why} <= set(hour_names())


@pytest.mark.parametrize(("hour", "day"), [(2, DAY), (6, DAY), (22, DAY + 1), (23.5, DAY + 1)])
def test_a_closed_shop_has_demand_only(log: Path, model: Path, hour: float, day: int) -> None:
    found = shelves_of(log, model, at(hour))
    assert found["p_out_4h"].is_null().all()
    assert found["demand_q50"].is_not_null().all()
    assert {d.toordinal() - 719_163 for d in found["day"].to_list()} == {day}


def test_the_end_of_the_log_is_the_moment_if_none_is_given(log: Path, model: Path, tmp_path: Path) -> None:
    then = cut(log, at(12), tmp_path / "then")
    assert_frame_equal(shelves_of(then, model), shelves_of(log, model, at(12)))


def test_an_item_of_which_a_day_told_nothing_is_unknown_when_it_is_over(log: Path, model: Path, tmp_path: Path) -> None:
    then = cut(log, at(24), tmp_path / "then")
    told = pl.read_parquet(then / "inventory.parquet")
    silent = (pl.col("sku") == "0") & (pl.col("location") == "city-0/store-0") & (pl.col("event_time_ms") >= at(0))
    told.filter(~silent).write_parquet(then / "inventory.parquet")
    assert [len(shelves_of(then, model, at(hour))) for hour in (12, 24)] == [18, 17]


def test_the_price_that_was_told_for_tomorrow_is_known(log: Path, tmp_path: Path) -> None:
    then = cut(log, at(24), tmp_path / "then")
    told = pl.read_parquet(then / "inventory.parquet")
    price = told.head(1).with_columns(
        event_id=pl.lit("p"), type=pl.lit("price_set"), event_time_ms=pl.lit(at(20)), quantity=pl.lit(None, pl.Float64)
    )
    more = price.with_columns(discount=pl.lit(0.25), valid_from_ms=pl.lit(at(24)))
    pl.concat([told, more], how="diagonal").write_parquet(then / "inventory.parquet")
    item = f"{price['location'][0]}:{price['sku'][0]}"
    for until_ms in (at(24), at(21)):
        hours = read_hourly(then, until_ms=until_ms)
        assert hours.discount is not None
        assert len(hours.discount) == len(hours.sold) // A_DAY + 1 == 32
        known = hours.discount[:, hours.items.index(item)]
        assert known[31] == np.float32(0.25)
        assert np.isnan(known[:31]).all()
    assert read_hourly(then, until_ms=at(20)).discount is None


@pytest.mark.parametrize(
    ("day", "message"),
    [(FIRST_DAY + 36, "its hours end at"), (FIRST_DAY + 10, "begins less than 14 days before"), (2, "no units_sold")],
)
def test_moments_of_which_nothing_can_be_said(log: Path, model: Path, day: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        shelves_of(log, model, at(12, day))


def test_a_recording_will_do(log: Path, model: Path, tmp_path: Path) -> None:
    """Lines of JSON, with empty files of the topics that had no records."""
    pl.read_parquet(log / "inventory.parquet").write_ndjson(tmp_path / "inventory.jsonl")
    for topic in ("orders", "clicks", "catalog", "offers"):
        (tmp_path / f"{topic}.jsonl").touch()
    assert not has_topic(tmp_path, "orders")
    assert has_topic(tmp_path, "inventory")
    assert_frame_equal(shelves_of(tmp_path, model, at(12)), shelves_of(log, model, at(12)))


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_the_command_writes_all_items(log: Path, model: Path, form: str, tmp_path: Path) -> None:
    path = tmp_path / "made" / f"shelves.{form}"
    asked = ["shelves", "--events", str(log), "--at", when(at(12)), "--model", str(model), "--out", str(path)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    scans: dict[str, Callable[[Path], pl.LazyFrame]] = {
        "jsonl": pl.scan_ndjson,
        "csv": pl.scan_csv,
        "parquet": pl.scan_parquet,
    }
    table = scans[form](path).select("sku", "in_stock", "p_out_4h", "demand_q90").collect()
    found = shelves_of(log, model, at(12)).select(table.columns)
    assert_frame_equal(table.cast({"sku": pl.String}), found)


def test_a_form_that_nobody_knows_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.jsonl"):
        CliRunner().invoke(app, ["shelves", "--out", "x.xls"], catch_exceptions=False)
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        written(pl.DataFrame({"why": [[]], "demand_why": [[]]}), tmp_path / "a.csv")
