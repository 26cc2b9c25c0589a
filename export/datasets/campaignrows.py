"""Columns of (household at a moment, product of a campaign): what the household bought before, and what sells.

Everything is of before the moment; popularity is of the days before its day. The candidates of a list are the
products of the campaign that the household bought before and the `POPULAR` ones that sold best in 60 days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.datasets.campaigns import Campaign, Purchases
from features.aggregations.base import DAY_MS

Floats = NDArray[np.float64]

POPULAR = 200
#: Half-lives of decayed counts, in days.
_HALF_LIVES_DAYS = (7.0, 30.0, 90.0)
_WINDOWS_DAYS = (7, 30, 60)

#: Columns, with what each means; "own" is of the household and the product itself.
FEATURES: dict[str, str] = {
    "own_baskets": "baskets with the product",
    "own_decayed_7": "the same, decayed (half-life 7 days)",
    "own_decayed_30": "the same, decayed (half-life 30 days)",
    "own_decayed_90": "the same, decayed (half-life 90 days)",
    "own_days_since": "days since the last of them",
    "own_gap_days": "mean days between them",
    "own_due": "days since the last over the mean gap",
    "own_share": "share of the household's baskets",
    "own_part": "decayed count (30 days) over that of all the household bought",
    "own_relative": "decayed count (30 days) over the largest in the list",
    "name_baskets": "lines of products of the same name",
    "name_decayed": "the same, decayed (half-life 30 days)",
    "name_days_since": "days since the last of them",
    "category_lines": "lines of products of its category",
    "category_decayed": "the same, decayed (half-life 30 days)",
    "category_days_since": "days since the last of them",
    "coupon_lines": "lines of products of its coupon",
    "coupon_decayed": "the same, decayed (half-life 30 days)",
    "coupon_days_since": "days since the last of them",
    "sold_7": "lines of anyone in 7 days",
    "sold_30": "lines of anyone in 30 days",
    "sold_60": "lines of anyone in 60 days",
    "sold_place": "place in the campaign by lines of anyone in 60 days",
    "repeat_share": "share of all its lines that are a household's second or later",
    "coupon_sold": "lines of anyone in 30 days of all products of its coupon",
    "coupon_products": "products of its coupon",
    "price": "its price",
    "campaign_products": "products of the campaign",
    "household_baskets": "baskets of the household",
    "household_baskets_30": "baskets of the household in 30 days",
    "household_days_since": "days since its last basket",
    "household_products": "different products that it ever bought",
}


@dataclass(frozen=True, slots=True)
class Catalog:
    """Numbers of the catalog's products, each of shape (p,): price, and codes of equal names and categories."""

    price: Floats
    name: NDArray[np.int64]
    category: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Lists, one after another.

    Args:
        features: columns as `FEATURES`, NaN is unknown, float32 of shape (n, width).
        label: whether it was bought within the days, float32 of shape (n,).
        product: index into the catalog, int64 of shape (n,).
        starts: where each list begins, and the end, int64 of shape (l + 1,).
        wanted: products of the campaign that were bought, also such as are no candidates, int64 of shape (l,).
    """

    features: NDArray[np.float32]
    label: NDArray[np.float32]
    product: NDArray[np.int64]
    starts: NDArray[np.int64]
    wanted: NDArray[np.int64]

    @property
    def list_of(self) -> NDArray[np.int64]:
        """The list of each row, int64 of shape (n,)."""
        return np.repeat(np.arange(len(self.wanted)), np.diff(self.starts))

    def column(self, name: str) -> Floats:
        """One column, 0 where it is unknown, float64 of shape (n,)."""
        return np.nan_to_num(self.features[:, list(FEATURES).index(name)].astype(np.float64))


class Sales:
    """Lines of every product before each day of the log."""

    def __init__(self, purchases: Purchases, products: int) -> None:
        self.first_ms = int(purchases.time_ms.min()) // DAY_MS * DAY_MS
        day = (purchases.time_ms - self.first_ms) // DAY_MS
        pair = purchases.customer * products + purchases.product
        first = np.zeros(len(pair), np.bool_)
        first[np.unique(pair, return_index=True)[1]] = True  # rows are by customer and time
        self.lines = _running(day, purchases.product, int(day.max()) + 2, products)
        self.firsts = _running(day[first], purchases.product[first], int(day.max()) + 2, products)

    def day(self, at_ms: int) -> int:
        """The day of a time, as `lines` and `firsts` count them; the last one for later times."""
        return min(max((at_ms - self.first_ms) // DAY_MS, 0), len(self.lines) - 1)

    def within(self, day: int, days: int, product: NDArray[np.int64]) -> Floats:
        """Lines in the days before a day, of the shape of `product`."""
        return np.asarray(self.lines[day, product] - self.lines[max(day - days, 0), product], np.float64)


def _running(day: NDArray[np.int64], product: NDArray[np.int64], days: int, products: int) -> NDArray[np.int32]:
    found = np.zeros((days, products), np.int32)
    np.add.at(found, (day + 1, product), 1)
    return np.asarray(found.cumsum(axis=0, dtype=np.int32))


def rows_of(lists: list[tuple[Campaign, int, int]], purchases: Purchases, sales: Sales, catalog: Catalog) -> Rows:
    """The rows of lists of a campaign, a household's code and a time each."""
    parts = [_list(*one, purchases, sales, catalog) for one in lists]
    features, label, product, wanted = zip(*parts, strict=True)
    starts = np.cumsum([0, *(len(part) for part in label)])
    return Rows(np.concatenate(features), np.concatenate(label), np.concatenate(product), starts, np.array(wanted))


