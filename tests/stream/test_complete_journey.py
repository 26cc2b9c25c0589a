"""Complete Journey: where every row goes, what a line costs, and the command; on a table of a few made-up rows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stream.errors import UsageError
from stream.eventlog import read_records
from stream.events import OrderPlaced
from stream.imports import build_event_log
from stream.imports.complete_journey import read_complete_journey

_NOON = dt.datetime(2017, 1, 1, 12)
_NOON_MS = 1_483_272_000_000


def row(basket: int, product: int, minute: int = 0, **more: Any) -> dict[str, Any]:
    plain = {
        "household_id": 900,
        "store_id": 330,
        "basket_id": basket,
        "product_id": product,
        "quantity": 2,
        "sales_value": 3.0,
        "retail_disc": 0.0,
        "coupon_disc": 0.0,
        "coupon_match_disc": 0.0,
        "week": 1,
        "transaction_timestamp": _NOON + dt.timedelta(minutes=minute),
    }
    return plain | more


def product(number: int, department: str = "GROCERY", kind: str | None = "ICE - CRUSHED/CUBED") -> dict[str, Any]:
    return {
        "product_id": number,
        "manufacturer_id": 2,
        "department": department,
        "brand": "National",
        "product_category": "FRZN ICE",
        "product_type": kind,
        "package_size": "22 LB" if kind else None,
    }


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    pl.DataFrame(rows).write_parquet(folder / "transactions.parquet")
    products = [
        product(1),
        product(2, kind=None),
        product(3, "FUEL"),
        product(4, "COUPON"),
        product(5, "MISCELLANEOUS"),
    ]
    pl.DataFrame(products).write_parquet(folder / "products.parquet")
    return folder / "transactions.parquet"


def test_every_row_goes_one_way(tmp_path: Path) -> None:
    rows = [
        row(1, 1),
        row(1, 2, quantity=0),
        row(1, 3),
        row(2, 4),
        row(2, 5),
        row(3, 1, sales_value=-1.0),
        row(4, 99, minute=1),
    ]
    imported = read_complete_journey(written(tmp_path, rows))
    assert imported.report.rows == {
        "order_placed_lines": 2,
        "no_products": 3,
        "no_quantity": 1,
        "rejected": 1,
        "after_the_last_order": 0,
    }
    assert [order.order_id for order in imported.orders] == ["1", "4"]
    assert [(p.sku, p.name, p.category) for p in imported.catalog] == [
        ("1", "Ice - Crushed/Cubed 22 Lb", "FRZN ICE"),
        ("99", "99", None),
    ]


def test_a_basket_is_an_order_of_its_household_in_its_shop(tmp_path: Path) -> None:
    rows = [
        row(7, 2, minute=3),
        row(7, 1, minute=1, quantity=4, sales_value=6.0, retail_disc=1.5, coupon_match_disc=0.5),
    ]
    (order,) = read_complete_journey(written(tmp_path, rows)).orders
    assert isinstance(order, OrderPlaced)
    assert (order.customer_id, order.location, order.event_time_ms) == ("900", "store-330", _NOON_MS + 60_000)
    plain, reduced = order.lines
    assert (plain.sku, plain.unit_price, plain.discount) == ("2", 1.5, 0.0)
    assert (reduced.sku, reduced.unit_price, reduced.discount) == ("1", 2.0, 0.25)
    assert reduced.quantity * reduced.unit_price * (1 - reduced.discount) == pytest.approx(6.0)


def test_the_first_baskets_are_taken(tmp_path: Path) -> None:
    rows = [row(2, 1, minute=5), row(1, 3, minute=0), row(3, 1, minute=1), row(4, 1, minute=9)]
    imported = read_complete_journey(written(tmp_path, rows), orders=2)
    assert [order.order_id for order in imported.orders] == ["3", "2"]
    assert imported.report.rows["after_the_last_order"] == 1


def test_another_products_table_makes_another_event_log(tmp_path: Path) -> None:
    source = written(tmp_path, [row(1, 1)])
    first = build_event_log("complete-journey", source, tmp_path / "log", simulate=False)
    assert build_event_log("complete-journey", source, tmp_path / "log", simulate=False) == first
    assert {r.topic for r in read_records(tmp_path / "log")} == {"catalog", "orders"}
    pl.DataFrame([product(1, kind="SNOW")]).write_parquet(tmp_path / "products.parquet")
    assert build_event_log("complete-journey", source, tmp_path / "log", simulate=False) != first


def test_other_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"give transactions\.parquet of Complete Journey, with products\.parquet beside"
    ):
        read_complete_journey(tmp_path / "transactions.parquet")
    source = written(tmp_path, [row(1, 1)])
    pl.DataFrame([{"product_id": 1}]).write_parquet(tmp_path / "products.parquet")
    with pytest.raises(UsageError, match="has no column department"):
        read_complete_journey(source)
