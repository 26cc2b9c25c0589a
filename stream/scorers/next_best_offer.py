"""Next best offer: which of the offers that are valid now to show a customer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Times
from features.table import EntityTable
from features.vectors.next_best_offer import FEATURES, OfferRows, offer_rows
from features.vectors.own import OWN
from stream.events import NextBestOffers, Offer, OfferScore, Reason
from stream.joins import Joined, unknown
from stream.scorers.base import Names, Scored, Scorer, Touched
from stream.scorers.exploring import explored
from stream.scorers.joining import fresh
from stream.scorers.reasons import NONE, largest_by_product, null_for_nan
from stream.topology import NEXT_BEST_OFFERS

_SHOWN = 5
#: Customers that are scored together: each is compared with all open offers, so a table of them is wide.
_TOGETHER = 256
_JUST_BOUGHT_DAYS = 1.0
_DAY_S = 86_400
_ORDERS = list(FEATURES).index("customer_orders")
_SHARED = frozenset({"words", "offer_words", "offer_numbers", "offer_sold", "offer_product"})
#: What the shop says of the products of offers, if the graph asks.
_SOLD = "offer_sold"
#: Parts of a score, beside what was bought (0) and viewed (1), that are no product of the sequence.
_CUSTOMER, _OFFER, _BEFORE = 2, 3, 4
_TIMES = list(OWN).index("own_orders")
#: Pairs of a customer's place in the micro-batch and a product.
Bought = tuple[NDArray[np.intp], NDArray[np.uint64]]


@dataclass(frozen=True)
class NextBestOfferScorer(Scorer):
    """Publishes one list a customer, ranked by expected margin, but for exploration (`models.explore`).

    An offer is left out when it is not valid at the customer's event time, its product was bought within a day, or is
    out of stock everywhere (of an offer for any of several products: all of them are).
    Fallbacks: `popularity` for a customer without purchases or views, `no_offers` where none is valid.
    A share of the lists is explored: `stream.scorers.exploring`.
    """

    topic = NEXT_BEST_OFFERS
    entity = "customer"

    def score(self, table: EntityTable, touched: Touched) -> tuple[list[Scored], OfferRows]:
        """A `NextBestOffers` record a customer."""
        rows = offer_rows(table, touched.slots, touched.as_of_ms)
        offers = self._candidates(touched.as_of_ms)
        eligible = self._eligible(offers, touched.as_of_ms, just_bought(table, touched, rows))
        told = self._told(offers, touched.as_of_ms)
        outputs = self._run(rows, offers, eligible, touched.as_of_ms // DAY_MS, told)
        came = fresh(min(told.values(), key=lambda joined: joined.event_time_ms, default=None))
        known = np.asarray((rows.product != 0).any(axis=1))
        lists = self._lists(rows, offers, eligible & known[:, None], outputs)
        name, version = self.model.manifest.name, self.model.manifest.version
        out = []
        any_open = np.asarray(eligible.any(axis=1)).tolist()
        for i, origin in enumerate(self.origins(table, touched)):
            shown = lists[i] if known[i] or not any_open[i] else self._popular(offers, eligible[i])
            shown = explored(shown, origin.key, origin.as_of_ms, self.settings.explore)
            record = NextBestOffers(
                model=name,
                version=version,
                as_of_ms=origin.as_of_ms,
                fallback="no_offers" if not any_open[i] else None if known[i] else "popularity",
                feature_time_ms=origin.feature_time_ms | came,
                source=origin.source,
                customer_id=origin.key,
                offers=shown,
                reasons=shown[0].reasons if shown else [],
            )
            out.append(Scored(origin.key, record))
        return out, rows

    def _candidates(self, as_of_ms: Times) -> list[Offer]:
        """Offers that are valid for any of the customers, in the order of their ids: the same after every restart."""
        first, last = int(as_of_ms.min()), int(as_of_ms.max())
        found = [o for o in self.reference.offers.values() if o.valid_from_ms <= last and o.valid_until_ms > first]
        return sorted(found, key=lambda o: o.offer_id)

    def _eligible(self, offers: list[Offer], as_of_ms: Times, bought: Bought) -> NDArray[np.bool_]:
        start = np.array([o.valid_from_ms for o in offers], np.int64)
        end = np.array([o.valid_until_ms for o in offers], np.int64)
        now = as_of_ms[:, None]
        valid = (start <= now) & (now < end)
        product = self._products(offers)
        valid[:, self._gone(offers, as_of_ms)] = False
        customer, recent = bought
        offered = np.isin(recent, product)
        customer, recent = customer[offered], recent[offered]
        place, offer = np.nonzero(recent[:, None] == product)
        valid[customer[place], offer] = False
        return np.asarray(valid)

    def _gone(self, offers: list[Offer], as_of_ms: Times) -> NDArray[np.bool_]:
        """Which offers are for products that are left nowhere."""
        gone = np.zeros(len(offers), np.bool_)
        if self.joins is None or not offers:
            return gone
        skus = [offer.skus or [offer.sku] for offer in offers]
        out = self.joins.out_of_stock(list(itertools.chain.from_iterable(skus)), as_of_ms)
        bounds = np.cumsum([0, *map(len, skus[:-1])])
        return np.asarray(np.logical_and.reduceat(out, bounds))

    def _products(self, offers: list[Offer]) -> NDArray[np.uint64]:
        return np.array([self.reference.ids.id(o.sku) for o in offers], np.uint64)

    def _told(self, offers: list[Offer], as_of_ms: Times) -> dict[int, Joined]:
        """What the shop says of each offer's product, by the day of a score; nothing where nobody asks."""
        if self.joins is None or not offers or not any(head.input == _SOLD for head in self.model.manifest.heads):
            return {}
        ids = self._products(offers)
        days = np.unique(as_of_ms // DAY_MS).tolist()
        return {day: self.joins.offered(ids, day) for day in days}

    def _run(
        self,
        rows: OfferRows,
        offers: list[Offer],
        eligible: NDArray[np.bool_],
        day: NDArray[np.int64],
        told: Mapping[int, Joined],
    ) -> dict[str, NDArray[Any]]:
        """The outputs of all customers: some at a time, of one day each, since the shop says the same to them."""
        padding = max(_SHOWN - len(offers), 0)
        of_offers = self._of_offers(offers, padding)
        mask = np.pad(eligible, ((0, 0), (0, padding))).astype(np.float32)
        parts, order = [], []
        for of in np.unique(day).tolist():
            sold = told[of].columns if of in told else unknown(len(offers)).columns
            of_offers[_SOLD] = np.pad(sold, ((0, padding), (0, 0)), constant_values=np.nan)
            members = np.flatnonzero(day == of)
            for at in np.split(members, range(_TOGETHER, len(members), _TOGETHER)):
                parts.append(self._part(rows, at, of_offers, mask))
                order.append(at)
        back = np.argsort(np.concatenate(order))
        return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}

    def _of_offers(self, offers: list[Offer], padding: int) -> dict[str, NDArray[Any]]:
        """What the graph takes of offers, whoever they are for; after them so many that are none."""
        ids = np.pad(self._products(offers), (0, padding))
        price = [self._price(o) * (1 - o.discount) for o in offers]
        numbers = np.array(
            list(zip(price, (o.discount for o in offers), (o.margin for o in offers), strict=True))
            + [(0.0, 0.0, 0.0)] * padding,
            np.float32,
        )
        return {
            "offer_words": self.reference.words(ids),
            "offer_numbers": numbers,
            "offer_product": ids.view(np.int64),
        }

    def _part(
        self, rows: OfferRows, at: NDArray[np.intp], of_offers: Mapping[str, NDArray[Any]], mask: NDArray[Any]
    ) -> dict[str, NDArray[Any]]:
        """The outputs of some customers, whose products' names are looked up once."""
        names, place = self.reference.names(rows.product[at])
        feeds: dict[str, NDArray[Any]] = {
            "features": rows.features[at],
            "words": names,
            "place": place,
            "age_days": rows.age_days[at],
            "viewed": rows.viewed[at],
            "own_product": rows.own_product[at].view(np.int64),
            "own": rows.own[at],
            "eligible": mask[at],
        }
        return self.model.session.run({**feeds, **of_offers}, len(place), shared=_SHARED)

    def _price(self, offer: Offer) -> float:
        product = self.reference.products.get(offer.sku)
        return 0.0 if product is None else product.unit_price

    def _lists(
        self, rows: OfferRows, offers: list[Offer], open_: NDArray[np.bool_], outputs: dict[str, NDArray[Any]]
    ) -> list[list[OfferScore]]:
        """The best offers of each customer among those that are open to it."""
        top = outputs["top"]
        listed = top < len(offers)
        shown = np.zeros_like(listed)
        shown[listed] = open_[np.nonzero(listed)[0], top[listed]]
        customer, rank = (np.ascontiguousarray(at) for at in np.nonzero(shown))  # the layout that is warmed up
        chance = np.clip(outputs["probability"][customer, rank], 0.0, 1.0).tolist()
        bounds = np.searchsorted(customer, np.arange(len(open_) + 1))
        chosen = top[customer, rank]
        reasons = self._because(customer, rank, self._products(offers)[chosen], rows, outputs)
        flat = [_shown(offers[at], p, because) for at, p, because in zip(chosen.tolist(), chance, reasons, strict=True)]
        return [flat[begin:end] for begin, end in itertools.pairwise(bounds.tolist())]

    def _because(
        self,
        customer: NDArray[np.intp],
        rank: NDArray[np.intp],
        offered: NDArray[np.uint64],
        rows: OfferRows,
        outputs: dict[str, NDArray[Any]],
    ) -> list[list[Reason]]:
        """Contributions of the products in the sequence, added up by product, and of what else there is."""
        sequence, other, most = outputs["sequence_contributions"], outputs["other_contributions"], self.settings.reasons
        part, moved = largest_by_product(rows.product, rows.viewed, sequence, other, customer, rank, most)
        held = part != NONE
        of, part = np.repeat(customer, held.sum(axis=1)), part[held]
        length = rows.product.shape[1]
        placed, place = part < length, np.minimum(part, length - 1)
        kind = np.where(placed, rows.viewed[of, place].astype(np.int64), part - length + _CUSTOMER)
        value = np.where(placed, rows.age_days[of, place], rows.features[of, _ORDERS])
        value[kind == _OFFER] = np.nan
        before = kind == _BEFORE
        value[before] = _times_bought(rows, of[before], np.repeat(offered, held.sum(axis=1))[before])
        product = np.where(placed, rows.product[of, place], 0)
        names = self._names()
        features = [names[k][p] for k, p in zip(kind.tolist(), product.tolist(), strict=True)]
        flat = list(map(Reason, features, null_for_nan(value), moved[held].tolist()))
        bounds = np.concatenate([[0], np.cumsum(held.sum(axis=1))]).tolist()
        return [flat[begin:end] for begin, end in itertools.pairwise(bounds)]

    def _names(self) -> list[Mapping[int, str]]:
        """What the parts of a score are called, by kind and product."""
        names = Names(self.reference)
        return [_Named("bought", names), _Named("viewed", names), {0: "customer"}, {0: "offer"}, {0: "bought_before"}]

    def _popular(self, offers: list[Offer], eligible: NDArray[np.bool_]) -> list[OfferScore]:
        share = self.popular
        found = [o for o, ok in zip(offers, eligible.tolist(), strict=True) if ok]
        found.sort(key=lambda o: (-share.get(o.sku, 0.0) * o.margin, o.offer_id))
        return [_shown(o, share.get(o.sku, 0.0), []) for o in found[:_SHOWN]]


