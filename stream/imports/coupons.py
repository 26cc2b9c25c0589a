"""Coupon campaigns of Complete Journey: to topic `offers`, and who was mailed and redeemed to topic `clicks`.

Rules:

* A coupon of a campaign is an offer, `campaign-13-A/51380041013`: campaign, its type, the coupon's number. It is for
  any of its `skus`; `sku` is the one that sold most lines in the whole log. What was never sold is in no catalog.
* Dates are days in New York: an offer is valid from the first day's midnight to the end of the last day.
* A household that a campaign was mailed to has an `offer_impression` at the campaign's start. It names the campaign
  (`campaign-13-A`), for the source does not say which coupons of it were in the letter.
* A redemption is `offer_redeemed` at the household's first basket of that day, or at noon where there is none.
* What a coupon takes off is the median share that coupons took off its products' lines; 0 where none was used.
  Margins are not in the source: they are made up as half the price less the discount, so each offer says `simulated`.

Source: see `stream.imports.complete_journey`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from stream.events import ClickEvent, Offer, OfferImpression, OfferRedeemed
from stream.imports.dataset import ImportReport
from stream.imports.source import Kind, read_columns

#: The tables, with their columns; they lie beside `transactions.parquet`.
TABLES: dict[str, dict[str, Kind]] = {
    "campaign_descriptions": {
        "campaign_id": pl.String, "campaign_type": pl.String,
        "start_date": pl.Datetime("ms"), "end_date": pl.Datetime("ms"),
    },
    "campaigns": {"campaign_id": pl.String, "household_id": pl.String},
    "coupons": {"coupon_upc": pl.String, "product_id": pl.String, "campaign_id": pl.String},
    "coupon_redemptions": {
        "household_id": pl.String, "coupon_upc": pl.String, "campaign_id": pl.String,
        "redemption_date": pl.Datetime("ms"),
    },
}  # fmt: skip
#: The files of these tables.
FILES = tuple(f"{name}.parquet" for name in TABLES)

_ZONE = "America/New_York"
_MARGIN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Coupons:
    """Records of the campaigns.

    Args:
        offers: by the time they begin.
        clicks: in event-time order.
        reports: where every row of each table went.
    """

    offers: list[Offer]
    clicks: list[ClickEvent]
    reports: dict[str, ImportReport]


def read_coupons(source: Path, sold: pl.DataFrame) -> Coupons:
    """Reads the campaigns.

    Args:
        source: `transactions.parquet`, beside which the tables lie.
        sold: lines of orders: household_id, product_id, order_time (UTC), price, and coupon_share, what the coupon took
            off as a share of the price.

    Returns:
        Nothing where none of the tables is there; nothing later than the last of `sold`.

    Raises:
        UsageError: some of the tables are missing, or one is another table.
    """
    there = [source.with_name(name).exists() for name in FILES]
    if not any(there) or not sold.height:
        return Coupons([], [], {})
    files = f"all of {', '.join(FILES)} of Complete Journey, or none"
    tables = {
        name: read_columns(source.with_name(f"{name}.parquet"), columns, "a table of Complete Journey", files)
        for name, columns in TABLES.items()
    }
    campaigns = _campaigns(tables["campaign_descriptions"])
    until = sold["order_time"].max()
    offers, coupon_report = _offers(tables["coupons"], campaigns, sold, until)
    mailed, mailed_report = _mailed(tables["campaigns"], campaigns, until)
    redeemed, redeemed_report = _redeemed(tables["coupon_redemptions"], campaigns, sold, until)
    reports = {"coupons": coupon_report, "campaigns": mailed_report, "coupon_redemptions": redeemed_report}
    return Coupons(offers, sorted([*mailed, *redeemed], key=lambda event: event.event_time_ms), reports)


def _day(name: str) -> pl.Expr:
    """Midnight in New York of a date, in the log's time."""
    return pl.col(name).dt.replace_time_zone(_ZONE).dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _campaigns(described: pl.DataFrame) -> pl.DataFrame:
    letter = pl.col("campaign_type").str.split(" ").list.last()
    return described.select(
        "campaign_id",
        "campaign_type",
        campaign=pl.format("campaign-{}-{}", "campaign_id", letter),
        begins=_day("start_date"),
        ends=_day("end_date").dt.offset_by("1d"),
    )


