"""Coupon campaigns of Complete Journey: what each table becomes, and that every row of it goes one way."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stream.errors import UsageError
from stream.events import Offer, OfferImpression, OfferRedeemed
from stream.imports.coupons import Coupons, read_coupons

_DAY = dt.datetime(2017, 3, 1)


def sold(product: str, day: int, hour: int = 15, share: float = 0.0) -> dict[str, Any]:
    return {
        "household_id": "7",
        "product_id": product,
        "order_time": _DAY + dt.timedelta(days=day, hours=hour),
        "price": 2.0,
        "coupon_share": share,
    }


def read(folder: Path, lines: list[dict[str, Any]], *redemptions: tuple[int, int]) -> Coupons:
    tables: dict[str, list[dict[str, Any]]] = {
        "campaign_descriptions": [
            {"campaign_id": 1, "campaign_type": "Type B", "start_date": _DAY, "end_date": _DAY + dt.timedelta(days=9)},
            {"campaign_id": 2, "campaign_type": "Type A", "start_date": dt.datetime(2018, 1, 1), "end_date": _DAY},
        ],
        "campaigns": [{"campaign_id": c, "household_id": 7} for c in (1, 2, 3)],
        "coupons": [
            {"coupon_upc": 50, "product_id": product, "campaign_id": campaign}
            for product, campaign in ((1, 1), (2, 1), (2, 1), (9, 1), (1, 2), (1, 3))
        ],
        "coupon_redemptions": [
            {
                "household_id": 7,
                "coupon_upc": 50,
                "campaign_id": campaign,
                "redemption_date": _DAY + dt.timedelta(days=day),
            }
            for campaign, day in redemptions
        ]
        or [{"household_id": 7, "coupon_upc": 50, "campaign_id": 1, "redemption_date": _DAY}],
    }
    for name, rows in tables.items():
        pl.DataFrame(rows).write_parquet(folder / f"{name}.parquet")
    return read_coupons(folder / "transactions.parquet", pl.DataFrame(lines))


_LINES = [sold("1", 0), sold("2", 1), sold("2", 3, share=0.1), sold("2", 5, share=0.3)]


def test_a_coupon_is_an_offer_of_its_products_and_the_best_seller_stands_for_it(tmp_path: Path) -> None:
    found = read(tmp_path, _LINES)
    (offer,) = found.offers
    assert isinstance(offer, Offer)
    assert (offer.offer_id, offer.sku, offer.skus) == ("campaign-1-B/50", "2", ["2", "1"])
    assert (offer.discount, offer.margin, offer.simulated) == (0.2, 0.6, True)
    assert found.reports["coupons"].rows == {
        "after_the_last_order": 1,
        "coupon_products": 2,
        "never_sold": 1,
        "twice": 1,
        "unknown_campaign": 1,
    }


def test_days_are_those_of_new_york(tmp_path: Path) -> None:
    (offer,) = read(tmp_path, _LINES).offers
    begins = dt.datetime(2017, 3, 1, 5, tzinfo=dt.UTC)
    assert offer.valid_from_ms == int(begins.timestamp() * 1000)
    assert offer.valid_until_ms - offer.valid_from_ms == 10 * 86_400_000


def test_the_mailed_see_the_campaign(tmp_path: Path) -> None:
    found = read(tmp_path, _LINES)
    (mailed,) = [event for event in found.clicks if isinstance(event, OfferImpression)]
    assert (mailed.customer_id, mailed.offer_id) == ("7", "campaign-1-B")
    assert mailed.event_time_ms == found.offers[0].valid_from_ms
    assert found.reports["campaigns"].rows == {"after_the_last_order": 1, "mailed": 1, "unknown_campaign": 1}


def test_a_redemption_is_at_the_basket_of_its_day_or_at_noon(tmp_path: Path) -> None:
    found = read(tmp_path, _LINES, (1, 1), (1, 2), (3, 2), (1, 30))
    redeemed = [event for event in found.clicks if isinstance(event, OfferRedeemed)]
    hours = [dt.datetime.fromtimestamp(event.event_time_ms / 1000, dt.UTC) for event in redeemed]
    assert [(hour.day, hour.hour) for hour in hours] == [(2, 15), (3, 17)]
    assert {event.offer_id for event in redeemed} == {"campaign-1-B/50"}
    assert found.reports["coupon_redemptions"].rows == {"after_the_last_order": 1, "redeemed": 2, "unknown_campaign": 1}


def test_without_the_tables_there_are_no_campaigns_but_half_of_them_is_an_error(tmp_path: Path) -> None:
    lines = pl.DataFrame(_LINES)
    assert read_coupons(tmp_path / "transactions.parquet", lines) == Coupons([], [], {})
    pl.DataFrame({"campaign_id": [1], "household_id": [7]}).write_parquet(tmp_path / "campaigns.parquet")
    with pytest.raises(
        UsageError,
        match=r"campaign_descriptions\.parquet: cannot be read as parquet .* give all of .*coupons\.parquet.*, or none",
    ):
        read_coupons(tmp_path / "transactions.parquet", lines)