def just_bought(table: EntityTable, touched: Touched, rows: OfferRows) -> Bought:
    """What customers bought within a day: of the latest purchases, and of the repertoire, as orders may be longer.

    Returns:
        The customers' places in `touched`, int64, and product ids, uint64, both of shape (m,); pairs may come twice.
    """
    customer, place = np.nonzero((rows.viewed == 0) & (rows.age_days < _JUST_BOUGHT_DAYS))
    _, state, slots = table.part("customer_repertoire", "repertoire", touched.slots, touched.as_of_ms)
    held = state["product"][slots]
    age_s = touched.as_of_ms[:, None] // 1000 - state["last_s"][slots].astype(np.int64)
    owner, at = np.nonzero((held != 0) & (age_s < _JUST_BOUGHT_DAYS * _DAY_S))
    return np.concatenate([customer, owner]), np.concatenate([rows.product[customer, place], held[owner, at]])


class _Named(dict[int, str]):
    """Products as reasons name them, each once a micro-batch."""

    def __init__(self, verb: str, names: Names) -> None:
        super().__init__()
        self._verb, self._names = verb, names

    def __missing__(self, product: int) -> str:
        sku, name = self._names[product]
        told = self[product] = f"{self._verb} {name or sku}"
        return told


def _times_bought(rows: OfferRows, customer: NDArray[np.intp], product: NDArray[np.uint64]) -> NDArray[np.float32]:
    """How many orders of each customer had the product, as far as its repertoire knows; float32 of shape (n,)."""
    same = rows.own_product[customer] == product[:, None]
    times = np.where(same, rows.own[customer, :, _TIMES], 0.0).sum(axis=1, dtype=np.float32)
    return np.asarray(times)


def _shown(offer: Offer, p: float, reasons: list[Reason]) -> OfferScore:
    """Certain to be shown, unless a draw decides (`stream.scorers.exploring`)."""
    return OfferScore(
        offer_id=offer.offer_id,
        sku=offer.sku,
        title=offer.title,
        p_response=p,
        expected_margin=p * offer.margin,
        propensity=1.0,
        reasons=reasons,
        simulated=offer.simulated,
    )
