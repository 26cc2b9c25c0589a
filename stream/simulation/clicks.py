"""Simulated clicks: what customers could have done on a site before they ordered what they really ordered.

Each session before an order has about ten events: views of products of the order and of others (drawn in
proportion to what was sold before), some put into the cart, now and then a search, a removal, an offer shown,
rarely clicked. An offer is clicked more often if its discount is higher, if the customer bought the product before,
and if it is about to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.events import (
    AddToCart,
    ClickEvent,
    Offer,
    OfferClick,
    OfferImpression,
    OfferRedeemed,
    ProductView,
    RemoveFromCart,
    Search,
)
from stream.simulation.history import SalesHistory
from stream.simulation.sessions import Sessions, draw_sessions

_VIEW, _ADD, _REMOVE, _SEARCH, _SHOWN, _CLICKED, _REDEEMED = range(7)
_POPULARITY_LINES = 50_000


@dataclass(frozen=True, slots=True)
class _Clicks:
    """Click events as columns: kind, session, moment (0 to 1 within the session), subject, quantity."""

    kind: int
    session: NDArray[np.int64]
    moment: NDArray[np.float64]
    subject: NDArray[np.int64]
    quantity: NDArray[np.float64]

    def some(self, kind: int, chosen: NDArray[np.bool_], moment: NDArray[np.float64]) -> _Clicks:
        """The chosen rows again, as events of another kind at another moment."""
        return _Clicks(kind, self.session[chosen], moment[chosen], self.subject[chosen], self.quantity[chosen])


def simulate_clicks(history: SalesHistory, offers: Sequence[Offer], until_ms: int, seed: int) -> list[ClickEvent]:
    """Click events around the real orders of known customers.

    Args:
        history: the real orders.
        offers: shown while they are valid.
        until_ms: no event is later.
        seed: the same seed gives the same events.

    Returns:
        Events in event-time order; `simulated` is set.
    """
    rng = np.random.default_rng([seed, 1])
    sessions = draw_sessions(history, until_ms, rng)
    if not len(sessions):
        return []
    wanted = _wanted_views(history, sessions, rng)
    others = _other_views(history, sessions, rng)
    parts = [wanted, others, *_carts(wanted, others, sessions, rng), _searches(wanted, rng)]
    if offers:
        parts += _offer_events(history, sessions, offers, rng)
    return _records(parts, history, sessions, offers)


def _repeat(sessions: Sessions, mean: float, rng: np.random.Generator, least: int = 0) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(sessions)), least + rng.poisson(mean, len(sessions)))


def _wanted_views(history: SalesHistory, sessions: Sessions, rng: np.random.Generator) -> _Clicks:
    session = _repeat(sessions, 2.5, rng, least=1)
    line = sessions.first_line[session] + (rng.random(len(session)) * sessions.lines[session]).astype(np.int64)
    moment = rng.random(len(session)) * 0.9
    return _Clicks(_VIEW, session, moment, history.line_product[line], history.line_quantity[line])


def _other_views(history: SalesHistory, sessions: Sessions, rng: np.random.Generator) -> _Clicks:
    """Views in proportion to the sales before the session; before the first sale there is nothing popular to see."""
    session = _repeat(sessions, 2.0, rng)
    past = sessions.past_lines[session]
    recent = np.minimum(past, _POPULARITY_LINES)
    line = past - 1 - (rng.random(len(session)) * recent).astype(np.int64)
    moment = rng.random(len(session)) * 0.9
    seen = past > 0
    product = history.line_product[np.maximum(line, 0)]
    return _Clicks(_VIEW, session, moment, product, np.ones(len(session))).some(_VIEW, seen, moment)


def _carts(wanted: _Clicks, others: _Clicks, sessions: Sessions, rng: np.random.Generator) -> list[_Clicks]:
    chance = np.where(sessions.buys[wanted.session] == 1, 0.6, 0.25)
    taken = rng.random(len(wanted.session)) < chance
    tried = rng.random(len(others.session)) < 0.08
    dropped = tried & (rng.random(len(tried)) < 0.7)
    tried_at = _later(others.moment, rng)
    return [
        wanted.some(_ADD, taken, _later(wanted.moment, rng)),
        others.some(_ADD, tried, tried_at),
        others.some(_REMOVE, dropped, _later(tried_at, rng)),
    ]


def _later(moment: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    return moment + (1.0 - moment) * (0.02 + 0.6 * rng.random(len(moment)))


def _searches(wanted: _Clicks, rng: np.random.Generator) -> _Clicks:
    searched = rng.random(len(wanted.session)) < 0.12
    return wanted.some(_SEARCH, searched, wanted.moment * 0.98)


def _offer_events(
    history: SalesHistory, sessions: Sessions, offers: Sequence[Offer], rng: np.random.Generator
) -> list[_Clicks]:
    session = _repeat(sessions, 1.6, rng)
    moment = rng.random(len(session)) * 0.85
    offer, valid = _valid_offers(sessions.start_ms[session], sessions.end_ms[session], offers, rng)
    shown = _Clicks(_SHOWN, session, moment, offer, np.ones(len(session))).some(_SHOWN, valid, moment)
    known, about_to_buy = _affinity(history, sessions, shown, offers)
    discount = np.array([each.discount for each in offers])[shown.subject]
    chance = 1.0 / (1.0 + np.exp(3.6 - 6.0 * discount - 1.4 * known - 1.6 * about_to_buy))
    clicked = rng.random(len(chance)) < chance
    clicked_at = shown.moment + 0.99 * (_later(shown.moment, rng) - shown.moment)
    redeemed = clicked & about_to_buy & (rng.random(len(chance)) < 0.8)
    return [
        shown,
        shown.some(_CLICKED, clicked, clicked_at),
        shown.some(_REDEEMED, redeemed, np.ones(len(chance))),
    ]


def _valid_offers(
    start_ms: NDArray[np.int64], end_ms: NDArray[np.int64], offers: Sequence[Offer], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """An offer that is valid for the whole session, drawn evenly; and whether there is one."""
    begins = np.array([offer.valid_from_ms for offer in offers])
    ends = np.array([offer.valid_until_ms for offer in offers])
    valid: NDArray[np.bool_] = (begins <= start_ms[:, None]) & (ends > end_ms[:, None])
    nth = (rng.random(len(start_ms)) * valid.sum(axis=1)).astype(np.int64)
    offer = (valid.cumsum(axis=1) > nth[:, None]).argmax(axis=1).astype(np.int64)
    return offer, np.asarray(valid.any(axis=1))


def _affinity(
    history: SalesHistory, sessions: Sessions, shown: _Clicks, offers: Sequence[Offer]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the customer bought the offered product before the session, and whether it is about to."""
    products = len(history.products)
    sku_index = {product.sku: index for index, product in enumerate(history.products)}
    product = np.array([sku_index[offer.sku] for offer in offers])[shown.subject]
    order_of_line = np.repeat(np.arange(len(history.order_time_ms)), np.diff(history.first_line))
    pairs = history.order_customer[order_of_line] * products + history.line_product
    bought, first = np.unique(pairs, return_index=True)
    wanted = sessions.customer[shown.session] * products + product
    at = np.minimum(np.searchsorted(bought, wanted), len(bought) - 1)
    known = (bought[at] == wanted) & (first[at] < sessions.past_lines[shown.session])
    in_orders = order_of_line * products + history.line_product
    order = order_of_line[sessions.first_line[shown.session]]
    about_to_buy = np.isin(order * products + product, in_orders) & (sessions.buys[shown.session] == 1)
    return known, about_to_buy


