"""Topic `clicks`, keyed by customer_id: what a customer does on the site, and what it is shown."""

from __future__ import annotations

from stream.events.base import Event, Id, Quantity, Text


class _Click(Event, frozen=True, kw_only=True):
    customer_id: Id
    session_id: Id | None = None
    simulated: bool = False


class ProductView(_Click, frozen=True, kw_only=True, tag="product_view"):
    """A product page was opened."""

    sku: Id


class AddToCart(_Click, frozen=True, kw_only=True, tag="add_to_cart"):
    """A product went into the cart."""

    sku: Id
    quantity: Quantity = 1.0


class RemoveFromCart(_Click, frozen=True, kw_only=True, tag="remove_from_cart"):
    """A product was taken out of the cart."""

    sku: Id


class Search(_Click, frozen=True, kw_only=True, tag="search"):
    """A search was made."""

    query: Text


class OfferImpression(_Click, frozen=True, kw_only=True, tag="offer_impression"):
    """An offer was shown."""

    offer_id: Id


class OfferClick(_Click, frozen=True, kw_only=True, tag="offer_click"):
    """An offer was clicked."""

    offer_id: Id


class OfferRedeemed(_Click, frozen=True, kw_only=True, tag="offer_redeemed"):
    """An offer was used in an order."""

    offer_id: Id


ClickEvent = ProductView | AddToCart | RemoveFromCart | Search | OfferImpression | OfferClick | OfferRedeemed
