"""Repartition: one `demand` record an order line, keyed by item, so that items meet their demand."""

from __future__ import annotations

from collections.abc import Iterator

from stream.decode import Decoded
from stream.events import Cancelled, DemandEvent, OrderCancelled, Ordered, OrderPlaced, OrderReturned, Returned

_RECORD: dict[type, type[Ordered] | type[Cancelled] | type[Returned]] = {
    OrderPlaced: Ordered,
    OrderCancelled: Cancelled,
    OrderReturned: Returned,
}


def demand_of(orders: Decoded) -> Iterator[tuple[int, int, DemandEvent]]:
    """(partition, offset, demand record) of every line of a micro-batch's order events, in log order."""
    for event, partition, offset in zip(orders.events, orders.partitions, orders.offsets, strict=True):
        record = _RECORD[type(event)]
        for line, item in enumerate(event.lines):
            yield (
                partition,
                offset,
                record(
                    event_id=f"{event.event_id}:{line}",
                    event_time_ms=event.event_time_ms,
                    location=event.location,
                    sku=item.sku,
                    quantity=item.quantity,
                    unit_price=item.unit_price * (1.0 - item.discount),
                    order_id=event.order_id,
                    line=line,
                    source_partition=partition,
                    source_offset=offset,
                    customer_id=event.customer_id,
                ),
            )
