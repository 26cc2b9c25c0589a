"""Logs that nothing can be learnt from say so in one sentence; large ones are folded some customers after others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from export import history
from export.datasets.baskets import baskets_of, rows_before
from export.errors import UsageError
from export.history import customer_levels, read_log
from export.tasks import task_of
from tests.export.shop import write_shop


@pytest.fixture(scope="module")
def nameless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop that knows none of its customers."""
    shop = write_shop(tmp_path_factory.mktemp("shop"))
    orders = pl.read_parquet(shop / "orders.parquet")
    orders.with_columns(customer_id=pl.lit(None, pl.String)).write_parquet(shop / "orders.parquet")
    return shop


def test_no_orders_at_all(tmp_path: Path) -> None:
    (tmp_path / "orders.jsonl").touch()
    with pytest.raises(UsageError, match="hold no order lines"):
        read_log(tmp_path)


def test_a_catalog_that_cannot_be_read(tmp_path: Path) -> None:
    shop = write_shop(tmp_path)
    (shop / "catalog.parquet").unlink()
    (shop / "catalog.jsonl").write_text('{"sku": "p1"\n')
    with pytest.raises(UsageError, match="its catalog or orders cannot be read"):
        read_log(shop)


def test_an_empty_catalog_names_nothing(tmp_path: Path) -> None:
    shop = write_shop(tmp_path)
    (shop / "catalog.parquet").unlink()
    (shop / "catalog.jsonl").touch()
    products = read_log(shop).catalog
    assert len(products) == 80
    assert (products["name"] == products["sku"]).all()


@pytest.mark.parametrize("model", ["reorder", "next-best-offer"])
def test_models_of_customers_want_customers(nameless: Path, model: str) -> None:
    with pytest.raises(UsageError, match="none of its orders names a customer"):
        task_of(model).dataset(nameless, None, seed=1)


def test_stock_needs_none(nameless: Path) -> None:
    arrays, _ = task_of("stockout").dataset(nameless, None, seed=1)
    assert len(arrays["demand"]) > 100


def test_customers_after_one_another_give_the_rows_that_all_at_once_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = read_log(write_shop(tmp_path, days=90, customers=25), of_customers=True)
    baskets = baskets_of(log)
    wanted = np.ones(len(baskets.customer), np.bool_)
    at_once = rows_before(log, baskets, wanted)
    levels = sum(1 for _ in customer_levels(log))
    monkeypatch.setattr(history, "_MOST_BYTES", 8 * 1120)
    assert sum(1 for _ in customer_levels(log)) > 2 * levels
    after_one_another = rows_before(log, baskets, wanted)
    orders = [np.lexsort((rows["product"], rows["basket"])) for rows in (at_once, after_one_another)]
    assert len(orders[0]) > 1_000
    for name in ("features", "product", "basket", "as_of_ms", "label"):
        np.testing.assert_array_equal(at_once[name][orders[0]], after_one_another[name][orders[1]], err_msg=name)
    np.testing.assert_array_equal(at_once["recent"], after_one_another["recent"])


def test_each_level_says_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = read_log(write_shop(tmp_path, days=60, customers=9), of_customers=True)
    orders, seen = log.history.orders, []
    monkeypatch.setattr(history, "_MOST_BYTES", 1)  # one customer at a time
    for level in customer_levels(log):
        assert len(level.slots) == 1
        event, later = int(level.event[0]), int(level.next_event[0])
        mine = [i for i, name in enumerate(orders.entities) if name == orders.entities[event] and i > event]
        assert later == (mine[0] if mine else -1)
        seen.append(event)
    assert sorted(seen) == list(range(len(orders)))
