"""The rows of the evaluation, against the same counted from whole baskets in plain Python; and what it measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from export.datasets.baskets import Baskets, baskets_of, rows_after, rows_before
from export.datasets.popularity import Popularity
from export.errors import UsageError
from export.evaluations import reorder
from export.history import Log, read_log
from features.ids import hash64
from features.vectors.reorder import FEATURES
from tests.export.shop import DAY_MS, FIRST_MS, write_shop

#: From here on is tested.
FROM_MS = FIRST_MS + 150 * DAY_MS
NAMES = list(FEATURES)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop"), customers=20)


@pytest.fixture(scope="module")
def log(shop: Path) -> Log:
    return read_log(shop)


@pytest.fixture(scope="module")
def baskets(log: Log) -> Baskets:
    return baskets_of(log)


@pytest.fixture(scope="module")
def plain(shop: Path) -> list[tuple[str, int, set[int]]]:
    """Customer, time and products of each basket, in order."""
    placed = pl.read_parquet(shop / "orders.parquet").filter(
        pl.col("customer_id").is_not_null() & (pl.col("type") == "order_placed")
    )
    return [
        (row["customer_id"], row["event_time_ms"], {hash64(line["sku"]) for line in row["lines"]})
        for row in placed.iter_rows(named=True)
    ]


def test_rows_before_a_basket_are_all_of_the_past_and_nothing_of_it(log: Log, baskets: Baskets, plain: Any) -> None:
    wanted = (baskets.time_ms >= FROM_MS) & (baskets.earlier >= 3)
    rows = rows_before(log, baskets, wanted)
    for at in np.flatnonzero(wanted)[::7].tolist():
        customer, time_ms, held = plain[at]
        past = [products for who, when, products in plain[:at] if who == customer]
        assert baskets.earlier[at] == len(past)
        here = rows["basket"] == at
        found = baskets.products[rows["product"][here]]
        assert sorted(found.tolist()) == sorted(set().union(*past))
        assert set(found[rows["label"][here]].tolist()) == held & set().union(*past)
        assert (rows["as_of_ms"][here] == time_ms).all()
        times = [sum(p in products for products in past) for p in found.tolist()]
        assert rows["features"][here, NAMES.index("product_orders")].tolist() == times


def test_rows_after_a_basket_hold_it_and_wait_for_a_later_one(log: Log, baskets: Baskets, plain: Any) -> None:
    wanted = (baskets.time_ms >= FROM_MS) & (baskets.earlier >= 3)
    rows = rows_after(log, baskets, wanted)
    for at in np.flatnonzero(wanted)[::7].tolist():
        customer, time_ms, held = plain[at]
        here = rows["basket"] == at
        found = baskets.products[rows["product"][here]].tolist()
        assert held <= set(found)
        for product, days in zip(found, rows["next_days"][here].tolist(), strict=True):
            later = [t for who, t, p in plain if who == customer and t > time_ms and product in p]
            expected = (min(later) // 1000 - time_ms // 1000) / 86_400 if later else np.inf
            assert days == pytest.approx(expected)


def test_nothing_of_the_future_is_in_a_row(shop: Path, log: Log, baskets: Baskets, tmp_path: Path) -> None:
    cut_ms = FROM_MS + 10 * DAY_MS
    past = pl.read_parquet(shop / "orders.parquet").filter(pl.col("event_time_ms") < cut_ms)
    past.write_parquet(tmp_path / "orders.parquet")
    (tmp_path / "catalog.parquet").write_bytes((shop / "catalog.parquet").read_bytes())
    shorter = read_log(tmp_path)
    known = baskets_of(shorter)
    for make in (rows_before, rows_after):
        full, part = (
            Popularity(Popularity.of_log(of, b.products)).join(
                make(of, b, (b.time_ms >= FROM_MS) & (b.time_ms < cut_ms) & (b.earlier >= 1))
            )
            for of, b in ((log, baskets), (shorter, known))
        )
        order, other = (
            np.lexsort((b.products[r["product"]], r["basket"])) for b, r in ((baskets, full), (known, part))
        )
        np.testing.assert_array_equal(full["features"][order], part["features"][other])


class Model:
    """Ranks by how often a product was bought, and says that of chances too."""

    def __init__(self, directory: Path) -> None:
        pass

    def __call__(self, rows: Any) -> Any:
        features = rows["features"]
        return features[:, 0].astype(float), np.clip(features[:, 1].astype(float), 0, 1)


def test_figures_come_with_intervals_and_baselines(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reorder, "Scores", Model)
    found = {m.name: m for m in reorder.evaluate(shop, shop, FROM_MS, draws=20)}
    ranked, chance = found["NDCG@10, next basket"], found["AUC, 30 days, whole past"]
    assert ranked.value == pytest.approx(ranked.baselines["personal frequency"], abs=0.02)
    assert set(ranked.baselines) == {"personal frequency", "TIFU-KNN", "LightGBM"}
    assert set(chance.baselines) == {"personal frequency", "logistic regression", "LightGBM"}
    assert ranked.ci95 is not None
    assert ranked.ci95[0] <= ranked.value <= ranked.ci95[1]
    less = found["NDCG@10, next basket, less LightGBM"]
    assert less.value == pytest.approx(ranked.value - ranked.baselines["LightGBM"])
    assert "AUC, 30 days, whole past, without the 3 customers with most rows" in found
    assert "NDCG@10, next basket, as the engine feeds it" in found


def test_nothing_to_test_is_a_usage_error(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reorder, "Scores", Model)
    with pytest.raises(UsageError, match="no order from 2100-01-01 on has 3 orders of its customer before it"):
        reorder.evaluate(shop, shop, 4_102_444_800_000, draws=0)
