from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.events import (
    AddToCart,
    ClickEvent,
    InventoryEvent,
    OfferClick,
    OfferImpression,
    OrderEvent,
    OrderLine,
    OrderPlaced,
    OrderReturned,
    Product,
    ProductView,
    PurchaseOrderPlaced,
    RanOut,
    Restocked,
    StockAdjusted,
    StockCounted,
    StockReceived,
)
from stream.imports import build_event_log
from stream.imports.dataset import Imported
from stream.imports.online_retail import read_online_retail
from stream.simulation import Simulated, simulate
from stream.simulation.history import sales_history
from stream.simulation.offers import simulate_offers
from stream.simulation.stock import simulate_stock

REAL = Path(__file__).parents[2] / "stream" / "demo" / "data" / "online_retail.parquet"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MINUTE_MS = 60_000
SKUS = ("A", "B", "C")
CATALOG = [Product(sku=sku, name=f"Red {sku}", unit_price=40.0, lead_time_days=3.0) for sku in SKUS]


@pytest.fixture(scope="module")
def real() -> Imported:
    return read_online_retail(REAL, orders=1200)


@pytest.fixture(scope="module")
def made(real: Imported) -> Simulated:
    return simulate(real.orders, real.adjustments, real.catalog)


def last_ms(*events: Sequence[OrderEvent] | Sequence[InventoryEvent] | Sequence[StockAdjusted]) -> int:
    return max(event.event_time_ms for each in events for event in each)


def check_ledger(orders: Sequence[OrderEvent], events: Sequence[InventoryEvent], until_ms: int) -> Counter[str]:
    """Follows every item by itself, one movement after the other, and compares what the ledger said."""
    seen: Counter[str] = Counter()
    for sku in {event.sku for event in events}:
        steps: list[tuple[int, int, Any]] = []
        for order in orders:
            sign = -1 if isinstance(order, OrderPlaced) else 1
            steps += [(order.event_time_ms, 0, sign * line.quantity) for line in order.lines if line.sku == sku]
        steps += [(event.event_time_ms, 1, event) for event in events if event.sku == sku]
        steps.sort(key=lambda step: step[:2])
        stock: float | None = None
        too_much = 0.0
        expected: list[tuple[int, str]] = []
        told: list[tuple[int, str]] = []
        on_order: dict[str, PurchaseOrderPlaced] = {}

        for time_ms, _, step in steps:
            before = stock
            if stock is None:
                assert isinstance(step, StockCounted), "an item begins with a count"
                stock = before = step.quantity
                assert stock > 0
            elif isinstance(step, float):
                stock += step
            elif isinstance(step, StockAdjusted):
                if -step.quantity > max(stock, 0.0):
                    too_much += -step.quantity - max(stock, 0.0)
                stock += step.quantity
            elif isinstance(step, StockCounted):
                assert (time_ms + 1) % DAY_MS == 0
                assert stock > 0 or too_much, "an empty shelf is counted only to settle a write-off"
                assert step.quantity == max(stock + too_much, 0.0)
                stock, too_much = step.quantity, 0.0
            elif isinstance(step, PurchaseOrderPlaced):
                assert (time_ms + 1) % DAY_MS == 0
                assert step.expected_at_ms > time_ms
                on_order[step.purchase_order_id] = step
            elif isinstance(step, StockReceived):
                assert step.purchase_order_id is not None
                assert step.quantity == on_order.pop(step.purchase_order_id).quantity
                stock += step.quantity
            elif isinstance(step, RanOut | Restocked):
                told.append((time_ms, type(step).__name__))
            assert before is not None
            assert stock is not None
            if before > 0 >= stock:
                expected.append((time_ms, "RanOut"))
            elif before <= 0 < stock:
                expected.append((time_ms, "Restocked"))
            seen[type(step).__name__] += 1
        assert told == expected
        assert all(late.expected_at_ms + 7 * DAY_MS > until_ms for late in on_order.values())
    return seen


sales = st.tuples(
    st.integers(1, 80),
    st.integers(0, 1439),
    st.sampled_from(SKUS),
    st.integers(1, 30),
    st.sampled_from([OrderPlaced, OrderPlaced, OrderPlaced, OrderReturned]),
)
corrections = st.tuples(
    st.integers(1, 80), st.integers(0, 1439), st.sampled_from(SKUS), st.integers(-60, 60).filter(bool)
)


def orders_of(rows: list[tuple[int, int, str, int, Any]]) -> list[OrderEvent]:
    rows = sorted(rows, key=lambda row: row[:2])
    return [
        kind(
            event_id=f"o{n}",
            event_time_ms=day * DAY_MS + minute * MINUTE_MS,
            order_id=f"{n}",
            location="w",
            lines=[OrderLine(sku=sku, quantity=float(quantity), unit_price=1.0)],
            customer_id="c",
        )
        for n, (day, minute, sku, quantity, kind) in enumerate(rows)
    ]


