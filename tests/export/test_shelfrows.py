"""Rows that the hazards for workers are trained on: what a worker would have scored, and nothing of the future."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from export.datasets.hazard import HazardRows, hazard_rows
from export.datasets.hourly import Hourly, read_hourly
from export.datasets.shelfrows import shelf_features
from export.errors import UsageError
from features.aggregations.base import HOUR_MS
from features.store import MemoryStore
from features.vectors import shelf
from stream.eventlog import read_records
from stream.ticks import Ticks
from tests.export.hours import made_up, write_hours
from tests.stream.build import Engine, Message, RecordingSink, fake_model, fake_models, fed, shelf_outputs

Log = tuple[Path, Hourly, HazardRows]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    events = write_hours(tmp_path_factory.mktemp("hours"), made_up(days=11, shops=4))
    hours = read_hourly(events)
    first = hours.first_day
    return events, hours, hazard_rows(hours, np.arange(len(hours.items)), first + 8, first + 11)


def test_they_are_what_a_worker_feeds_the_model(log: Log) -> None:
    events, hours, rows = log
    features = shelf_features(events, hours, rows)
    made = Engine(
        MemoryStore(),
        RecordingSink(),
        joined=True,
        models=fake_models() | {"stockout": fake_model("stockout", "stockout", shelf_outputs, heads=("shelf",))},
    )
    made.assign({("inventory", 0): None})
    model = made.scoring.scorers["stockout"].model
    at = {(int(row), hours.items[item]): i for i, (row, item) in enumerate(zip(rows.row, rows.item, strict=True))}
    records = list(read_records(events, ("inventory",)))
    times = pl.read_parquet(events / "inventory.parquet")["event_time_ms"].to_numpy()
    compared = 0
    for time in np.unique(times).tolist():
        offsets = np.flatnonzero(times == time).tolist()
        before = len(fed(model))
        made.commit.process([Message(("inventory", 0, n), records[n].key, records[n].value) for n in offsets])
        Ticks(made.store, made.state.watermarks, made.ownership).write()
        if (time + 1) % HOUR_MS:
            continue
        hour = (time + 1) // HOUR_MS - 1
        row = (hour // 24 - hours.first_day) * hours.a_day + hour % 24 - hours.opens
        keys = list(dict.fromkeys((records[n].key or b"").decode() for n in offsets))
        for feeds in fed(model)[before:]:
            if len(feeds.get("shelf", ())) != len(keys):
                continue
            for key, live in zip(keys, feeds["shelf"], strict=True):
                if not np.isnan(live).all() and (row, key) in at:
                    np.testing.assert_array_equal(live, features[at[row, key]], err_msg=f"{key} {row}")
                    compared += 1
    assert compared > len(rows) / 4


def test_nothing_of_the_future_is_in_them(log: Log, tmp_path: Path) -> None:
    events, hours, rows = log
    whole = shelf_features(events, hours, rows)
    row = int(rows.row[len(rows) // 2])
    ends_ms = int(hours.day[row] * 24 + hours.opens + hours.hour[row] + 1) * HOUR_MS
    (tmp_path / "catalog.parquet").write_bytes((events / "catalog.parquet").read_bytes())
    inventory = pl.read_parquet(events / "inventory.parquet")
    inventory.filter(pl.col("event_time_ms") < ends_ms).write_parquet(tmp_path / "inventory.parquet")
    here = rows.row == row
    np.testing.assert_array_equal(shelf_features(tmp_path, hours, rows)[here], whole[here])
    later = inventory.with_columns(
        quantity=pl.when(pl.col("event_time_ms") >= ends_ms).then(pl.col("quantity") * 7).otherwise(pl.col("quantity"))
    )
    later.write_parquet(tmp_path / "inventory.parquet")
    np.testing.assert_array_equal(shelf_features(tmp_path, hours, rows)[here], whole[here])


def test_the_order_of_the_log_does_not_matter(log: Log, tmp_path: Path) -> None:
    events, hours, rows = log
    inventory = pl.read_parquet(events / "inventory.parquet")
    inventory.sort("location", "event_time_ms", maintain_order=True).write_parquet(tmp_path / "inventory.parquet")
    found = shelf_features(tmp_path, hours, rows)
    np.testing.assert_array_equal(found, shelf_features(events, hours, rows))


def test_of_what_nobody_asks_there_are_no_rows(log: Log) -> None:
    """Every row is one of an item in stock while its shop is open: `asked` says so as well."""
    _, hours, rows = log
    assert (hours.hour[rows.row] < len(shelf.OPENING) - 1).all()


def test_a_broken_log_is_told(log: Log, tmp_path: Path) -> None:
    _, hours, rows = log
    with pytest.raises(UsageError):
        shelf_features(tmp_path, hours, rows)


@pytest.mark.parametrize("named", ["nowhere", "in one city"])
def test_a_location_without_a_region_has_what_its_items_alone_tell(tmp_path: Path, log: Log, named: str) -> None:
    """As a worker feeds it: what the region tells is unknown, all else is the same."""
    events, hours, rows = log
    whole = shelf_features(events, hours, rows)
    bare = [item.partition("/")[2] if named == "nowhere" or item.startswith("city-1") else item for item in hours.items]
    other = replace(hours, items=bare)
    found = shelf_features(write_hours(tmp_path, other), other, rows)
    alone = np.array(["/" not in item for item in bare])[rows.item]
    joined = np.zeros(len(shelf.FEATURES), bool)
    joined[shelf.joined_columns()] = True
    np.testing.assert_array_equal(found[:, ~joined], whole[:, ~joined])
    assert np.isnan(found[np.ix_(alone, joined)]).all()
    np.testing.assert_array_equal(found[~alone], whole[~alone])
    assert alone.all() == (named == "nowhere")


def test_shops_may_be_open_at_other_hours(tmp_path: Path, log: Log) -> None:
    """Such a log gives rows; that the view takes some of its hours for closed is a limit that docs/models.md tells."""
    _, hours, _ = log
    early = replace(hours, opens=3)
    events = write_hours(tmp_path, early)
    read = read_hourly(events)
    rows = hazard_rows(read, np.arange(len(read.items)), read.first_day + 8, read.first_day + 11)
    found = shelf_features(events, read, rows)
    assert found.shape == (len(rows), len(shelf.FEATURES))
    assert np.isfinite(found[:, 0]).all()
