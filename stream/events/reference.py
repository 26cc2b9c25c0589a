"""Topics `catalog` (key sku) and `offers` (key offer_id), compacted: every worker reads them whole.

A null value deletes its key.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from stream.events.base import Amount, EventTimeMs, Id, Price, Share, Text


class Product(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="product", gc=False):
    """What is known of a product. `simulated` names the fields that are made up."""

    sku: Id
    name: Text
    unit_price: Price
    category: Text | None = None
    lead_time_days: Annotated[float, Meta(gt=0, le=365)] = 7.0
    simulated: list[str] = []


class Offer(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="offer", gc=False):
    """A product at a price for a time. `margin` is what one redemption earns, in money.

    An offer for any of several products names them all in `skus`; `sku` is the one that stands for them.
    """

    offer_id: Id
    sku: Id
    title: Text
    discount: Share
    margin: Amount
    valid_from_ms: EventTimeMs
    valid_until_ms: EventTimeMs
    skus: list[Id] = []
    simulated: bool = False
