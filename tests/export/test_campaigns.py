"""Campaign rows: what is read of an event log, columns against a plain count, and nothing of the future."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.datasets.campaignrows import FEATURES, Catalog, Rows, Sales, rows_of
from export.datasets.campaigns import WITHIN_DAYS, Campaign, Purchases, campaigns_of, purchases_of
from export.datasets.products import Products
from export.history import read_log
from export.tasks.practice import KNOWN, practice_lists, thinned
from features.aggregations.base import DAY_MS
from tests.export.campaignshop import BEGINS_DAYS, write_campaign_shop
from tests.export.shop import FIRST_MS, write_shop

Shop = tuple[list[Campaign], Purchases, Catalog]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    events = write_campaign_shop(tmp_path_factory.mktemp("shop"))
    log = read_log(events)
    products = Products(log)
    purchases = purchases_of(log, products)
    codes = np.arange(len(products.price))
    catalog = Catalog(products.price.astype(np.float64), codes, codes % 5)
    return campaigns_of(events, products, purchases.customers), purchases, catalog


def rows(shop: Shop, purchases: Purchases | None = None) -> Rows:
    campaigns, bought, catalog = shop
    bought = purchases or bought
    lists = [(campaign, int(who), campaign.begins_ms) for campaign in campaigns for who in campaign.mailed[:20]]
    return rows_of(lists, bought, Sales(bought, len(catalog.price)), catalog)


def test_campaigns_are_read_with_products_smallest_coupons_and_the_mailed(shop: Shop) -> None:
    campaigns, purchases, _ = shop
    assert [campaign.name for campaign in campaigns] == [f"campaign-{n}-{'AB'[n % 2]}" for n in range(4)]
    assert [campaign.begins_ms for campaign in campaigns] == [FIRST_MS + day * DAY_MS for day in BEGINS_DAYS]
    for campaign in campaigns:
        assert len(campaign.product) == 20
        assert (np.diff(campaign.product) > 0).all()
        assert sorted(campaign.coupon_size.tolist()) == [5] * 5 + [20] * 15
        assert len(np.unique(campaign.coupon)) == 2
        assert [purchases.customers[at] for at in campaign.mailed] == sorted(str(n) for n in range(60))


def test_a_log_without_campaigns_has_none(tmp_path: Path) -> None:
    log = read_log(write_shop(tmp_path, days=40))
    assert campaigns_of(tmp_path, Products(log), ["1"]) == []


def test_columns_are_what_a_plain_count_gives(shop: Shop) -> None:
    campaigns, purchases, _ = shop
    found = rows(shop)
    campaign, who = campaigns[0], int(campaigns[0].mailed[0])
    mine = np.flatnonzero((purchases.customer == who) & (purchases.time_ms < campaign.begins_ms))
    end = campaign.begins_ms + WITHIN_DAYS * DAY_MS
    late = (purchases.customer == who) & (purchases.time_ms >= campaign.begins_ms) & (purchases.time_ms < end)
    for row in range(int(found.starts[1])):
        lines = mine[purchases.product[mine] == found.product[row]]
        age = (campaign.begins_ms - purchases.time_ms[lines]) / DAY_MS
        assert found.column("own_baskets")[row] == len(lines)
        assert found.column("own_decayed_30")[row] == pytest.approx((0.5 ** (age / 30)).sum(), rel=1e-5)
        assert found.label[row] == (found.product[row] in purchases.product[late])
    known = np.flatnonzero(found.column("own_baskets") > 1)
    gap = found.column("own_gap_days")[known]
    assert (gap > 0).all()
    assert np.isnan(found.features[found.column("own_baskets") == 0, list(FEATURES).index("own_days_since")]).all()


def test_what_comes_after_the_start_changes_labels_only(shop: Shop) -> None:
    campaigns, purchases, _ = shop
    kept = purchases.time_ms < campaigns[0].begins_ms
    starts = np.searchsorted(purchases.customer[kept], np.arange(len(purchases.customers) + 1))
    parts = {name: getattr(purchases, name)[kept] for name in ("customer", "basket", "product", "time_ms")}
    without = replace(purchases, starts=starts, **parts)
    here = slice(0, int(rows(shop).starts[20]))
    np.testing.assert_array_equal(rows(shop, without).features[here], rows(shop).features[here])
    assert rows(shop).label[here].any()
    assert not rows(shop, without).label.any()


def test_practice_shares_no_day_with_a_campaign_that_is_tested(shop: Shop) -> None:
    campaigns, purchases, _ = shop
    apart = np.array([campaign.begins_ms for campaign in campaigns])
    found = practice_lists(campaigns, purchases, apart, 30, seed=1)
    assert len(found) == 30
    assert min(np.abs(apart - at_ms).min() for _, _, at_ms in found) >= WITHIN_DAYS * DAY_MS
    assert all(len(purchases.taken(campaign, who, at_ms)) for campaign, who, at_ms in found)


def test_thinning_does_not_look_at_labels(shop: Shop) -> None:
    found = rows(shop)
    many = replace(found, starts=np.array([0, len(found.label)]), wanted=np.array([9]))
    few = thinned(many, np.ones(1, np.bool_), seed=1)
    other = thinned(replace(many, label=1 - many.label), np.ones(1, np.bool_), seed=1)
    np.testing.assert_array_equal(few, other)
    known = many.column("own_baskets")[few] > 0
    assert (int(known.sum()), int((~known).sum())) == (KNOWN, 40)
    nothing = replace(many, label=np.zeros_like(many.label))
    assert len(thinned(nothing, np.ones(1, np.bool_), seed=1)) == 0
