"""Topic `orders`, keyed by customer_id: orders, their cancellations and returns, with product lines."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from stream.events.base import Amount, Event, Id, Location, Price, Quantity, Share, Text


class OrderLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A product in an order."""

    sku: Id
    quantity: Quantity
    unit_price: Price
    discount: Share = 0.0


class Charge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Postage, fees, vouchers and other things on an order that are not products."""

    code: Id
    amount: Amount
    description: Text | None = None


class _Order(Event, frozen=True, kw_only=True):
    order_id: Id
    location: Location
    lines: Annotated[list[OrderLine], Meta(min_length=1, max_length=10_000)]
    charges: list[Charge] = []
    customer_id: Id | None = None
    region: Text | None = None


class OrderPlaced(_Order, frozen=True, kw_only=True, tag="order_placed"):
    """A customer ordered. `customer_id` is null for guests: their lines are demand, but they are no customer."""


class OrderCancelled(_Order, frozen=True, kw_only=True, tag="order_cancelled"):
    """A whole order was undone. `lines` are those of the order, `cancels_order_id` names it."""

    cancels_order_id: Id | None = None


class OrderReturned(_Order, frozen=True, kw_only=True, tag="order_returned"):
    """Goods came back. `lines` are what came back, `returns_order_id` names the order where it is known."""

    returns_order_id: Id | None = None


OrderEvent = OrderPlaced | OrderCancelled | OrderReturned
