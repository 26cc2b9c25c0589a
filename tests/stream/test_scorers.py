"""Scorers around fake models: what is fed, ranked, told and done where there is nothing to score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from features.store import MemoryStore
from features.text import word_ids
from features.vectors.next_best_offer import FEATURES as OFFER_FEATURES
from features.vectors.own import OWN
from features.vectors.reorder import FEATURES as REORDER_FEATURES
from features.vectors.stockout import FEATURES as STOCKOUT_FEATURES
from models.session import MOST_ROWS
from stream.decode import Decoder
from stream.events import Offer, Product, SourceOffset
from stream.fold import State
from stream.metrics import Metrics
from stream.ownership import Ownership
from stream.reference import Reference
from stream.scorers import NextBestOfferScorer, ReorderScorer, Scorer, StockoutScorer, Touched
from stream.settings import ModelSettings
from tests.stream.build import (
    DAY_MS,
    T0,
    Message,
    Outputs,
    click,
    demand,
    fake_model,
    fed,
    line,
    message,
    offer_outputs,
    order,
    reorder_outputs,
    stock,
    stockout_outputs,
)

POPULAR = {"P": 0.4, "Q": 0.2, "R": 0.1}


class Desk:
    """A state with some events folded, and scores of some of its entities."""

    def __init__(self, *records: Message) -> None:
        store = MemoryStore()
        self.state = State(store, 1_000, Metrics())
        self.reference = Reference(self.state.ids)
        ownership = Ownership(1)
        for topic in ("orders", "clicks", "demand", "inventory"):
            ownership.take((topic, 0), 0, store.claim(topic, 0))
        batch = Decoder(0, 10**6).decode(records, T0 + 10**10)
        assert batch.dead_letters == []
        self.state.fold(batch, ownership)

    def score(
        self, kind: type[Scorer], outputs: Outputs, keys: Sequence[str], as_of_ms: int | None = None, **settings: Any
    ) -> tuple[list[Any], dict[str, NDArray[Any]]]:
        """Records, and what the model was fed."""
        vector = {"ReorderScorer": "reorder", "StockoutScorer": "stockout"}.get(kind.__name__, "next_best_offer")
        model = fake_model("m", vector, outputs, POPULAR)
        scorer = kind(model, self.reference, ModelSettings(**settings))
        self.state.load({scorer.entity: keys})
        table = self.state.tables[scorer.entity]
        slots = table.slots_of(keys)
        as_of = table.event_time_ms(slots) if as_of_ms is None else np.full(len(keys), as_of_ms)
        sources = [[SourceOffset("t", 0, i)] for i in range(len(keys))]
        scored, _ = scorer.score(table, Touched(keys, slots, as_of, sources))
        assert [s.key for s in scored] == list(keys)
        return [s.record for s in scored], (fed(model) or [{}])[0]


def offers(
    desk: Desk, outputs: Outputs, keys: Sequence[str], as_of_ms: int | None = None, **settings: Any
) -> tuple[list[Any], dict[str, NDArray[Any]]]:
    return desk.score(NextBestOfferScorer, outputs, keys, as_of_ms, **settings)


# --- what all scores have ---------------------------------------------------------------------------------------------


def test_every_score_says_model_version_event_time_freshness_and_source() -> None:
    desk = Desk(
        message("orders", "1", order("1", at=T0)),
        message("clicks", "1", click("1", at=T0 + 9)),
        message("orders", "2", order("2", at=T0 + 5), 1),
    )
    (one, two), _ = desk.score(ReorderScorer, reorder_outputs, ["1", "2"])
    assert (one.model, one.version, one.customer_id) == ("m", "1.2", "1")
    assert (one.as_of_ms, two.as_of_ms) == (T0 + 9, T0 + 5)
    assert one.feature_time_ms == {"customer_orders": T0, "customer_repertoire": T0}
    assert (one.source, two.source) == ([SourceOffset("t", 0, 0)], [SourceOffset("t", 0, 1)])


def test_reasons_are_the_largest_contributions_with_names_and_null_for_unknown_values() -> None:
    desk = Desk(message("orders", "1", order("1")))
    model = fake_model("m", "reorder", reorder_outputs)
    scorer = ReorderScorer(model, desk.reference, ModelSettings(reasons=3))
    names = np.array(["a", "b", "c", "d"], object)
    values = np.array([[1.0, np.nan, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], np.float32)
    moved = np.array([[0.1, -2.0, 0.5, -0.5], [0.0, 0.0, 1.0, 0.0]], np.float32)
    told = [[(r.feature, r.value, r.contribution) for r in one] for one in scorer.reasons(names, values, moved)]
    assert told == [
        [("b", None, -2.0), ("c", 3.0, 0.5), ("d", 4.0, -0.5)],
        [("c", 7.0, 1.0), ("a", 5.0, 0.0), ("b", 6.0, 0.0)],
    ]


def test_no_reasons_are_told_where_none_are_wanted() -> None:
    (record,), _ = three_orders().score(ReorderScorer, reorder_outputs, ["1"], reasons=0)
    assert [p.reasons for p in record.products] == [[], [], []]
    desk = shopper()
    put(desk, "o", "X")
    (shown,), _ = offers(desk, offer_outputs, ["1"], reasons=0)
    assert [o.reasons for o in shown.offers] == [[]]


# --- reorder ----------------------------------------------------------------------------------------------------------


def three_orders(*more: Message) -> Desk:
    """Customer 1 ordered C once, B twice, A three times; customer 2 has looked at things only."""
    return Desk(
        message("orders", "1", order("1", [line("C"), line("B"), line("A")], at=T0)),
        message("orders", "1", order("1", [line("A"), line("B")], at=T0 + DAY_MS), 1),
        message("orders", "1", order("1", [line("A")], at=T0 + 2 * DAY_MS), 2),
        message("clicks", "2", click("2")),
        *more,
    )


def test_products_are_told_as_the_model_ranks_them() -> None:
    desk = three_orders()
    desk.reference.put_product(Product(sku="A", name="Red bowl", unit_price=1.0))
    (record,), _ = desk.score(ReorderScorer, reorder_outputs, ["1"])
    assert [(p.sku, p.name) for p in record.products] == [("A", "Red bowl"), ("B", None), ("C", None)]
    best = record.products[0]
    assert (best.p_7d, best.p_14d, best.p_30d) == pytest.approx((0.25, 0.375, 0.75))
    assert [p.next_days for p in record.products] == pytest.approx([10 / 3, 5, 10])
    assert (record.p_active_30d, record.segment) == (pytest.approx(0.2), "at_risk")
    assert record.fallback is None
    assert record.reasons == best.reasons
    assert len(best.reasons) == 3
    assert {r.feature for r in best.reasons} <= REORDER_FEATURES.keys()


def test_a_rank_need_not_follow_the_chance() -> None:
    def reversed_(feeds: Any, n: int) -> Any:
        outputs = reorder_outputs(feeds, n)
        return outputs | {"rank": -outputs["rank"]}

    (record,), _ = three_orders().score(ReorderScorer, reversed_, ["1"], reorder_products=2)
    assert [p.sku for p in record.products] == ["C", "B"]


def test_a_model_need_not_tell_when_and_whether() -> None:
    def plain(feeds: Any, n: int) -> Any:
        outputs = reorder_outputs(feeds, n)
        return {name: outputs[name] for name in ("probability", "contributions")}

    (record,), _ = three_orders().score(ReorderScorer, plain, ["1"])
    assert [(p.sku, p.next_days) for p in record.products] == [("A", None), ("B", None), ("C", None)]
    assert (record.p_active_30d, record.segment) == (None, None)


def test_the_model_is_fed_what_each_customer_bought_lately() -> None:
    desk = three_orders(message("orders", "3", order("3", [line("B")], at=T0), 3))
    desk.reference.put_product(Product(sku="A", name="Red bowl", unit_price=1.0))
    _, feeds = desk.score(ReorderScorer, reorder_outputs, ["3", "1"])
    assert feeds["customer"].tolist() == [0, 1, 1, 1]
    assert feeds["place"].shape == feeds["age_days"].shape == (2, 16)
    ages = feeds["age_days"][1]
    assert ages[:6].tolist() == [0, 1, 1, 2, 2, 2]
    assert np.isnan(ages[6:]).all()
    named = feeds["words"][feeds["place"][1]].any(axis=1)
    assert named[:6].tolist() == [True, False, True, True, False, False]
    assert feeds["words"][feeds["item"]].any(axis=1).sum() == 1


def test_many_customers_are_scored_in_parts_each_with_its_own() -> None:
    parts = []

    def told(feeds: Any, n: int) -> Any:
        parts.append((n, feeds["customer"].max(), len(feeds["place"]), feeds["item"].max() < len(feeds["words"])))
        return reorder_outputs(feeds, n)

    orders = [message("orders", str(i), order(str(i), [line(f"S{i}-{j}") for j in range(25)]), i) for i in range(180)]
    records, _ = Desk(*orders).score(ReorderScorer, told, [str(i) for i in range(180)], reorder_products=1)
    assert [r.products[0].sku.split("-")[0] for r in records] == [f"S{i}" for i in range(180)]
    assert sum(n for n, *_ in parts) == 4500
    assert all(n <= MOST_ROWS and most == places - 1 and known for n, most, places, known in parts)
    assert len(parts) > 1


def test_the_list_is_as_long_as_settings_say() -> None:
    (record,), _ = three_orders().score(ReorderScorer, reorder_outputs, ["1"], reorder_products=2, reasons=1)
    assert [p.sku for p in record.products] == ["A", "B"]
    assert [len(p.reasons) for p in record.products] == [1, 1]


def test_a_customer_without_purchases_gets_what_is_popular() -> None:
    desk = three_orders()
    desk.reference.put_product(Product(sku="Q", name="Tin", unit_price=1.0))
    (known, new), _ = desk.score(ReorderScorer, reorder_outputs, ["1", "2"], reorder_products=2)
    assert known.fallback is None
    assert new.fallback == "popularity"
    assert [(p.sku, p.name, p.p_7d, p.p_14d, p.p_30d) for p in new.products] == [
        ("P", None, 0.4, 0.4, 0.4),
        ("Q", "Tin", 0.2, 0.2, 0.2),
    ]
    assert new.reasons == []


def test_no_model_is_run_where_nobody_has_purchases() -> None:
    records, feeds = three_orders().score(ReorderScorer, reorder_outputs, ["2"])
    assert records[0].fallback == "popularity"
    assert feeds == {}


def test_each_customer_gets_its_own_rows() -> None:
    desk = Desk(*(message("orders", str(i), order(str(i), [line(f"S{i}")]), i) for i in range(5)))
    records, _ = desk.score(ReorderScorer, reorder_outputs, ["3", "0", "4"])
    assert [[p.sku for p in r.products] for r in records] == [["S3"], ["S0"], ["S4"]]


def test_a_product_whose_name_is_lost_is_shown_by_its_id() -> None:
    desk = three_orders()
    desk.state.ids._names.clear()
    (record,), _ = desk.score(ReorderScorer, reorder_outputs, ["1"])
    assert all(p.sku.startswith("#") and len(p.sku) == 17 for p in record.products)


# --- stock-out --------------------------------------------------------------------------------------------------------


def shelf(*records: Message) -> Desk:
    desk = Desk(*records)
    desk.reference.put_product(Product(sku="A", name="Red bowl", unit_price=1.0, lead_time_days=4.0))
    return desk


def test_a_counted_item_has_risk_cover_and_order_quantity() -> None:
    desk = shelf(
        message("inventory", "w:A", stock("stock_counted", quantity=8, at=T0, simulated=True)),
        message("inventory", "w:A", stock("stock_adjusted", quantity=-2, at=T0 + 1), 1),
        message(
            "inventory",
            "w:A",
            stock("purchase_order_placed", quantity=3, at=T0 + 2, expected_at_ms=T0 + DAY_MS, purchase_order_id="po"),
            2,
        ),
        message("demand", "w:A", demand("A", at=T0 + 3)),
    )
    (record,), feeds = desk.score(StockoutScorer, stockout_outputs, ["w:A"], service_level=0.9)
    assert (record.location, record.sku, record.name) == ("w", "A", "Red bowl")
    assert record.fallback is None
    assert (record.on_hand, record.arriving, record.lead_time_days) == (6.0, 3.0, 4.0)
    assert record.p_stockout == pytest.approx(0.1)
    assert record.days_of_cover == 6.0 / (2.0 / 4.0)
    assert (record.demand_p10, record.demand_p50, record.demand_p90) == (1.0, 2.0, 3.0)
    assert record.suggested_order_quantity == 2.0, "1.2, in whole units"
    assert record.service_level == 0.9
    assert record.simulated_stock
    assert {r.feature for r in record.reasons} <= STOCKOUT_FEATURES.keys()
    assert feeds["position"].tolist() == [9.0, 6.0], "and just before the delivery"
    assert feeds["lead_time_days"].tolist() == pytest.approx([4.0, 1.0], abs=1e-5)
    assert record.p_empty == pytest.approx(1 - (0.6 * 0.9 * 0.6) ** 0.5)
    assert feeds["service_level"].tolist() == [np.float32(0.9)]
    assert {a.dtype.name for a in feeds.values()} == {"float32"}


def test_expected_lost_sales_are_told_where_the_model_tells_them() -> None:
    def with_losses(feeds: Mapping[str, NDArray[Any]], n: int) -> dict[str, NDArray[Any]]:
        return stockout_outputs(feeds, n) | {"lost_sales": np.full(n, 1.5, np.float32)}

    counted = message("inventory", "w:A", stock("stock_counted", quantity=8))
    told = [
        shelf(first, message("demand", "w:A", demand("A"), 1)).score(StockoutScorer, model, ["w:A"])[0][0]
        for first, model in (
            (counted, with_losses),
            (message("demand", "w:A", demand("A")), with_losses),
            (counted, stockout_outputs),
        )
    ]
    assert [record.expected_lost_sales for record in told] == [1.5, None, None]


def purchase(offset: int, quantity: float, due_days: float, sku: str = "A") -> Message:
    due = T0 + round(due_days * DAY_MS)
    told = stock("purchase_order_placed", sku, quantity=quantity, expected_at_ms=due, purchase_order_id=f"po{offset}")
    return message("inventory", f"w:{sku}", told, offset)


def test_a_shelf_may_be_empty_before_each_delivery_that_is_due_in_time() -> None:
    counted = message("inventory", "w:A", stock("stock_counted", quantity=4))
    due = [purchase(1, 3.0, 2.0), purchase(2, 1.0, 1.0), purchase(3, 9.0, 5.0), purchase(4, 1.0, 2.0)]
    (record,), feeds = shelf(counted, *due).score(StockoutScorer, stockout_outputs, ["w:A"])
    assert record.arriving == 5.0, "the third comes after the lead time of 4 days"
    assert feeds["position"].tolist() == [9.0, 4.0, 5.0], "two deliveries at once are one"
    assert feeds["lead_time_days"].tolist() == pytest.approx([4.0, 1.0, 2.0], abs=1e-5)
    assert record.p_stockout == pytest.approx(0.1)
    assert record.p_empty == pytest.approx(1 - (0.4 * 0.9 * 0.4 * 0.5) ** 0.5)


def test_what_is_overdue_counts_as_delivered_and_an_empty_shelf_is_empty() -> None:
    late = [message("inventory", "w:A", stock("stock_counted", quantity=4)), purchase(1, 3.0, -1.0)]
    gone = [message("inventory", "w:B", stock("stock_counted", "B", quantity=0), 2), purchase(3, 9.0, 1.0, "B")]
    desk = shelf(*late, *gone)
    (one, two), feeds = desk.score(StockoutScorer, stockout_outputs, ["w:A", "w:B"])
    assert feeds["position"].tolist() == [7.0, 9.0]
    assert one.p_empty == one.p_stockout == pytest.approx(0.3)
    assert (two.p_empty, two.p_stockout) == (1.0, pytest.approx(0.1))


def test_rows_of_deliveries_are_of_their_own_item() -> None:
    skus = ("A", "B", "C", "D")
    counted = [
        message("inventory", f"w:{sku}", stock("stock_counted", sku, quantity=i + 1), i) for i, sku in enumerate(skus)
    ]
    ordered = [purchase(8 + i, 2.0, 1.0, sku) for i, sku in enumerate(skus) if sku != "B"]
    desk = shelf(*counted, *ordered)
    together, _ = desk.score(StockoutScorer, stockout_outputs, [f"w:{sku}" for sku in skus])
    apart = [desk.score(StockoutScorer, stockout_outputs, [f"w:{sku}"])[0][0] for sku in skus]
    assert [r.p_empty for r in together] == [r.p_empty for r in apart]
    lasting = [(0.1 * 0.3 * 0.1) ** 0.5, 0.2, (0.3 * 0.5 * 0.3) ** 0.5, (0.4 * 0.6 * 0.4) ** 0.5]
    assert [r.p_empty for r in together] == pytest.approx([1 - each for each in lasting])


def test_an_item_that_was_never_counted_has_no_risk() -> None:
    (record,), _ = shelf(message("demand", "w:A", demand("A"))).score(StockoutScorer, stockout_outputs, ["w:A"])
    assert record.fallback == "no_stock_level"
    assert record.p_empty is None
    assert (record.p_stockout, record.on_hand, record.days_of_cover) == (None, None, None)
    assert record.demand_p50 == 2.0


def test_an_item_that_was_never_ordered_says_so() -> None:
    counted = message("inventory", "w:A", stock("stock_counted", quantity=8))
    (record,), _ = shelf(counted).score(StockoutScorer, stockout_outputs, ["w:A"])
    assert record.fallback == "no_demand_history"
    assert record.p_stockout is not None
    assert not record.simulated_stock


def test_an_unknown_product_has_the_usual_lead_time_and_no_name() -> None:
    (record,), feeds = shelf(message("demand", "w:X:1", demand("X:1"))).score(
        StockoutScorer, stockout_outputs, ["w:X:1"]
    )
    assert (record.sku, record.name) == ("X:1", None)
    assert feeds["lead_time_days"].tolist() == [7.0]


def test_what_a_model_oversteps_is_brought_back_into_range() -> None:
    def outputs(feeds: Mapping[str, NDArray[Any]], n: int) -> dict[str, NDArray[Any]]:
        return stockout_outputs(feeds, n) | {
            "p_stockout": np.array([1.5], np.float32),
            "demand_quantiles": np.array([[-1, 0, 3]], np.float32),
            "order_quantity": np.array([-4], np.float32),
        }

    counted = message("inventory", "w:A", stock("stock_counted", quantity=8))
    (record,), _ = shelf(counted).score(StockoutScorer, outputs, ["w:A"])
    assert record.p_stockout == 1.0
    assert (record.demand_p10, record.demand_p50) == (0.0, 0.0)
    assert record.days_of_cover is None, "no demand"
    assert record.suggested_order_quantity == 0.0


# --- next best offer --------------------------------------------------------------------------------------------------


def put(
    desk: Desk, offer_id: str, sku: str, margin: float = 1.0, start: int = T0 - DAY_MS, end: int = T0 + DAY_MS
) -> None:
    desk.reference.offers[offer_id] = Offer(
        offer_id=offer_id,
        sku=sku,
        title=f"Offer {offer_id}",
        discount=0.25,
        margin=margin,
        valid_from_ms=start,
        valid_until_ms=end,
        simulated=True,
    )


def shopper(bought_at: int = T0 - 3 * DAY_MS) -> Desk:
    """Customer 1 bought A and looked at V; customer 2 has only searched."""
    search = {k: v for k, v in click("2", kind="search", query="x").items() if k != "sku"}
    return Desk(
        message("orders", "1", order("1", [line("A")], at=bought_at)),
        message("clicks", "1", click("1", "V", at=T0)),
        message("clicks", "2", search, 1),
    )


def test_offers_are_ranked_as_the_model_says_with_reasons_by_product() -> None:
    desk = shopper()
    desk.reference.put_product(Product(sku="A", name="Red bowl", unit_price=4.0))
    put(desk, "low", "X", margin=1.0)
    put(desk, "high", "Y", margin=3.0)
    (record,), feeds = offers(desk, offer_outputs, ["1"], reasons=4)
    assert [o.offer_id for o in record.offers] == ["high", "low"]
    best = record.offers[0]
    assert (best.sku, best.title, best.propensity, best.simulated) == ("Y", "Offer high", 1.0, True)
    assert best.p_response == pytest.approx(0.5)
    assert best.expected_margin == pytest.approx(1.5)
    assert record.fallback is None
    assert record.reasons == best.reasons
    told = [(r.feature, r.value, round(r.contribution, 3)) for r in best.reasons]
    assert told == [
        ("offer", None, -0.5),
        ("bought Red bowl", 3.0, 0.32),
        ("viewed V", 0.0, 0.16),
        ("customer", 1.0, 0.02),
    ]
    assert feeds["features"].shape == (1, len(OFFER_FEATURES))
    bought, *_ = feeds["place"][0].tolist()
    assert feeds["words"][bought].tolist() == word_ids("Red bowl").tolist()
    assert feeds["place"].shape == (1, 32)
    assert len(feeds["words"]) == 2, "A, and all that the catalog does not know"
    assert feeds["offer_words"].shape == (5, 8), "padded to the length of the list"
    assert feeds["eligible"].tolist() == [[1, 1, 0, 0, 0]]


def test_what_the_customer_bought_before_is_fed_by_number_and_told_with_how_often() -> None:
    def outputs(feeds: Mapping[str, NDArray[Any]], n: int) -> dict[str, NDArray[Any]]:
        other = np.tile(np.array([0.02, -0.5, 0.9], np.float32), (n, 5, 1))
        return offer_outputs(feeds, n) | {"other_contributions": other}

    desk = Desk(
        message("orders", "1", order("1", [line("A")], at=T0 - 9 * DAY_MS)),
        message("orders", "1", order("1", [line("A"), line("B")], at=T0 - 3 * DAY_MS), 1),
        message("clicks", "1", click("1", "V", at=T0), 2),
    )
    put(desk, "again", "A", margin=2.0)
    put(desk, "new", "X", margin=1.0)
    (record,), feeds = offers(desk, outputs, ["1"])
    told = [next(r for r in o.reasons if r.feature == "bought_before") for o in record.offers]
    assert [(o.sku, r.value) for o, r in zip(record.offers, told, strict=True)] == [("A", 2.0), ("X", 0.0)]
    assert told[0].contribution == pytest.approx(0.9)
    bought = (feeds["own_product"][0] == feeds["offer_product"][0]).tolist()
    assert sum(bought) == 1
    assert feeds["own"][0, bought.index(True), :3].tolist() == [2.0, 1.0, 3.0]
    assert not (feeds["own_product"] == feeds["offer_product"][1]).any()
    assert feeds["own_product"].dtype == feeds["offer_product"].dtype == np.int64
    assert feeds["own"].shape == (1, 32, len(OWN))


def test_a_product_that_comes_twice_in_the_sequence_is_one_reason() -> None:
    desk = Desk(
        message("clicks", "1", click("1", "V", at=T0 - DAY_MS)),
        message("clicks", "1", click("1", "V", at=T0), 1),
    )
    put(desk, "o", "X")
    (record,), _ = offers(desk, offer_outputs, ["1"])
    viewed = [r for r in record.reasons if r.feature == "viewed V"]
    assert [(r.value, round(r.contribution, 3)) for r in viewed] == [(0.0, 0.31)], "newest age, both contributions"


def test_the_price_that_is_fed_is_the_catalogs_less_the_discount() -> None:
    desk = shopper()
    desk.reference.put_product(Product(sku="X", name="Tin", unit_price=8.0))
    put(desk, "o1", "X", margin=2.0)
    put(desk, "o2", "unknown", margin=5.0)
    _, feeds = offers(desk, offer_outputs, ["1"])
    assert feeds["offer_numbers"].tolist() == [[6.0, 0.25, 2.0], [0.0, 0.25, 5.0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert feeds["offer_words"][0].any()
    assert not feeds["offer_words"][1].any()


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (T0, T0 + 1, True),
        (T0 + 1, T0 + 9, False),
        (T0 - 9, T0, False),
        (T0 - 9, T0 + 9, True),
    ],
)
def test_an_offer_is_valid_from_its_start_until_before_its_end(start: int, end: int, shown: bool) -> None:
    desk = shopper()
    put(desk, "o", "X", start=start, end=end)
    for key in ("1", "2"):
        (record,), _ = offers(desk, offer_outputs, [key], as_of_ms=T0)
        assert [o.offer_id for o in record.offers] == (["o"] if shown else [])


def test_validity_is_that_of_each_customers_own_event_time() -> None:
    desk = Desk(
        message("clicks", "1", click("1", at=T0)),
        message("clicks", "2", click("2", at=T0 + DAY_MS), 1),
    )
    put(desk, "first", "X", start=T0, end=T0 + 1)
    put(desk, "second", "Y", start=T0 + DAY_MS, end=T0 + 2 * DAY_MS)
    records, _ = offers(desk, offer_outputs, ["1", "2"])
    assert [[o.offer_id for o in r.offers] for r in records] == [["first"], ["second"]]


@pytest.mark.parametrize(("age_ms", "shown"), [(0, False), (DAY_MS - 1_000, False), (DAY_MS, True), (DAY_MS * 9, True)])
def test_what_was_bought_within_a_day_is_not_offered(age_ms: int, shown: bool) -> None:
    desk = shopper(bought_at=T0 - age_ms)
    put(desk, "bought", "A", margin=9.0)
    put(desk, "other", "X")
    (record,), _ = offers(desk, offer_outputs, ["1"], as_of_ms=T0)
    assert [o.offer_id for o in record.offers] == (["bought", "other"] if shown else ["other"])


def test_what_was_bought_within_a_day_is_not_offered_even_of_a_long_order() -> None:
    many = [line(f"S{number}") for number in range(25)]
    desk = Desk(message("orders", "1", order("1", many, at=T0 - 1_000)))
    for number in range(25):
        put(desk, f"o{number}", f"S{number}")
    put(desk, "other", "X")
    (record,), _ = offers(desk, offer_outputs, ["1"], as_of_ms=T0)
    assert [o.offer_id for o in record.offers] == ["other"]


def test_a_share_of_lists_is_explored_with_the_chance_of_what_is_shown() -> None:
    desk = shopper()
    put(desk, "low", "X", margin=1.0)
    put(desk, "high", "Y", margin=3.0)
    (record,), _ = offers(desk, offer_outputs, ["1"], explore=1.0)
    assert sorted(o.offer_id for o in record.offers) == ["high", "low"]
    assert [o.propensity for o in record.offers] == [0.5, 0.5]
    assert record.reasons == record.offers[0].reasons


def test_what_was_only_looked_at_is_offered_and_others_purchases_do_not_matter() -> None:
    desk = Desk(
        message("clicks", "1", click("1", "A")),
        message("orders", "2", order("2", [line("B"), line("A")])),
    )
    put(desk, "a", "A")
    put(desk, "b", "B")
    put(desk, "a2", "A")
    records, _ = offers(desk, offer_outputs, ["1", "2"])
    assert [sorted(o.offer_id for o in r.offers) for r in records] == [["a", "a2", "b"], []]
    assert records[1].fallback == "no_offers"


def test_without_offers_there_is_a_record_that_says_so() -> None:
    records, feeds = offers(shopper(), offer_outputs, ["1", "2"])
    assert [(r.fallback, r.offers, r.reasons) for r in records] == [("no_offers", [], [])] * 2
    assert feeds["eligible"].tolist() == [[0.0] * 5] * 2


def test_a_customer_without_history_gets_popular_products_by_expected_margin() -> None:
    desk = shopper()
    for offer_id, sku, margin in (("p", "P", 1.0), ("q", "Q", 5.0), ("z", "Z", 99.0), ("y", "Y", 1.0)):
        put(desk, offer_id, sku, margin)
    (record,), _ = offers(desk, offer_outputs, ["2"])
    assert record.fallback == "popularity"
    assert [(o.offer_id, o.p_response, o.expected_margin) for o in record.offers] == [
        ("q", 0.2, 1.0),
        ("p", 0.4, 0.4),
        ("y", 0.0, 0.0),
        ("z", 0.0, 0.0),
    ]
    assert record.reasons == []


def test_at_most_five_offers_are_shown_and_only_eligible_ones() -> None:
    desk = shopper(bought_at=T0)
    put(desk, "bought", "A", margin=100.0)
    for i in range(8):
        put(desk, f"o{i}", f"X{i}", margin=float(i))
    known, new = offers(desk, offer_outputs, ["1", "2"], as_of_ms=T0)[0]
    assert [o.offer_id for o in known.offers] == ["o7", "o6", "o5", "o4", "o3"]
    assert len(new.offers) == 5


def test_a_chance_beyond_its_range_is_brought_back() -> None:
    def outputs(feeds: Mapping[str, NDArray[Any]], n: int) -> dict[str, NDArray[Any]]:
        return offer_outputs(feeds, n) | {"probability": np.full((n, 5), 1.5, np.float32)}

    desk = shopper()
    put(desk, "o", "X", margin=2.0)
    (record,), _ = offers(desk, outputs, ["1"])
    assert (record.offers[0].p_response, record.offers[0].expected_margin) == (1.0, 2.0)


def many_shoppers(share: float, customers: int = 400) -> list[Any]:
    desk = Desk(*(message("orders", str(i), order(str(i), [line("A")], at=T0), i) for i in range(customers)))
    for i in range(4):
        put(desk, f"o{i}", f"X{i}", margin=4.0 - i)
    records, _ = offers(desk, offer_outputs, [str(i) for i in range(customers)], explore=share)
    return records


def test_without_exploration_every_offer_is_where_it_is_for_certain() -> None:
    for record in many_shoppers(0.0, customers=20):
        assert [(o.offer_id, o.propensity) for o in record.offers] == [
            ("o0", 1.0),
            ("o1", 1.0),
            ("o2", 1.0),
            ("o3", 1.0),
        ]


def test_an_offer_comes_first_as_often_as_its_propensity_says() -> None:
    records = many_shoppers(0.4)
    for record in records:
        assert record.offers[0].propensity == pytest.approx(0.7 if record.offers[0].offer_id == "o0" else 0.1)
        behind = [o.offer_id for o in record.offers[1:]]
        assert behind == sorted(behind), "the others keep their order"
        assert record.reasons == record.offers[0].reasons
    firsts = [record.offers[0].offer_id for record in records]
    for offer_id, p in (("o0", 0.7), ("o1", 0.1), ("o2", 0.1), ("o3", 0.1)):
        off = abs(firsts.count(offer_id) / len(firsts) - p)
        assert off < 4 * math.sqrt(p * (1 - p) / len(firsts)), "beyond four deviations"
    assert many_shoppers(0.4)[:50] == records[:50], "a replay draws the same"


def test_what_is_popular_is_explored_as_well() -> None:
    desk = shopper()
    for offer_id, sku in (("p", "P"), ("q", "Q")):
        put(desk, offer_id, sku)
    (record,), _ = offers(desk, offer_outputs, ["2"], explore=1.0)
    assert record.fallback == "popularity"
    assert [o.propensity for o in record.offers] == [0.5, 0.5]


@pytest.mark.parametrize("kind", [ReorderScorer, StockoutScorer, NextBestOfferScorer])
def test_every_score_can_be_written_and_read_back(kind: type[Scorer]) -> None:
    desk = Desk(message("orders", "1", order("1")), message("demand", "w:A", demand("A")))
    put(desk, "o", "X")
    outputs = {"ReorderScorer": reorder_outputs, "StockoutScorer": stockout_outputs}.get(kind.__name__, offer_outputs)
    (record,), _ = desk.score(kind, outputs, ["1" if kind.entity == "customer" else "w:A"])
    assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record
    assert not any(math.isnan(r.contribution) for r in record.reasons)
