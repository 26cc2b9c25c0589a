"""What the pipeline benchmark measures on is what it says it is."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.workload import CLICKS, MOST_LINES, START_MS, VISIT_MS, Made, Shop
from features.ids import IdCache
from stream.decode import Decoded, Decoder
from stream.reference import Reference
from tests.stream.build import Message

SHOP = Shop(orders=300, customers=60, items=50, days=14)


@pytest.fixture(scope="module")
def records() -> list[Made]:
    return SHOP.records()


@pytest.fixture(scope="module")
def decoded(records: list[Made]) -> dict[str, Decoded]:
    messages = [Message((r.topic, 0, i), r.key, r.value) for i, r in enumerate(records)]
    batch = Decoder(0, 10**6).decode(messages, START_MS + 100 * 86_400_000)
    assert batch.dead_letters == []
    return batch.topics


def test_there_are_ten_clicks_of_the_customer_in_the_ten_minutes_before_each_order(decoded: dict[str, Decoded]) -> None:
    assert len(decoded["orders"].events) == SHOP.orders
    clicks = Counter(
        (click.customer_id, order.event_id)
        for order in decoded["orders"].events
        for click in decoded["clicks"].events
        if click.session_id == f"s{order.event_id[1:]}"
        and order.event_time_ms - VISIT_MS <= click.event_time_ms < order.event_time_ms
    )
    wanted = {(order.customer_id, order.event_id): CLICKS for order in decoded["orders"].events}
    assert clicks == wanted
    assert len(decoded["clicks"].events) == CLICKS * SHOP.orders


def test_orders_have_one_to_five_lines(decoded: dict[str, Decoded]) -> None:
    lines = [len(order.lines) for order in decoded["orders"].events]
    assert (min(lines), max(lines)) == (1, MOST_LINES)
    assert sum(lines) / len(lines) == pytest.approx(3.0, abs=0.3)


def test_records_come_in_event_time_and_are_the_same_for_a_seed(records: list[Made]) -> None:
    times = [record.event_time_ms for record in records]
    assert times == sorted(times)
    assert SHOP.records() == records


def test_the_catalog_has_every_product(decoded: dict[str, Decoded]) -> None:
    reference = Reference(IdCache())
    for i, record in enumerate(SHOP.reference()):
        reference.apply(Message((record.topic, 0, i), record.key, record.value))
    assert len(reference.offers) == SHOP.offers
    ordered = {line.sku for order in decoded["orders"].events for line in order.lines}
    assert ordered <= reference.products.keys()
    assert all(product.simulated for product in reference.products.values())
