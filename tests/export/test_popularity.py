"""Joined features, against the same counted in plain Python from the lines of the log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from export.datasets.baskets import baskets_of
from export.datasets.popularity import Popularity
from export.history import read_log
from features.ids import hash64
from tests.export.shop import DAY_MS, FIRST_MS, write_shop


def test_it_counts_the_lines_of_whole_days_before_today(tmp_path: Path) -> None:
    shop = write_shop(tmp_path, customers=20)
    log = read_log(shop)
    products = baskets_of(log).products
    placed = pl.read_parquet(shop / "orders.parquet").filter(pl.col("type") == "order_placed")
    lines = [
        (row["event_time_ms"] // DAY_MS, hash64(line["sku"]), row["customer_id"])
        for row in placed.iter_rows(named=True)
        for line in row["lines"]
    ]
    popularity = Popularity(Popularity.of_log(log, products))
    for number, at in [(0, 30), (3, 31), (17, 100), (40, 150), (41, 150), (len(products) - 1, 200)]:
        as_of_ms = FIRST_MS + at * DAY_MS + 7_000_000
        today, product = as_of_ms // DAY_MS, int(products[number])
        windows = [[(day, of) for day, of, _ in lines if today - days <= day < today] for days in (7, 28, 84)]
        held = [[of for _, of in window].count(product) for window in windows]
        usual = len(windows[-1]) / (today - min(day for day, _ in windows[-1]))
        expected = [1e6 * count / (usual * days) for count, days in zip(held, (7, 28, 84), strict=True)]
        shares = [1000 * count / len(window) for count, window in zip(held, windows, strict=True)]
        expected += [np.log((shares[k] + 2) / (shares[k + 1] + 2)) for k in (0, 1)]
        customers = [customer for day, of, customer in lines if day < today and of == product]
        expected.append(len(customers) / len(set(customers) - {None}))
        found = popularity.columns({"product": np.array([number]), "as_of_ms": np.array([as_of_ms])})
        assert found[0].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_what_nobody_bought_yet_is_unknown(tmp_path: Path) -> None:
    log = read_log(write_shop(tmp_path, customers=20))
    rows = {"product": np.array([0]), "as_of_ms": np.array([FIRST_MS])}
    found = Popularity(Popularity.of_log(log, baskets_of(log).products)).columns(rows)[0]
    assert found[:5].tolist() == [0.0] * 5
    assert np.isnan(found[5])
