"""Rows that models read, against the same numbers computed from whole event lists in plain Python."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, HOUR_MS
from features.discovery import discover, views_of
from features.rows import STREAMS, ClickKind, InventoryKind, OrderKind
from features.table import EntityTable
from features.vectors import contract, joined, next_best_offer, regional, reorder, stockout
from features.vectors import shelf as shelves
from features.vectors.own import OWN, own_products
from tests.features.aggregations.test_recent import arrivals
from tests.features.aggregations.test_repertoire import ROUNDED, table_of
from tests.features.aggregations.test_stock import open_orders, shelf
from tests.features.aggregations.test_tiles import tile_sums
from tests.features.oracles import oracle_of
from tests.features.streams import KINDS, START_MS, Event, living, newest_ms, rows, seeded, streams

CUSTOMERS = ("a", "b")
ITEMS = ("w:A", "w:B")
#: Products that a customer's repertoire holds.
HELD = 32


def table(entity: str, keys: Sequence[str], **events: Sequence[Event]) -> EntityTable:
    made = EntityTable(entity, views_of(entity))
    made.admit_new(keys)
    for stream, some in events.items():
        made.fold(rows(stream, some))
    return made


def columns(view: str, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    """All columns of a view by the oracles of its aggregations, of the events that its record is made of."""
    found: dict[str, float] = {}
    mine = held(view, events, as_of_ms)
    for aggregation in discover()[view].aggregations:
        found |= oracle_of(aggregation)(aggregation, mine, as_of_ms)
    return found


def held(view: str, events: Sequence[Event], as_of_ms: int) -> list[Event]:
    return living(discover()[view], events, as_of_ms)


def part(view: str, name: str) -> Any:
    return next(a for a in discover()[view].aggregations if a.name == name)


def of(entity: str, events: Sequence[Event]) -> list[Event]:
    return [e for e in events if e.entity == entity]


def customer_features(orders: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    found = columns("customer_orders", orders, as_of_ms)
    since, gap = found["order_last_age_days"], found["gap_mean_days"]
    return {
        "customer_orders": found["orders"],
        "customer_days_since": since,
        "customer_gap_days": gap,
        "customer_gap_std": found["gap_std_days"],
        "customer_due": math.nan if math.isnan(gap) else since / max(gap, 1),
        "customer_recent_orders": found["recent_orders"],
        "customer_order_value": found["spend"] / max(found["orders"], 1),
        "customer_age_days": found["order_first_age_days"],
    }


def reorder_oracle(orders: Sequence[Event], lines: Sequence[Event], as_of_ms: int) -> dict[int, dict[str, float]]:
    """Features by product."""
    repertoire, now_s = part("customer_repertoire", "repertoire"), as_of_ms // 1000
    places, baskets = table_of(repertoire, held("customer_repertoire", lines, as_of_ms))
    out = {}
    for place in places:
        n, last = place.n, max(place.seconds)
        since, gap = max(now_s - last, 0) / 86_400, place.gap_days
        numbers = [k for k in place.numbers if place.latest_number - k < 12]
        out[place.product] = {
            "product_orders": n,
            "product_share": n / max(baskets.total, 1),
            "product_days_since": since,
            "product_gap_days": gap,
            "product_due": since / max(gap, 1) if n > 1 else math.nan,
            "product_weight": place.weight(max(now_s, last), repertoire.half_life_days),
            "product_orders_since": baskets.in_time - place.latest_number,
            "product_in_last_5": sum(baskets.in_time - k < 5 for k in numbers),
            "product_in_last_10": sum(baskets.in_time - k < 10 for k in numbers),
            "product_units": place.units / n,
            "product_age_days": max(now_s - place.first_day * 86_400 - 43_200, 0) / 86_400,
            **customer_features(orders, as_of_ms),
        }
    return out


def compared(products: dict[int, dict[str, float]], weights: Sequence[float]) -> None:
    """Adds what each product is among those of its customer; by the weights that were found, since ties matter."""
    bought, held_ = sum(f["product_orders"] for f in products.values()), len(products)
    oftenest = [(f["product_orders"], weight) for f, weight in zip(products.values(), weights, strict=True)]
    for mine, features in zip(weights, products.values(), strict=True):
        orders = features["product_orders"] / features["product_share"]
        features |= {
            "product_place": 1 + sum(other > mine for other in weights),
            "product_weight_share": 100 * mine / sum(weights),
            "repertoire_products": held_,
            "repertoire_basket": bought / orders,
            "repertoire_again": 100 * (bought - held_) / bought,
            "product_place_orders": 1 + sum(other > (features["product_orders"], mine) for other in oftenest),
            "product_place_shop_7d": math.nan,
            "product_place_shop_28d": math.nan,
            **dict.fromkeys(reorder.JOINED, math.nan),
        }


@given(streams("orders", CUSTOMERS), streams("order_lines", CUSTOMERS, 80), st.integers(-20, 200))
@seeded
def test_reorder_rows(orders: list[Event], lines: list[Event], days: int) -> None:
    as_of = newest_ms([*orders, *lines]) + days * DAY_MS
    customers = table("customer", CUSTOMERS, orders=orders, order_lines=lines)
    found = reorder.reorder_rows(customers, customers.slots_of(CUSTOMERS), np.full(2, as_of))
    assert found.features.dtype == np.float32
    row = 0
    for i, customer in enumerate(CUSTOMERS):
        oracle = reorder_oracle(of(customer, orders), of(customer, lines), as_of)
        compared(oracle, found.features[found.customer == i, 5].astype(float).tolist())
        for product, features in oracle.items():
            assert (int(found.customer[row]), int(found.product[row])) == (i, product)
            assert list(features) == list(reorder.FEATURES)
            for name, value in zip(features, found.features[row], strict=True):
                exact = ROUNDED if name == "product_weight" else 1e-5
                np.testing.assert_allclose(value, features[name], rtol=exact, atol=1e-6, equal_nan=True, err_msg=name)
            row += 1
    assert row == len(found.features) == len(found.product) == len(found.customer)


def test_reorder_rows_tell_the_latest_purchases_of_who_was_asked_for() -> None:
    lines = [
        Event(0, START_MS + day * DAY_MS, customer, {"product": product})
        for day, (customer, product) in enumerate([("a", 5), ("b", 6), ("a", 7), ("a", 5)])
    ]
    customers = table("customer", ["a", "b"], orders=[], order_lines=lines)
    found = reorder.reorder_rows(customers, customers.slots_of(["b", "a"]), np.full(2, START_MS + 4 * DAY_MS))
    assert found.recent.shape == found.age_days.shape == (2, 16)
    assert [row[row > 0].tolist() for row in found.recent] == [[6], [5, 7, 5]]
    assert [row[row == row].tolist() for row in found.age_days] == [[3], [1, 2, 4]]


def test_joined_features_are_put_in_with_their_places_among_the_customers_products() -> None:
    features = np.full((5, len(reorder.FEATURES)), np.nan, np.float32)
    joined = np.arange(30, dtype=np.float32).reshape(5, 6)
    joined[1, :2], joined[3, 0], joined[4, 1] = joined[2, :2], np.nan, 0.0
    reorder.join(np.array([0, 0, 0, 2, 2]), features, joined)
    found = dict(zip(reorder.FEATURES, features.T.tolist(), strict=True))
    for name, column in zip(reorder.JOINED, joined.T, strict=True):
        np.testing.assert_array_equal(found[name], column)
    assert found["product_place_shop_7d"] == [3, 1, 1, pytest.approx(math.nan, nan_ok=True), 1]
    assert found["product_place_shop_28d"] == [3, 1, 1, 1, 2]


@pytest.mark.parametrize("baskets", [4, 5, 9, 10, 15, 16, 63, 64, 65, 128])
def test_a_product_of_long_ago_was_in_none_of_the_last_orders(baskets: int) -> None:
    """64 is where a machine's shift begins anew."""
    bought = [Event(0, START_MS, "a", {"product": 1})]
    bought += [Event(0, START_MS + n * DAY_MS, "a", {"product": 2}) for n in range(1, baskets + 1)]
    customers = table("customer", ["a"], order_lines=bought)
    found = reorder.reorder_rows(customers, customers.slots_of(["a"]), np.array([newest_ms(bought)]))
    features = dict(zip(reorder.FEATURES, found.features[0].tolist(), strict=True))
    assert features["product_orders_since"] == baskets
    assert (features["product_in_last_5"], features["product_in_last_10"]) == (baskets < 5, baskets < 10)


