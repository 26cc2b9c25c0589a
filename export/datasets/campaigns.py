"""Coupon campaigns of an event log: what each offers, whom it was mailed to, and what households bought.

A campaign is the part of an offer's id before the slash; its products are those of all its offers. Whoever has an
`offer_impression` of the campaign was mailed. Success is one of its products bought within five days of its start.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from export.datasets.products import Products
from export.history import Log
from features.aggregations.base import DAY_MS
from features.ids import hash64
from features.rows import FIXED_POINT, OrderKind

#: A campaign's product counts as taken within so many days of the start.
WITHIN_DAYS = 5


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign.

    Args:
        name: such as `campaign-13-A`.
        begins_ms: event time of its start.
        product: what it offers, ascending, index into the catalog, int64 of shape (p,).
        coupon: for each product the smallest coupon that holds it, numbered from 0, int64 of shape (p,).
        coupon_size: how many products that coupon is for, int64 of shape (p,).
        mailed: customers, codes as in `Purchases`, int64 of shape (m,).
    """

    name: str
    begins_ms: int
    product: NDArray[np.int64]
    coupon: NDArray[np.int64]
    coupon_size: NDArray[np.int64]
    mailed: NDArray[np.int64]

    @property
    def kind(self) -> str:
        """The last part of its name.

        >>> nobody = np.empty(0, np.int64)
        >>> Campaign("campaign-13-A", 0, nobody, nobody, nobody, nobody).kind
        'A'
        """
        return self.name.rpartition("-")[2]


@dataclass(frozen=True, slots=True)
class Purchases:
    """What customers bought: a row a customer, basket and product, by customer and then time.

    Args:
        customers: their keys; codes point into them.
        starts: where each customer's rows begin, and the end, int64 of shape (c + 1,).
        customer, basket, product: codes, int64 of shape (n,).
        time_ms: event times, int64 of shape (n,).
    """

    customers: list[str]
    starts: NDArray[np.int64]
    customer: NDArray[np.int64]
    basket: NDArray[np.int64]
    product: NDArray[np.int64]
    time_ms: NDArray[np.int64]

    def before(self, customer: int, at_ms: int) -> slice:
        """Rows of a customer strictly before a time."""
        begin, end = self.starts[customer : customer + 2].tolist()
        return slice(begin, begin + int(np.searchsorted(self.time_ms[begin:end], at_ms)))

    def bought(self, customer: int, from_ms: int, until_ms: int) -> NDArray[np.int64]:
        """Distinct products that a customer bought from a time on, before another."""
        return np.unique(self.product[self.before(customer, from_ms).stop : self.before(customer, until_ms).stop])

    def taken(self, campaign: Campaign, customer: int, at_ms: int) -> NDArray[np.int64]:
        """Products of a campaign that the customer bought within `WITHIN_DAYS` of a time."""
        found = self.bought(customer, at_ms, at_ms + WITHIN_DAYS * DAY_MS)
        return np.intersect1d(found, campaign.product)


def purchases_of(log: Log, products: Products) -> Purchases:
    """The purchases of all known customers, of products that are in the catalog."""
    orders, lines = log.history.orders, log.history.order_lines
    basket = np.repeat(np.arange(len(orders)), orders.columns["lines"] // FIXED_POINT)
    product = products.index(lines.columns["product"]).astype(np.int64)
    customers, customer = np.unique(np.array(lines.entities), return_inverse=True)
    keep = (lines.columns["kind"] == OrderKind.PLACED) & (product >= 0)
    parts = [customer, lines.columns["event_time_ms"], basket, product]
    rows = np.unique(np.stack([part[keep].astype(np.int64) for part in parts]), axis=1)
    starts = np.searchsorted(rows[0], np.arange(len(customers) + 1))
    return Purchases(customers.tolist(), starts, rows[0], rows[2], rows[3], rows[1])


def campaigns_of(events: Path, products: Products, customers: list[str]) -> list[Campaign]:
    """The campaigns of an event log by their start; none where its offers have no campaigns.

    Args:
        events: the event log.
        products: its catalog.
        customers: whose codes `mailed` gives; others are left out.
    """
    if not (events / "offers.parquet").exists() or not (events / "clicks.parquet").exists():
        return []
    offers = pl.read_parquet(events / "offers.parquet")
    if "skus" not in offers.columns:
        return []
    coupons = (
        offers.filter(pl.col("offer_id").str.contains("/") & (pl.col("skus").list.len() > 0))
        .with_columns(campaign=pl.col("offer_id").str.split("/").list.first(), size=pl.col("skus").list.len())
        .sort("valid_from_ms", "campaign", "size", "offer_id")
    )
    shown = pl.scan_parquet(events / "clicks.parquet").filter(pl.col("type") == "offer_impression")
    mailed = shown.select("customer_id", "offer_id").collect()
    code = {key: at for at, key in enumerate(customers)}
    return [
        _campaign(name, rows, products, mailed.filter(pl.col("offer_id") == name)["customer_id"].to_list(), code)
        for (name,), rows in coupons.group_by("campaign", maintain_order=True)
    ]


def _campaign(
    name: object, coupons: pl.DataFrame, products: Products, mailed: list[str], code: dict[str, int]
) -> Campaign:
    """A product is of its smallest coupon: coupons come by their size."""
    rows = coupons.with_row_index("number").explode("skus").unique("skus", keep="first", maintain_order=True)
    ids = np.array([hash64(sku) for sku in rows["skus"].to_list()], np.uint64)
    product = products.index(ids).astype(np.int64)
    order = np.argsort(product, kind="stable")
    order = order[product[order] >= 0]
    return Campaign(
        name=str(name),
        begins_ms=int(coupons["valid_from_ms"].item(0)),
        product=product[order],
        coupon=rows["number"].to_numpy().astype(np.int64)[order],
        coupon_size=rows["size"].to_numpy().astype(np.int64)[order],
        mailed=np.array(sorted({code[key] for key in mailed if key in code}), np.int64),
    )