def _records(
    parts: list[_Clicks], history: SalesHistory, sessions: Sessions, offers: Sequence[Offer]
) -> list[ClickEvent]:
    session = np.concatenate([part.session for part in parts])
    kind = np.repeat([part.kind for part in parts], [len(part.session) for part in parts])
    moment = np.concatenate([part.moment for part in parts])
    length_ms = sessions.end_ms[session] - sessions.start_ms[session]
    time_ms = sessions.start_ms[session] + (moment * length_ms).astype(np.int64)
    subject = np.concatenate([part.subject for part in parts])
    quantity = np.concatenate([part.quantity for part in parts])
    order = np.argsort(time_ms, kind="stable")
    columns = [column[order].tolist() for column in (kind, session, time_ms, subject, quantity)]
    customer = [history.customers[index] for index in sessions.customer.tolist()]
    make = _makers(history, offers)
    return [
        make[k](f"click-{n}", t, customer[s], f"session-{s}", subject_index, units)
        for n, (k, s, t, subject_index, units) in enumerate(zip(*columns, strict=True))
    ]


_Maker = Callable[[str, int, str, str, int, float], ClickEvent]


def _makers(history: SalesHistory, offers: Sequence[Offer]) -> list[_Maker]:
    skus = [product.sku for product in history.products]
    queries = [" ".join(product.name.lower().split()[-2:]) for product in history.products]

    def of_product(kind: type[ProductView] | type[RemoveFromCart]) -> _Maker:
        return lambda event, time, customer, session, subject, _: kind(
            event_id=event,
            event_time_ms=time,
            customer_id=customer,
            session_id=session,
            sku=skus[subject],
            simulated=True,
        )

    def of_offer(kind: type[OfferImpression] | type[OfferClick] | type[OfferRedeemed]) -> _Maker:
        return lambda event, time, customer, session, subject, _: kind(
            event_id=event,
            event_time_ms=time,
            customer_id=customer,
            session_id=session,
            offer_id=offers[subject].offer_id,
            simulated=True,
        )

    def add(event: str, time: int, customer: str, session: str, subject: int, units: float) -> ClickEvent:
        return AddToCart(
            event_id=event,
            event_time_ms=time,
            customer_id=customer,
            session_id=session,
            sku=skus[subject],
            quantity=units,
            simulated=True,
        )

    def search(event: str, time: int, customer: str, session: str, subject: int, _: float) -> ClickEvent:
        return Search(
            event_id=event,
            event_time_ms=time,
            customer_id=customer,
            session_id=session,
            query=queries[subject],
            simulated=True,
        )

    return [
        of_product(ProductView),
        add,
        of_product(RemoveFromCart),
        search,
        of_offer(OfferImpression),
        of_offer(OfferClick),
        of_offer(OfferRedeemed),
    ]
