"""Logs that nothing can be learnt from say so in one sentence."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from export.errors import UsageError
from export.history import read_log
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
