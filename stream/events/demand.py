"""Topic `demand`, keyed by location:sku, internal: one record an order line, repartitioned from customers to items.

The source position makes a record idempotent: item state takes in each (partition, offset, line) of `orders` once,
however often a restarted worker publishes it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from stream.events.base import Event, Id, Location, Price, Quantity

#: The id of an order event and the index of a line: longer than an `Id` may be.
LineId = Annotated[str, Meta(min_length=1, max_length=160)]


class _Demand(Event, frozen=True, kw_only=True):
    event_id: LineId
    location: Location
    sku: Id
    quantity: Quantity
    unit_price: Price
    order_id: Id
    line: Annotated[int, Meta(ge=0, lt=10_000, description="index of the line in its order event")]
    source_partition: Annotated[int, Meta(ge=0, lt=2**31, description="partition of the order event on `orders`")]
    source_offset: Annotated[int, Meta(ge=0, le=9 * 10**14, description="offset of the order event on `orders`")]
    customer_id: Id | None = None


class Ordered(_Demand, frozen=True, kw_only=True, tag="ordered"):
    """A line of an order that was placed."""


class Cancelled(_Demand, frozen=True, kw_only=True, tag="cancelled"):
    """A line of an order that was undone."""


class Returned(_Demand, frozen=True, kw_only=True, tag="returned"):
    """A line that came back."""


DemandEvent = Ordered | Cancelled | Returned