def _list(
    campaign: Campaign, customer: int, at_ms: int, purchases: Purchases, sales: Sales, catalog: Catalog
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], int]:
    day = sales.day(at_ms)
    sold = [sales.within(day, days, campaign.product) for days in _WINDOWS_DAYS]
    place = np.empty(len(campaign.product))
    place[np.argsort(-sold[-1], kind="stable")] = np.arange(len(campaign.product))
    rows = purchases.before(customer, at_ms)
    past = _Past(purchases.product[rows], purchases.basket[rows], (at_ms - purchases.time_ms[rows]) / DAY_MS)
    at = np.flatnonzero(np.isin(campaign.product, past.product) | (place < POPULAR))
    product, coupon = campaign.product[at], campaign.coupon
    held = np.searchsorted(campaign.product, past.product).clip(0, len(campaign.product) - 1)
    inside = campaign.product[held] == past.product
    coupon_of_past = np.where(inside, coupon[held], -1)
    lines = sales.lines[day, product]
    columns = [
        *past.own(product),
        *past.group(catalog.name[past.product], catalog.name[product]),
        *past.group(catalog.category[past.product], catalog.category[product]),
        *past.group(coupon_of_past, coupon[at]),
        *(part[at] for part in sold),
        place[at],
        1.0 - sales.firsts[day, product] / np.maximum(lines, 1),
        np.bincount(coupon, weights=sold[1])[coupon[at]],
        campaign.coupon_size[at],
        catalog.price[product],
        np.full(len(at), float(len(campaign.product))),
        *(np.full(len(at), number) for number in past.household()),
    ]
    taken = purchases.taken(campaign, customer, at_ms)
    label = np.isin(product, taken).astype(np.float32)
    return np.column_stack(columns).astype(np.float32), label, product, len(taken)


@dataclass(frozen=True, slots=True)
class _Past:
    """Lines of a household, with their ages in days."""

    product: NDArray[np.int64]
    basket: NDArray[np.int64]
    age: Floats

    def own(self, wanted: NDArray[np.int64]) -> list[Floats]:
        count = _sums(self.product, np.ones(len(self.age)), wanted)
        decayed = [_sums(self.product, 0.5 ** (self.age / half), wanted) for half in _HALF_LIVES_DAYS]
        last, first = _least(self.product, self.age, wanted), -_least(self.product, -self.age, wanted)
        gap = np.where(count > 1, (first - last) / np.maximum(count - 1, 1), np.nan)
        due = last / np.maximum(gap, 0.5)
        share = count / max(len(np.unique(self.basket)), 1)
        part = decayed[1] / max((0.5 ** (self.age / 30.0)).sum(), 1e-9)
        return [count, *decayed, last, gap, due, share, part, decayed[1] / max(decayed[1].max(initial=0.0), 1e-9)]

    def group(self, of: NDArray[np.int64], wanted: NDArray[np.int64]) -> list[Floats]:
        """Lines, decayed lines and days since the last, by the group that products belong to."""
        weights = (np.ones(len(self.age)), 0.5 ** (self.age / 30.0))
        return [*(_sums(of, weight, wanted) for weight in weights), _least(of, self.age, wanted)]

    def household(self) -> list[float]:
        if not len(self.age):
            return [0.0, 0.0, np.nan, 0.0]
        ages = self.age[np.unique(self.basket, return_index=True)[1]]
        recent = float((ages <= 30.0).sum())
        return [float(len(ages)), recent, float(ages.min()), float(len(np.unique(self.product)))]


def _sums(key: NDArray[np.int64], weight: Floats, wanted: NDArray[np.int64]) -> Floats:
    """The summed weights of each wanted key, 0 where it does not occur."""
    keys, place = np.unique(key, return_inverse=True)
    total = np.append(np.bincount(place, weights=weight, minlength=len(keys)), 0.0)
    return np.asarray(total[_place(keys, wanted)])


def _least(key: NDArray[np.int64], value: Floats, wanted: NDArray[np.int64]) -> Floats:
    """The smallest value of each wanted key, NaN where it does not occur."""
    keys, place = np.unique(key, return_inverse=True)
    least = np.full(len(keys) + 1, np.inf)
    np.minimum.at(least, place, value)
    least[-1] = np.nan
    return least[_place(keys, wanted)]


def _place(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each wanted key is in ascending keys; past their end where it is not."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64)
    at = np.searchsorted(keys, wanted).clip(0, len(keys) - 1)
    return np.where(keys[at] == wanted, at, len(keys)).astype(np.int64)
