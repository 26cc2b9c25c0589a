"""Rows of items and days: of a shop with very many items, some are drawn, whole and by their names alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.datasets import stockout
from export.datasets.stockout import build
from export.history import read_log
from features.aggregations.base import DAY_MS
from tests.export.shop import FIRST_MS, write_shop

_FROM, _TEST, _UNTIL = (FIRST_MS + days * DAY_MS for days in (28, 60, 80))


def test_a_part_of_the_items_has_the_rows_that_it_has_among_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = read_log(write_shop(tmp_path, days=120, customers=40, products=60))
    every = build(log, _FROM, _UNTIL, _TEST, seed=1)
    wanted = len(every["item"]) // 4
    monkeypatch.setattr(stockout, "_MOST_ROWS", wanted)
    some = build(log, _FROM, _UNTIL, _TEST, seed=1)
    assert 0.4 * wanted < len(some["item"]) < 1.6 * wanted
    tested = [rows["as_of_ms"] >= _TEST for rows in (every, some)]
    assert 0.5 < tested[1].mean() / tested[0].mean() < 2.0, "of both parts"
    of = [{row.tobytes() for row in rows["features"][at]} for rows, at in zip((every, some), tested, strict=True)]
    assert of[1] < of[0], "an item's rows do not hang on which others there are"
    assert build(log, _FROM, _UNTIL, _TEST, seed=2)["item"].max() == some["item"].max(), "whatever the seed is"


def test_labels_reach_the_end_of_the_log_whatever_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = read_log(write_shop(tmp_path, days=120, customers=40, products=60))
    until = log.last_ms // DAY_MS * DAY_MS - 28 * DAY_MS
    monkeypatch.setattr(stockout, "_MOST_ROWS", 200)
    found = build(log, _FROM, until, _TEST, seed=1)
    assert found["as_of_ms"].max() == until - 1
    assert np.isfinite(found["demand"]).all()
