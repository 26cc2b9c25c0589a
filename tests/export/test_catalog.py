"""The catalog that training reads: complete, whatever the log has."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from export.catalog import read_products
from export.history import read_log
from tests.export.shop import write_shop


def test_a_log_without_a_catalog_calls_products_by_their_skus(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    listed = read_products(shop)
    (shop / "catalog.parquet").unlink()
    found = read_products(shop)
    assert found.columns == listed.columns
    assert set(found["sku"]) <= set(listed["sku"])
    assert found["name"].to_list() == found["sku"].to_list()
    assert found["unit_price"].unique().to_list() == [1.5]
    assert len(read_log(shop).catalog) == len(found)


def test_jsonl_will_do(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    wanted = read_log(shop)
    for topic in ("orders", "catalog"):
        pl.read_parquet(shop / f"{topic}.parquet").write_ndjson(shop / f"{topic}.jsonl")
        (shop / f"{topic}.parquet").unlink()
    found = read_log(shop)
    assert found.catalog.equals(wanted.catalog)
    assert len(found.history.demand) == len(wanted.history.demand)


def test_what_the_catalog_lacks_is_made_up_for(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    whole = read_products(shop)
    few = whole.head(5).select(type=pl.lit("product"), sku="sku", name="name", unit_price="unit_price")
    few.write_parquet(shop / "catalog.parquet")
    found = read_products(shop)
    assert found.head(5)["name"].to_list() == whole.head(5)["name"].to_list()
    assert set(found["lead_time_days"]) == {7.0}
    assert set(found["sku"]) >= set(whole.filter(pl.col("sku").is_in(found["sku"].implode()))["sku"])
    assert found["sku"].is_unique().all()


def test_no_orders_and_no_catalog_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no event log"):
        read_products(tmp_path)
