"""Topic `inventory`, keyed by location:sku: what happens to the stock of an item."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from stream.events.base import (
    Event,
    EventTimeMs,
    Id,
    Location,
    Quantity,
    QuantityOrZero,
    Share,
    SignedQuantity,
    Text,
)


class _Inventory(Event, frozen=True, kw_only=True):
    location: Location
    sku: Id
    simulated: bool = False


class StockCounted(_Inventory, frozen=True, kw_only=True, tag="stock_counted"):
    """The stock on hand was counted, after close of business: the day's demand is in the count."""

    quantity: QuantityOrZero


class StockReceived(_Inventory, frozen=True, kw_only=True, tag="stock_received"):
    """A delivery was put on the shelf."""

    quantity: Quantity
    purchase_order_id: Id | None = None


class StockAdjusted(_Inventory, frozen=True, kw_only=True, tag="stock_adjusted"):
    """Stock was written off (negative) or found (positive)."""

    quantity: SignedQuantity
    reason: Text | None = None


class PurchaseOrderPlaced(_Inventory, frozen=True, kw_only=True, tag="purchase_order_placed"):
    """The buyer ordered from the supplier."""

    quantity: Quantity
    expected_at_ms: EventTimeMs
    purchase_order_id: Id


class UnitsSold(_Inventory, frozen=True, kw_only=True, tag="units_sold"):
    """A period's sales as tills report them, for shops whose orders do not come through `orders`."""

    quantity: QuantityOrZero
    period_ms: Annotated[int, Meta(gt=0)]


class RanOut(_Inventory, frozen=True, kw_only=True, tag="ran_out"):
    """The shelf is empty."""


class Restocked(_Inventory, frozen=True, kw_only=True, tag="restocked"):
    """The shelf is no longer empty."""


class PriceSet(_Inventory, frozen=True, kw_only=True, tag="price_set"):
    """The item's price from a time on, told when it is known, which may be before it is valid.

    It stands until another one is valid; of two that are valid from the same time, the later told. `discount` is the
    share of the usual price that is taken off: 0 is the usual price. No view reads it; the features of days do.
    """

    discount: Share
    valid_from_ms: EventTimeMs


InventoryEvent = (
    StockCounted | StockReceived | StockAdjusted | PurchaseOrderPlaced | UnitsSold | RanOut | Restocked | PriceSet
)