def stockout_oracle(demand: Sequence[Event], stock: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    found = columns("item_demand", demand, as_of_ms)
    units, today = tile_sums(part("item_demand", "units"), demand), as_of_ms // DAY_MS
    daily = [units.get(today - back, 0) / 1000 for back in range(28)]
    weekday = datetime.fromtimestamp(as_of_ms / 1000, UTC).weekday()
    return {
        **{name: found[name] for name in list(stockout.FEATURES)[:8]},
        "units_std_28d": statistics.pstdev(daily),
        "units_max_28d": max(daily),
        "days_with_demand_28d": sum(d > 0 for d in daily),
        "days_since_demand": found["demand_last_age_days"],
        "days_on_sale": found["demand_first_age_days"],
        "weekday_sin": math.sin(2 * math.pi * weekday / 7),
        "weekday_cos": math.cos(2 * math.pi * weekday / 7),
    }


def on_hand_oracle(demand: Sequence[Event], stock: Sequence[Event], as_of_ms: int) -> float:
    on_shelf = shelf(part("item_stock", "stock"), stock)
    if on_shelf is None:
        return math.nan
    counted_day = max(e.time_ms for e in stock if e.kind == InventoryKind.STOCK_COUNTED) // DAY_MS
    units = tile_sums(part("item_demand", "units"), demand)
    left = sum(v for day, v in units.items() if counted_day < day <= as_of_ms // DAY_MS)
    return max(on_shelf - left, 0) / 1000


@given(streams("demand", ITEMS), streams("inventory", ITEMS), st.integers(-20, 100), st.integers(1, 60))
@seeded
def test_stockout_rows(demand: list[Event], stock: list[Event], days: int, lead_days: int) -> None:
    as_of = newest_ms([*demand, *stock]) + days * DAY_MS
    items = table("item", ITEMS, demand=demand, inventory=stock)
    lead = np.array([lead_days + 0.5, lead_days])
    found = stockout.stockout_rows(items, items.slots_of(ITEMS), np.full(2, as_of), lead)
    assert found.features.dtype == np.float32
    for i, item in enumerate(ITEMS):
        ordered, moved = of(item, demand), of(item, stock)
        features = stockout_oracle(ordered, moved, as_of)
        assert list(features) == list(stockout.FEATURES)
        for name, value in zip(features, found.features[i], strict=True):
            np.testing.assert_allclose(value, features[name], rtol=1e-6, atol=1e-6, equal_nan=True, err_msg=name)
        np.testing.assert_allclose(found.on_hand[i], on_hand_oracle(ordered, moved, as_of), equal_nan=True)
        until = as_of + int(lead[i] * DAY_MS)
        due = sum(
            o.quantity for o in open_orders(part("item_stock", "stock"), moved) if o.expected_ms // 1000 * 1000 <= until
        )
        assert found.arriving[i] == due / 1000
        assert found.simulated[i] == any(e["simulated"] for e in moved)


def stock_event(kind: InventoryKind, day: float, units: int) -> Event:
    return Event(kind, START_MS + int(day * DAY_MS), "w:A", {"quantity": units * 1000})


def demand_event(day: float, units: int, kind: OrderKind = OrderKind.PLACED) -> Event:
    return Event(kind, START_MS + int(day * DAY_MS), "w:A", {"quantity": units * 1000})


@pytest.mark.parametrize(
    ("demand", "on_hand"),
    [
        ([], 10.0),
        ([demand_event(1.2, 4)], 10.0),  # the day of the count: the count has it, whatever the hour
        ([demand_event(1.9, 4)], 10.0),
        ([demand_event(2.0, 4)], 6.0),
        ([demand_event(2.0, 4), demand_event(3.0, 4, OrderKind.CANCELLED)], 10.0),
        ([demand_event(2.0, 40)], 0.0),
    ],
)
def test_demand_of_the_days_after_a_count_has_left_the_shelf(demand: list[Event], on_hand: float) -> None:
    items = table("item", ["w:A"], demand=demand, inventory=[stock_event(InventoryKind.STOCK_COUNTED, 1.5, 10)])
    as_of = np.array([START_MS + int(3.25 * DAY_MS)])
    assert stockout.stockout_rows(items, items.slots_of(["w:A"]), as_of, np.ones(1)).on_hand.tolist() == [on_hand]


def test_an_item_that_was_never_counted_has_no_stock_level() -> None:
    items = table("item", ["w:A"], demand=[demand_event(0, 1)])
    found = stockout.stockout_rows(items, items.slots_of(["w:A"]), np.array([START_MS]), np.ones(1))
    assert np.isnan(found.on_hand).all()
    assert found.arriving.tolist() == [0.0]
    assert found.simulated.tolist() == [False]


def sequence(view: str, name: str, events: Sequence[Event], as_of_ms: int) -> tuple[list[int], list[float]]:
    recent = part(view, name)
    found = arrivals(recent, held(view, events, as_of_ms))
    empty = recent.length - len(found)
    ages = [max(as_of_ms - e.time_ms // 1000 * 1000, 0) / DAY_MS for e in found]
    return [e["product"] for e in found] + [0] * empty, ages + [math.nan] * empty


@given(
    streams("orders", CUSTOMERS),
    streams("order_lines", CUSTOMERS),
    streams("clicks", CUSTOMERS, 60),
    st.integers(-20, 200),
)
@seeded
def test_offer_rows(orders: list[Event], lines: list[Event], clicks: list[Event], days: int) -> None:
    as_of = newest_ms([*orders, *lines, *clicks]) + days * DAY_MS
    customers = table("customer", CUSTOMERS, orders=orders, order_lines=lines, clicks=clicks)
    found = next_best_offer.offer_rows(customers, customers.slots_of(CUSTOMERS), np.full(2, as_of))
    for i, customer in enumerate(CUSTOMERS):
        features = customer_features(of(customer, orders), as_of)
        features["customer_recent_views"] = columns("customer_clicks", of(customer, clicks), as_of)["recent_views"]
        told = reorder_oracle(of(customer, orders), of(customer, lines), as_of)
        compared(told, [1.0] * len(told))
        numbers = ("repertoire_products", "repertoire_basket", "repertoire_again")
        features |= {name: next((product[name] for product in told.values()), 0.0) for name in numbers}
        for name, value in zip(next_best_offer.FEATURES, found.features[i], strict=True):
            np.testing.assert_allclose(value, features[name], rtol=1e-6, equal_nan=True, err_msg=name)
        bought, bought_age = sequence("customer_repertoire", "purchases", of(customer, lines), as_of)
        viewed, viewed_age = sequence("customer_session", "viewed", of(customer, clicks), as_of)
        assert found.product[i].tolist() == bought + viewed
        np.testing.assert_allclose(found.age_days[i], bought_age + viewed_age, rtol=1e-6, equal_nan=True)
        assert found.viewed[i].tolist() == [0.0] * len(bought) + [1.0] * len(viewed)
    assert {a.dtype for a in (found.features, found.age_days, found.viewed, found.own)} == {np.dtype(np.float32)}
    assert {found.product.dtype, found.own_product.dtype} == {np.dtype(np.uint64)}


@given(streams("orders", CUSTOMERS), streams("order_lines", CUSTOMERS, 60), st.integers(0, 200))
@seeded
def test_what_a_customer_bought_is_told_to_offers_as_it_is_to_reorder(
    orders: list[Event], lines: list[Event], days: int
) -> None:
    """`test_reorder_rows` holds those against whole lists of events."""
    as_of = np.full(2, newest_ms([*orders, *lines]) + days * DAY_MS)
    customers = table("customer", CUSTOMERS, orders=orders, order_lines=lines)
    slots = customers.slots_of(CUSTOMERS)
    found, rows_ = next_best_offer.offer_rows(customers, slots, as_of), reorder.reorder_rows(customers, slots, as_of)
    theirs = [list(reorder.FEATURES).index(name.replace("own_", "product_")) for name in OWN]
    for i in range(2):
        held, of_customer = found.own_product[i] != 0, rows_.customer == i
        assert found.own_product[i][held].tolist() == rows_.product[of_customer].tolist()
        np.testing.assert_array_equal(found.own[i][held], rows_.features[of_customer][:, theirs])
        assert np.isnan(found.own[i][~held]).all()


def test_a_customer_who_only_looked_has_unknown_rhythm_and_no_reorder_rows() -> None:
    clicks = [Event(ClickKind.PRODUCT_VIEW, START_MS, "a", {"product": 7})]
    customers = table("customer", ["a"], clicks=clicks)
    slots, as_of = customers.slots_of(["a"]), np.array([START_MS])
    assert len(reorder.reorder_rows(customers, slots, as_of).features) == 0
    found = next_best_offer.offer_rows(customers, slots, as_of)
    np.testing.assert_array_equal(found.features[0], np.array([0, np.nan, 0, 0, 1, 0, 0, 0], np.float32))
    assert not found.own_product.any()
    assert found.product[0].tolist() == [0] * 16 + [7] + [0] * 15


def test_no_entities_give_no_rows() -> None:
    customers, items = table("customer", []), table("item", [])
    none, never = np.empty(0, np.int64), np.empty(0, np.int64)
    assert reorder.reorder_rows(customers, none, never).features.shape == (0, 33)
    assert next_best_offer.offer_rows(customers, none, never).own.shape == (0, 32, len(OWN))
    assert stockout.stockout_rows(items, none, never, np.empty(0)).features.shape == (0, 15)


def vector_bytes(vector: str, made: EntityTable, slots: NDArray[np.int64]) -> bytes:
    as_of = np.full(len(slots), START_MS + 4 * DAY_MS)
    if vector == "stockout":
        found: Any = stockout.stockout_rows(made, slots, as_of, np.full(len(slots), 20.0))
    else:
        found = (reorder.reorder_rows if vector == "reorder" else next_best_offer.offer_rows)(made, slots, as_of)
    return b"".join(getattr(found, f.name).tobytes() for f in fields(found))


def touched_by(vector: str) -> set[str]:
    """The aggregations without whose state the vector is another one."""
    made: dict[str, EntityTable] = {}
    for stream, (entity, names) in STREAMS.items():
        values = dict.fromkeys(names, 5000) | {"expected_at_ms": START_MS + 9 * DAY_MS}
        # The first kind thrice, so that not all that is ordered is undone.
        kinds = [KINDS[stream][0]] * 2 + list(KINDS[stream])
        some = [Event(kind, START_MS + day * DAY_MS + kind, "e", values) for day in range(4) for kind in kinds]
        made.setdefault(entity, table(entity, ["e"])).fold(rows(stream, some))
    mine = made["item" if vector == "stockout" else "customer"]
    slots = mine.slots_of(["e"])
    whole, out = vector_bytes(vector, mine, slots), set()
    for view in mine.views.values():
        for aggregation in view.aggregations:
            state = mine.raw(view.name, aggregation.name)
            kept = {name: column[slots].copy() for name, column in state.items()}
            for name, column in mine.views[view.name].raw(view.empty(1), aggregation.name).items():
                state[name][slots] = column
            if vector_bytes(vector, mine, slots) != whole:
                out.add(f"{view.name}.{aggregation.name}")
            for name, column in kept.items():
                state[name][slots] = column
    return out


@pytest.mark.parametrize(
    ("vector", "module"), [(m.__name__.rsplit(".", 1)[1], m) for m in (next_best_offer, reorder, stockout)]
)
def test_a_vector_reads_all_that_it_says_and_nothing_else(vector: str, module: Any) -> None:
    """Whatever else changes in the records, the vector stays; whatever it reads, changes it."""
    assert touched_by(vector) == set(module.READS)


@pytest.mark.parametrize(
    ("vector", "module"), [(m.__name__.rsplit(".", 1)[1], m) for m in (next_best_offer, reorder, stockout)]
)
def test_the_contract_names_features_and_layouts(vector: str, module: Any) -> None:
    found = contract(vector, heads=())
    assert found.vector == vector
    assert found.heads == {}
    assert found.features == tuple(module.FEATURES)
    joins = joined.READS if set(joined.FEATURES) <= set(module.FEATURES) else ()
    parts = {read: read.split(".") for read in [*module.READS, *joins]}
    assert found.reads == {read: discover()[view].column_fingerprint(name) for read, (view, name) in parts.items()}
    assert all(module.FEATURES.values()), "each feature has a sentence"


def test_the_contract_of_a_head_is_beside_that_of_its_vector() -> None:
    whole, without = contract("stockout"), contract("stockout", heads=())
    assert whole.heads == {"shelf": tuple(shelves.FEATURES)}
    assert whole.features == without.features
    assert set(whole.reads) == set(without.reads) | set(shelves.READS)
    assert all(shelves.FEATURES.values()), "each feature has a sentence"
    assert {*shelves.UNITS, *shelves.FLAGGED} <= shelves.FEATURES.keys()


def test_a_row_of_the_next_hours() -> None:
    """Told by hand: two days before, and a morning at which it was restocked."""

    def told(kind: InventoryKind, hour: float, units: float = 0.0) -> Event:
        return Event(kind, START_MS + int(hour * HOUR_MS), "r/s:A", {"quantity": int(units * 1000)})

    sold, out, back = InventoryKind.UNITS_SOLD, InventoryKind.RAN_OUT, InventoryKind.RESTOCKED
    events = [
        told(sold, 10.5, 6),
        told(out, 12),
        told(back, 24 + 7),
        told(sold, 24 + 15.5, 2),
        told(sold, 24 + 20.5, 3),
    ]
    events += [told(out, 24 + 21), told(back, 48 + 6.5), told(sold, 48 + 8.5, 1), told(sold, 48 + 10.5, 2)]
    items = table("item", ["r/s:A"], inventory=events)
    region = np.full((1, len(regional.FEATURES)), 0.5, np.float32)
    slots, as_of = items.slots_of(["r/s:A"]), np.array([START_MS + 59 * HOUR_MS - 1])
    assert shelves.asked(items, slots, as_of).tolist() == [True]
    row = dict(zip(shelves.FEATURES, shelves.shelf_rows(items, slots, as_of, region)[0].tolist(), strict=True))
    usual = (6 * 0.5 ** (1 / 14) + 5) / (0.5 ** (1 / 14) + 1)
    own = {
        "opening_hour": 4,
        "weekday": 2,
        "sold_1h": 2,
        "sold_2h": 2,
        "sold_3h": 3,
        "sold_6h": 3,
        "sold_today": 3,
        "sold_since_restock": 3,
        "sold_late_yesterday": 3,  # 16:00 to 21:59
        "usual_day": usual,
        "level_last": 5,
        "level_before": 6,
        "hours_since_sale": 1,
        "hours_since_restock": 4.5,
        "hours_since_run_out": 14,
        "sold_of_level_last": 3 / 5,
        "sold_of_level_before": 3 / 6,
    }
    half = usual / 2
    made = dict.fromkeys(("usual_so_far", "usual_next_1h", "usual_next_2h", "usual_next_4h", "usual_rest"), half)
    made["pace_today"] = (3 + 0.2) / (half + 0.2)
    assert row == pytest.approx(own | made | dict.fromkeys(regional.FEATURES, 0.5), rel=1e-5)
    alone = shelves.shelf_rows(items, slots, as_of)[0]
    assert np.flatnonzero(np.isnan(alone)).tolist() == shelves.joined_columns()


@given(streams("order_lines", CUSTOMERS, 80), st.integers(-20, 200))
@seeded
def test_two_vectors_tell_the_same_of_a_product(lines: list[Event], days: int) -> None:
    """Next best offer and reorder have the numbers of a product from one place."""
    as_of = np.full(2, newest_ms(lines) + days * DAY_MS)
    customers = table("customer", CUSTOMERS, order_lines=lines)
    at = customers.slots_of(CUSTOMERS)
    rows_ = reorder.reorder_rows(customers, at, as_of)
    offers = next_best_offer.offer_rows(customers, at, as_of)
    held_ = offers.own_product != 0
    assert offers.own_product[held_].tolist() == rows_.product.tolist()
    np.testing.assert_array_equal(offers.own[held_], rows_.features[:, : len(OWN)])
    assert np.isnan(offers.own[~held_]).all()


def test_a_product_that_was_evicted_and_came_back_is_told_with_its_earlier_orders() -> None:
    days = [(1, 0), (1, 9), *[(n + 2, 300) for n in range(HELD)], (1, 310)]
    lines = [Event(OrderKind.PLACED, START_MS + day * DAY_MS, "a", {"product": n, "quantity": 1000}) for n, day in days]
    customers = table("customer", ["a"], order_lines=lines)
    as_of = np.array([START_MS + 311 * DAY_MS])
    own_product, own, _ = own_products(customers, customers.slots_of(["a"]), as_of)
    found = dict(zip(OWN, own[0, own_product[0] == 1][0].tolist(), strict=True))
    assert (found["own_orders"], found["own_share"], found["own_in_last_5"]) == (3, 0.75, 1)
    assert math.isnan(found["own_gap_days"])
    rows = reorder.reorder_rows(customers, customers.slots_of(["a"]), as_of)
    told = dict(zip(reorder.FEATURES, rows.features[rows.product == 1][0].tolist(), strict=True))
    assert (told["product_orders"], told["product_units"], told["product_weight"]) == (3, 1, pytest.approx(1.98, 0.01))