def _offers(
    coupons: pl.DataFrame, campaigns: pl.DataFrame, sold: pl.DataFrame, until: Any
) -> tuple[list[Offer], ImportReport]:
    products = sold.group_by("product_id").agg(
        lines=pl.len(),
        price=pl.col("price").median(),
        share=pl.col("coupon_share").filter(pl.col("coupon_share") > 0).median(),
    )
    rows = coupons.join(campaigns, on="campaign_id", how="left").join(products, on="product_id", how="left")
    way = (
        pl.when(pl.col("begins").is_null()).then(pl.lit("unknown_campaign"))
        .when(pl.col("begins") > until).then(pl.lit("after_the_last_order"))
        .when(pl.col("lines").is_null()).then(pl.lit("never_sold"))
        .when(pl.struct("campaign_id", "coupon_upc", "product_id").is_first_distinct()).then(pl.lit("coupon_products"))
        .otherwise(pl.lit("twice"))
    )  # fmt: skip
    rows = rows.with_columns(way=way)
    grouped = (
        rows.filter(pl.col("way") == "coupon_products")
        .sort("begins", "campaign", "coupon_upc", pl.col("lines") * -1, "product_id")
        .group_by("begins", "campaign", "coupon_upc", "campaign_type", "ends", maintain_order=True)
        .agg("product_id", pl.col("price").first(), pl.col("share").median())
        .with_columns(begins_ms=pl.col("begins").dt.epoch("ms"), ends_ms=pl.col("ends").dt.epoch("ms"))
    )
    offers = [_offer(row) for row in grouped.iter_rows(named=True)]
    return offers, _report(rows, {"offer": len(offers)})


def _offer(row: dict[str, Any]) -> Offer:
    discount = min(round(row["share"] or 0.0, 4), 1.0)
    return Offer(
        offer_id=f"{row['campaign']}/{row['coupon_upc']}",
        sku=row["product_id"][0],
        title=f"Coupon {row['coupon_upc']}, campaign of {row['campaign_type'].lower()}",
        discount=discount,
        margin=round(row["price"] * max(_MARGIN_SHARE - discount, 0.0), 4),
        valid_from_ms=row["begins_ms"],
        valid_until_ms=row["ends_ms"],
        skus=row["product_id"],
        simulated=True,
    )


def _mailed(rows: pl.DataFrame, campaigns: pl.DataFrame, until: Any) -> tuple[list[OfferImpression], ImportReport]:
    rows = rows.join(campaigns, on="campaign_id", how="left").with_columns(
        way=pl.when(pl.col("begins").is_null()).then(pl.lit("unknown_campaign"))
        .when(pl.col("begins") > until).then(pl.lit("after_the_last_order"))
        .otherwise(pl.lit("mailed"))
    )  # fmt: skip
    mailed = rows.filter(pl.col("way") == "mailed").select("campaign", "household_id", pl.col("begins").dt.epoch("ms"))
    events = [
        OfferImpression(
            event_id=f"{campaign}-mailed-{household}", event_time_ms=at, customer_id=household, offer_id=campaign
        )
        for campaign, household, at in mailed.sort("begins", "campaign", "household_id").iter_rows()
    ]
    return events, _report(rows, {"offer_impression": len(events)})


def _redeemed(
    rows: pl.DataFrame, campaigns: pl.DataFrame, sold: pl.DataFrame, until: Any
) -> tuple[list[OfferRedeemed], ImportReport]:
    sold = sold.with_columns(pl.col("order_time").cast(pl.Datetime("ms")))
    local = pl.col("order_time").dt.replace_time_zone("UTC").dt.convert_time_zone(_ZONE).dt.replace_time_zone(None)
    baskets = sold.group_by("household_id", redemption_date=local.dt.truncate("1d")).agg(pl.col("order_time").min())
    rows = (
        rows.join(campaigns, on="campaign_id", how="left")
        .join(baskets, on=["household_id", "redemption_date"], how="left")
        .with_columns(at=pl.coalesce("order_time", _day("redemption_date").dt.offset_by("12h")))
    )
    way = (
        pl.when(pl.col("begins").is_null()).then(pl.lit("unknown_campaign"))
        .when(pl.col("at") > until).then(pl.lit("after_the_last_order"))
        .otherwise(pl.lit("redeemed"))
    )  # fmt: skip
    rows = rows.with_columns(way=way)
    made = rows.filter(pl.col("way") == "redeemed").sort("at", "campaign", "coupon_upc", "household_id")
    events = [
        OfferRedeemed(
            event_id=f"{campaign}-redeemed-{number}",
            event_time_ms=at,
            customer_id=household,
            offer_id=f"{campaign}/{coupon}",
        )
        for number, (campaign, coupon, household, at) in enumerate(
            made.select("campaign", "coupon_upc", "household_id", pl.col("at").dt.epoch("ms")).iter_rows()
        )
    ]
    return events, _report(rows, {"offer_redeemed": len(events)})


def _report(rows: pl.DataFrame, events: dict[str, int]) -> ImportReport:
    ways = dict(rows.group_by("way").agg(pl.len()).sort("way").iter_rows())
    return ImportReport(rows_read=rows.height, rows=ways, events=events)
