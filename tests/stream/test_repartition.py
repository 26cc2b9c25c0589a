from __future__ import annotations

import msgspec
import pytest

from stream.decode import Decoder, item_key
from stream.events import Cancelled, DemandEvent, Ordered, Returned
from stream.repartition import demand_of
from tests.stream.build import T0, line, message, order


def test_one_record_a_line_in_log_order_with_its_place() -> None:
    records = [
        message("orders", "1", order("1", [line("A", 2, 10.0, 0.25), line("B")], event_id="x"), offset=5, partition=2),
        message("orders", None, order(None, [line("A")], at=T0 + 1, event_id="y"), offset=9, partition=0),
    ]
    orders = Decoder(0, 10**6).decode(records, T0 + 10**6).topics["orders"]
    made = list(demand_of(orders))
    assert [(p, o) for p, o, _ in made] == [(2, 5), (2, 5), (0, 9)]
    first, second, third = (record for _, _, record in made)
    assert first == Ordered(
        event_id="x:0",
        event_time_ms=T0,
        location="w",
        sku="A",
        quantity=2.0,
        unit_price=7.5,
        order_id="x",
        line=0,
        source_partition=2,
        source_offset=5,
        customer_id="1",
    )
    assert (second.event_id, second.sku, second.line) == ("x:1", "B", 1)
    assert (third.event_id, third.customer_id, third.source_offset) == ("y:0", None, 9)
    assert item_key(first) == "w:A"


@pytest.mark.parametrize(
    ("kind", "record"), [("order_placed", Ordered), ("order_cancelled", Cancelled), ("order_returned", Returned)]
)
def test_each_kind_of_order_has_its_kind_of_demand(kind: str, record: type) -> None:
    batch = Decoder(0, 10**6).decode([message("orders", "7", order(kind=kind))], T0)
    ((_, _, made),) = demand_of(batch.topics["orders"])
    assert type(made) is record
    assert msgspec.json.decode(msgspec.json.encode(made), type=DemandEvent) == made
