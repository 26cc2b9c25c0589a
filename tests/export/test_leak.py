"""The leak that matters most: a row's features must not change when what comes after its as-of time does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from export.datasets import reorder, stockout
from export.history import Level, Log, customer_levels, read_log
from tests.export.shop import DAY_MS, FIRST_MS, write_shop

CUT_MS = FIRST_MS + 120 * DAY_MS


def _without_the_future(source: Path, target: Path) -> Path:
    target.mkdir()
    orders = pl.read_parquet(source / "orders.parquet").filter(pl.col("event_time_ms") < CUT_MS)
    orders.write_parquet(target / "orders.parquet")
    (target / "catalog.parquet").write_bytes((source / "catalog.parquet").read_bytes())
    return target


def test_reorder_features_do_not_see_the_future(tmp_path: Path) -> None:
    whole = write_shop(tmp_path / "whole")
    past = _without_the_future(whole, tmp_path / "past")
    full, cut = (reorder.build(read_log(d), CUT_MS, seed=1) for d in (whole, past))
    fresh = full["moment"] != reorder.AGED, cut["moment"] != reorder.AGED
    np.testing.assert_array_equal(full["features"][fresh[0]], cut["features"][fresh[1]])
    assert (full["next_days"][fresh[0]] < cut["next_days"][fresh[1]]).any()  # labels do see it


def test_stockout_features_do_not_see_the_future(tmp_path: Path) -> None:
    whole = write_shop(tmp_path / "whole")
    past = _without_the_future(whole, tmp_path / "past")
    until = CUT_MS - 28 * DAY_MS
    full, cut = (stockout.build(read_log(d), FIRST_MS, until, until, seed=1, share=1.0) for d in (whole, past))
    np.testing.assert_array_equal(full["features"], cut["features"])


def test_a_planted_leak_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows whose as-of time lies before the newest event of their state hold part of their own label."""
    log = read_log(write_shop(tmp_path / "shop"))
    assert _leaks(reorder.build(log, CUT_MS, seed=1)) == 0

    def too_early(of: Log, views: Any = None) -> Iterator[Level]:
        for level in customer_levels(of, views):
            yield replace(level, as_of_ms=level.as_of_ms - DAY_MS)

    monkeypatch.setattr(reorder, "customer_levels", too_early)
    assert _leaks(reorder.build(log, CUT_MS, seed=1)) > 0


def _leaks(rows: dict[str, Any]) -> int:
    """Rows whose state holds an event after the as-of time, where the label window starts."""
    return int((rows["state_ms"] > rows["as_of_ms"]).sum())
