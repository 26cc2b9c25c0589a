"""The joined columns of products, against the plain definition over a list of order lines."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import pytest

from features.aggregations.base import DAY_MS
from features.discovery import discover
from features.ids import hash64
from features.rows import ALL, OrderKind
from features.vectors.joined import FEATURES, ProductColumns, product_columns
from tests.features.streams import START_MS, Event, folded

VIEW = discover()["product_demand"]
PRODUCTS = ("A", "B", "C")
#: What a sketch of up to 20 customers is off by, at most, where its standard error is 9%.
NEARLY = 0.15


@dataclass(frozen=True)
class Line:
    sku: str
    customer: str | None
    time_ms: int
    kind: OrderKind = OrderKind.PLACED


def lines(seed: int, count: int = 400, days: int = 100) -> list[Line]:
    random = Random(seed)
    customers = [None, *(f"c{n}" for n in range(20))]
    return [
        Line(
            random.choice("AAAABB"),
            random.choice(customers),
            START_MS + random.randrange(days * DAY_MS),
            random.choice([*[OrderKind.PLACED] * 8, OrderKind.CANCELLED, OrderKind.RETURNED]),
        )
        for _ in range(count)
    ]


def joined(some: Sequence[Line], as_of_ms: int) -> ProductColumns:
    """Through the view: rows of each product, and of all together."""
    events = [
        Event(line.kind, line.time_ms, of, {"customer": hash64(line.customer) if line.customer else 0})
        for line in some
        for of in (line.sku, ALL)
    ]
    names, records = folded(VIEW, events)
    of = dict(zip(names, records, strict=True))
    blank = VIEW.blank[0]
    products = np.array([of.get(sku, blank) for sku in PRODUCTS], VIEW.dtype)
    whole = np.array([of.get(ALL, blank)] * len(PRODUCTS), VIEW.dtype)
    return product_columns(products, whole, np.full(len(PRODUCTS), as_of_ms))


def expected(some: Sequence[Line], sku: str, as_of_ms: int) -> list[float]:
    """The definition."""
    today = as_of_ms // DAY_MS
    placed = [line for line in some if line.kind == OrderKind.PLACED and line.time_ms // DAY_MS < today]
    windows = [[line for line in placed if line.time_ms // DAY_MS >= today - days] for days in (7, 28, 84)]
    told = today - min((line.time_ms // DAY_MS for line in windows[-1]), default=today - 84)
    held = [[line.sku for line in window].count(sku) for window in windows]
    of_usual = [
        1e6 * (count * told) / (days * max(len(windows[-1]), 1)) for count, days in zip(held, (7, 28, 84), strict=True)
    ]
    shares = [1000 * count / max(len(window), 1) for count, window in zip(held, windows, strict=True)]
    trends = [math.log((few + 2) / (many + 2)) for few, many in itertools.pairwise(shares)]
    own = [line for line in placed if line.sku == sku]
    customers = {line.customer for line in own} - {None}
    return [*of_usual, *trends, len(own) / len(customers) if customers else math.nan]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("as_of_days", [0.0, 0.5, 20.25, 99.5])
def test_they_are_what_the_definition_says(seed: int, as_of_days: float) -> None:
    some = sorted(lines(seed), key=lambda line: line.time_ms)
    as_of_ms = START_MS + int(as_of_days * DAY_MS)
    seen = [line for line in some if line.time_ms <= as_of_ms + DAY_MS]  # a day further than is asked
    found = joined(seen, as_of_ms)
    for sku, row in zip(PRODUCTS, found.columns, strict=True):
        definition = expected(some, sku, as_of_ms)
        np.testing.assert_array_equal(row[:5], np.array(definition[:5], np.float32))
        np.testing.assert_allclose(row[5], definition[5], rtol=NEARLY)


def test_a_surge_is_seen_and_the_size_of_the_shop_is_not() -> None:
    quiet = [Line(sku, "c", START_MS + day * DAY_MS) for day in range(84) for sku in "AB"]
    large = [replace(line, customer=f"c{n}") for line in quiet for n in range(10)]
    surge = [replace(line, time_ms=START_MS + day * DAY_MS) for day in range(77, 84) for line in quiet[:2] * 5]
    as_of_ms = START_MS + 84 * DAY_MS
    of = [joined(some, as_of_ms).columns[0, 0] for some in (quiet, large, [*quiet, *surge])]
    assert of[0] == of[1] == 500_000
    assert of[2] == pytest.approx(500_000 * 6 / (1 + 5 / 12), rel=1e-6)


def test_what_happens_today_changes_nothing() -> None:
    some = lines(1)
    as_of_ms = START_MS + 100 * DAY_MS + DAY_MS // 2
    today = [replace(line, sku="A", time_ms=as_of_ms - 1) for line in some[:50]]
    assert joined([*some, *today], as_of_ms).columns.tobytes() == joined(some, as_of_ms).columns.tobytes()


def test_a_version_counts_the_lines_until_yesterday() -> None:
    some = [Line("A", "c", START_MS + day * DAY_MS) for day in (0, 1, 1, 2)]
    assert joined(some, START_MS + 2 * DAY_MS).version.tolist() == [3.0] * 3


def test_records_that_are_days_ahead_are_no_version() -> None:
    """They cannot tell any more how many customers there were."""
    some = [Line("A", "c", START_MS + day * DAY_MS) for day in (0, 5)]
    assert np.isnan(joined(some, START_MS + 2 * DAY_MS).version).all()


def test_a_product_that_nobody_ordered_has_no_part_and_no_returning_customers() -> None:
    row = joined([Line("A", "c", START_MS)], START_MS + DAY_MS).columns[PRODUCTS.index("C")]
    assert row[:3].tolist() == [0, 0, 0]
    assert np.isnan(row[5])
    assert len(row) == len(FEATURES)