def adjustments_of(rows: list[tuple[int, int, str, int]]) -> list[StockAdjusted]:
    return [
        StockAdjusted(
            event_id=f"a{n}",
            event_time_ms=day * DAY_MS + minute * MINUTE_MS,
            location="w",
            sku=sku,
            quantity=float(quantity),
        )
        for n, (day, minute, sku, quantity) in enumerate(sorted(rows, key=lambda row: row[:2]))
    ]


@settings(max_examples=150, deadline=None)
@given(
    sold=st.lists(sales, min_size=1, max_size=60), corrected=st.lists(corrections, max_size=6), seed=st.integers(0, 9)
)
def test_the_ledger_is_true(sold: list[Any], corrected: list[Any], seed: int) -> None:
    orders, adjustments = orders_of(sold), adjustments_of(corrected)
    until_ms = last_ms(orders, adjustments)
    events = simulate_stock(orders, adjustments, CATALOG, until_ms, seed)
    assert [event.event_time_ms for event in events] == sorted(event.event_time_ms for event in events)
    assert last_ms(events) <= until_ms
    check_ledger(orders, events, until_ms)


@settings(max_examples=200, deadline=None)
@given(
    sold=st.lists(sales, min_size=2, max_size=60), corrected=st.lists(corrections, max_size=5), cut=st.integers(2, 80)
)
@example(
    sold=[(1, 0, "A", 1, OrderPlaced), (3, 0, "B", 1, OrderPlaced)], corrected=[(1, 0, "C", 1), (1, 0, "B", 1)], cut=2
)
def test_the_policy_sees_only_the_past(sold: list[Any], corrected: list[Any], cut: int) -> None:
    """What is simulated up to a moment is the same whatever comes after it."""
    orders, adjustments = orders_of(sold), adjustments_of(corrected)
    until_ms = cut * DAY_MS + 12 * HOUR_MS
    early = [order for order in orders if order.event_time_ms <= until_ms]
    early_adjustments = [adjusted for adjusted in adjustments if adjusted.event_time_ms <= until_ms]
    known = {line.sku for order in early for line in order.lines} | {each.sku for each in early_adjustments}
    whole = simulate_stock(orders, adjustments, CATALOG, 99 * DAY_MS, 7)
    part = simulate_stock(early, early_adjustments, CATALOG, until_ms, 7)
    assert part == [event for event in whole if event.event_time_ms <= until_ms and event.sku in known]


def test_the_ledger_of_real_orders_is_true_and_has_everything(real: Imported, made: Simulated) -> None:
    until_ms = last_ms(real.orders, real.adjustments)
    seen = check_ledger(real.orders, made.inventory, until_ms)
    kinds = {"StockCounted", "StockReceived", "PurchaseOrderPlaced", "RanOut", "Restocked", "StockAdjusted"}
    assert kinds <= seen.keys()
    assert seen["StockAdjusted"] == len(real.adjustments)
    assert len(made.inventory) <= 1.5 * sum(len(order.lines) for order in real.orders)


def test_some_deliveries_are_late(made: Simulated) -> None:
    placed = {event.purchase_order_id: event for event in made.inventory if isinstance(event, PurchaseOrderPlaced)}
    received = [event for event in made.inventory if isinstance(event, StockReceived)]
    late = [
        event.purchase_order_id is not None
        and event.event_time_ms - placed[event.purchase_order_id].expected_at_ms > 12 * HOUR_MS
        for event in received
    ]
    assert 0.1 < sum(late) / len(late) < 0.4


def test_everything_made_up_says_so_and_nothing_real_does(real: Imported, made: Simulated) -> None:
    adjusted = {event.event_id for event in real.adjustments}
    for event in (*made.clicks, *made.inventory, *made.offers):
        assert event.simulated != (getattr(event, "event_id", None) in adjusted)


@pytest.mark.parametrize("topic", ["clicks", "inventory", "offers"])
def test_records_are_valid_unique_and_in_order(made: Simulated, real: Imported, topic: str) -> None:
    records: list[Any] = getattr(made, topic)
    ids = [getattr(record, "event_id", getattr(record, "offer_id", None)) for record in records]
    assert len(set(ids)) == len(ids)
    for record in records:
        assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record
    if topic != "offers":
        times = [record.event_time_ms for record in records]
        assert times == sorted(times)
        assert times[-1] <= last_ms(real.orders, real.adjustments)


def sessions_of(clicks: Sequence[ClickEvent]) -> dict[str, list[ClickEvent]]:
    sessions: dict[str, list[ClickEvent]] = defaultdict(list)
    for click in clicks:
        assert click.session_id is not None
        sessions[click.session_id].append(click)
    return sessions


