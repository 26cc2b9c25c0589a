"""Words: every feature of every model is said as a person would say it."""

from __future__ import annotations

import msgspec
import pytest

from features.vectors import contract
from stream.events import Reason
from stream.words import because, sentence


@pytest.mark.parametrize("vector", ["reorder", "stockout", "next_best_offer"])
def test_every_feature_has_words(vector: str) -> None:
    for feature in contract(vector).features:
        for value in (0.0, 1.0, 7.3):
            said = because([Reason(feature, value, 1.0)])
            assert "_" not in said
            assert "{" not in said
            assert said != f"{feature.replace('_', ' ')} {value:g}"
        assert because([Reason(feature, None, 1.0)])


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (Reason("product_orders", 3.0, 0.1), "bought 3 times"),
        (Reason("product_orders", 1.0, 0.1), "bought once"),
        (Reason("product_share", 0.43, 0.1), "in 43% of the customer's orders"),
        (Reason("product_due", 1.23, 0.1), "1.2 times the usual gap has passed"),
        (Reason("product_gap_days", None, 0.1), "no usual gap known yet"),
        (Reason("units_7d", 1234.0, 0.1), "1,234 ordered in 7 days"),
        (Reason("bought LANTERN", 0.2, 0.1), "bought LANTERN today"),
        (Reason("bought_before", 5.0, 0.1), "bought this 5 times"),
        (Reason("bought_before", 1.0, 0.1), "bought this once"),
        (Reason("viewed LANTERN", 3.9, 0.1), "looked at LANTERN 3 days ago"),
        (Reason("shop_ppm_7d", 2000.0, 0.1), "2,000 in a million of the shop's usual lines this week"),
        (Reason("my_own", None, 0.1), "my own unknown"),
    ],
)
def test_a_reason_is_said(reason: Reason, said: str) -> None:
    assert because([reason]) == said


def test_what_moved_nothing_is_no_reason() -> None:
    assert because([Reason("product_orders", 3.0, 0.0)]) == ""
    assert because([]) == ""


def test_no_more_than_asked_and_none_twice() -> None:
    week = [Reason("weekday_sin", 0.4, 0.3), Reason("weekday_cos", 0.1, 0.2), Reason("units_7d", 4.0, 0.1)]
    assert because(week) == "the day of the week, 4 ordered in 7 days"
    assert because(week, most=1) == "the day of the week"


def test_what_speaks_against_comes_last() -> None:
    reasons = [Reason("product_days_since", 80.0, -0.9), Reason("product_orders", 3.0, 0.2)]
    assert because(reasons) == "bought 3 times, though 80 days since last"
    assert because(reasons[:1]) == "80 days since last"


SCORE = {
    "model": "reorder",
    "version": "1",
    "as_of_ms": 1_300_000_000_000,
    "fallback": None,
    "feature_time_ms": {},
    "source": [{"topic": "orders", "partition": 0, "offset": 1}],
}
WHY = [{"feature": "product_orders", "value": 3.0, "contribution": 0.5}]


def test_scores_are_sentences() -> None:
    product = {"sku": "A", "name": "LANTERN", "p_7d": 0.1, "p_14d": 0.2, "p_30d": 0.31, "reasons": WHY}
    record = SCORE | {"type": "reorder_scores", "customer_id": "42", "products": [product], "reasons": WHY}
    said = sentence(msgspec.json.encode(record))
    assert said == "customer 42: 31% buys LANTERN within 30 days (bought 3 times)"
    empty = record | {"products": [], "reasons": [], "fallback": "popularity"}
    assert sentence(msgspec.json.encode(empty)) == "customer 42: fallback popularity"


def test_alerts_are_sentences() -> None:
    alert = SCORE | {
        "type": "supply_alert",
        "location": "w",
        "sku": "A",
        "name": None,
        "status": "raised",
        "severity": "warning",
        "sequence": 1,
        "raised_at_ms": 1_300_000_000_000,
        "p_stockout": 0.5,
        "on_hand": 3.0,
        "days_of_cover": 1.0,
        "suggested_order_quantity": 1200.0,
        "simulated_stock": False,
        "reasons": [{"feature": "units_7d", "value": 9.0, "contribution": 0.1}],
    }
    late = "50% for an order now to come too late, order 1,200 (9 ordered in 7 days)"
    assert sentence(msgspec.json.encode(alert)) == f"w:A: raised: A {late}"
    assert sentence(msgspec.json.encode(alert | {"p_empty": 0.7})) == f"w:A: raised: A 70% runs out, {late}"
    gone = alert | {"p_empty": 1.0, "on_hand": 0.0}
    assert sentence(msgspec.json.encode(gone)) == f"w:A: raised: A out of stock, {late}"


def test_other_records_stay_as_they_are() -> None:
    assert sentence(b'{"a":1}') == '{"a":1}'
    assert sentence(b"\xff") == "\ufffd"