def test_each_known_customers_order_has_a_session_within_the_hour_before(real: Imported, made: Simulated) -> None:
    placed = [o for o in real.orders if isinstance(o, OrderPlaced) and o.customer_id is not None]
    sessions = sessions_of(made.clicks)
    for number, order in enumerate(placed):
        session = sessions.pop(f"session-{number}")
        assert {click.customer_id for click in session} == {order.customer_id}
        assert order.event_time_ms - HOUR_MS <= session[0].event_time_ms
        assert session[-1].event_time_ms < order.event_time_ms
        viewed = {click.sku for click in session if isinstance(click, ProductView)}
        assert viewed & {line.sku for line in order.lines}, "something that it is about to buy was seen"
    assert 0.05 * len(placed) < len(sessions) < 0.3 * len(placed), "the rest ends without an order"
    assert 8 <= len(made.clicks) / (len(placed) + len(sessions)) <= 12


def test_what_goes_into_the_cart_was_seen_before(made: Simulated) -> None:
    for session in sessions_of(made.clicks).values():
        viewed: set[str] = set()
        for click in session:
            if isinstance(click, ProductView):
                viewed.add(click.sku)
            elif isinstance(click, AddToCart):
                assert click.sku in viewed


def test_other_products_seen_were_sold_before(real: Imported, made: Simulated) -> None:
    placed = [o for o in real.orders if isinstance(o, OrderPlaced)]
    known = [order for order in placed if order.customer_id is not None]
    first_sold: dict[str, int] = {}
    for order in placed:
        for line in order.lines:
            first_sold.setdefault(line.sku, order.event_time_ms)
    for name, session in sessions_of(made.clicks).items():
        number = int(name.removeprefix("session-"))
        own = {line.sku for line in known[number].lines} if number < len(known) else set()
        for click in session:
            if isinstance(click, ProductView) and click.sku not in own:
                assert first_sold[click.sku] < click.event_time_ms


def test_offers_are_shown_while_valid_and_clicked_after_they_were_shown(made: Simulated) -> None:
    offers = {offer.offer_id: offer for offer in made.offers}
    clicked = shown = 0
    for session in sessions_of(made.clicks).values():
        seen: set[str] = set()
        for click in session:
            if isinstance(click, OfferImpression):
                offer = offers[click.offer_id]
                assert offer.valid_from_ms <= click.event_time_ms < offer.valid_until_ms
                seen.add(click.offer_id)
                shown += 1
            elif isinstance(click, OfferClick):
                assert click.offer_id in seen
                clicked += 1
    assert 0.03 < clicked / shown < 0.2


def test_many_offers_are_valid_at_any_time(real: Imported, made: Simulated) -> None:
    times = [order.event_time_ms for order in real.orders]
    for time_ms in (times[0] - HOUR_MS, *times[::50], times[-1]):
        valid = [offer for offer in made.offers if offer.valid_from_ms <= time_ms < offer.valid_until_ms]
        assert len(valid) >= 40
        assert len({offer.sku for offer in valid}) == len(valid)
    for offer in made.offers:
        assert 0.05 <= offer.discount <= 0.30
        assert offer.margin >= 0


def test_offers_of_a_year_are_of_products_that_sold_before() -> None:
    lines = [(day, 600, SKUS[day // 140], 1, OrderPlaced) for day in range(1, 366)]
    history = sales_history(orders_of(lines), CATALOG)
    offers = simulate_offers(history, 365 * DAY_MS, seed=1)
    first = {sku: min(day for day, _, s, *_ in lines if s == sku) * DAY_MS for sku in SKUS}
    later = [offer for offer in offers if offer.valid_from_ms > 2 * DAY_MS]
    assert {offer.sku for offer in later} == set(SKUS)
    assert all(first[offer.sku] < offer.valid_from_ms for offer in later)
    assert 100 <= len(offers) <= 180


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("two", 7), ("other", 8)):
        build_event_log("online-retail", REAL, tmp_path / name, orders=200, seed=seed)
    one, two, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two", "other")
    )
    assert one == two
    assert one["orders.parquet"] == other["orders.parquet"], "what is real does not depend on the seed"
    assert all(one[f"{topic}.parquet"] != other[f"{topic}.parquet"] for topic in ("clicks", "inventory", "offers"))


def test_guests_and_empty_histories_need_no_clicks() -> None:
    assert simulate([], [], CATALOG) == Simulated()
    (order,) = orders_of([(1, 600, "A", 2, OrderPlaced)])
    made = simulate([msgspec.structs.replace(order, customer_id=None)], [], CATALOG)
    assert made.clicks == []
    assert made.offers
    only_back = simulate(orders_of([(1, 600, "A", 2, OrderReturned)]), [], CATALOG)
    assert (only_back.clicks, only_back.offers) == ([], [])
    assert [type(event) for event in only_back.inventory] == [StockCounted]
