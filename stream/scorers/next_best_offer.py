"""Next best offer: which of the offers that are valid now to show a customer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Times
from features.table import EntityTable
from features.vectors.next_best_offer import FEATURES, OfferRows, offer_rows
from stream.events import NextBestOffers, Offer, OfferScore, Reason
from stream.scorers.base import Scored, Scorer, Touched
from stream.topology import NEXT_BEST_OFFERS

_SHOWN = 5
_JUST_BOUGHT_DAYS = 1.0
_ORDERS = list(FEATURES).index("customer_orders")
#: Parts of a score that are no product of the sequence.
_CUSTOMER, _OFFER = (-1.0, 0), (-2.0, 0)
_SHARED = frozenset({"offer_words", "offer_numbers"})


@dataclass(frozen=True)
class NextBestOfferScorer(Scorer):
    """Publishes one list a customer, ranked by expected margin.

    An offer is left out when it is not valid at the customer's event time, or its product was bought within a day.
    Fallbacks: `popularity` for a customer without purchases or views, `no_offers` where none is valid.
    """

    topic = NEXT_BEST_OFFERS
    entity = "customer"

    def score(self, table: EntityTable, touched: Touched) -> tuple[list[Scored], OfferRows]:
        """A `NextBestOffers` record a customer."""
        rows = offer_rows(table, touched.slots, touched.as_of_ms)
        offers = self._candidates(touched.as_of_ms)
        eligible = self._eligible(offers, touched.as_of_ms, rows)
        outputs = self._run(rows, offers, eligible)
        known = (rows.product != 0).any(axis=1)
        out = []
        for i, common in enumerate(self.common(table, touched)):
            if not eligible[i].any():
                shown, fallback = [], "no_offers"
            elif known[i]:
                shown, fallback = self._offers(i, rows, offers, eligible[i], outputs), None
            else:
                shown, fallback = self._popular(offers, eligible[i]), "popularity"
            record = NextBestOffers(
                customer_id=touched.keys[i],
                fallback=fallback,
                offers=shown,
                reasons=shown[0].reasons if shown else [],
                **common,
            )
            out.append(Scored(touched.keys[i], record))
        return out, rows

    def _candidates(self, as_of_ms: Times) -> list[Offer]:
        """Offers that are valid for any of the customers, in the order of their ids: the same after every restart."""
        first, last = int(as_of_ms.min()), int(as_of_ms.max())
        found = [o for o in self.reference.offers.values() if o.valid_from_ms <= last and o.valid_until_ms > first]
        return sorted(found, key=lambda o: o.offer_id)

    def _eligible(self, offers: list[Offer], as_of_ms: Times, rows: OfferRows) -> NDArray[np.bool_]:
        start = np.array([o.valid_from_ms for o in offers], np.int64)
        end = np.array([o.valid_until_ms for o in offers], np.int64)
        now = as_of_ms[:, None]
        valid = (start <= now) & (now < end)
        product = np.array([self.reference.ids.id(o.sku) for o in offers], np.uint64)
        just = (rows.viewed == 0) & (rows.age_days < _JUST_BOUGHT_DAYS) & np.isin(rows.product, product)
        for customer, place in zip(*np.nonzero(just), strict=True):  # few: what was bought today and is on offer
            valid[customer] &= product != rows.product[customer, place]
        return np.asarray(valid)

    def _run(self, rows: OfferRows, offers: list[Offer], eligible: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        padding = max(_SHOWN - len(offers), 0)
        ids = np.array([self.reference.ids.id(o.sku) for o in offers] + [0] * padding, np.uint64)
        price = [self._price(o) * (1 - o.discount) for o in offers]
        numbers = np.array(
            list(zip(price, (o.discount for o in offers), (o.margin for o in offers), strict=True))
            + [(0.0, 0.0, 0.0)] * padding,
            np.float32,
        )
        mask = np.pad(eligible, ((0, 0), (0, padding))).astype(np.float32)
        feeds: dict[str, NDArray[Any]] = {
            "features": rows.features,
            "words": self.reference.words(rows.product),
            "age_days": rows.age_days,
            "viewed": rows.viewed,
            "offer_words": self.reference.words(ids),
            "offer_numbers": numbers,
            "eligible": mask,
        }
        return self.model.session.run(feeds, len(rows.product), shared=_SHARED)

    def _price(self, offer: Offer) -> float:
        product = self.reference.products.get(offer.sku)
        return 0.0 if product is None else product.unit_price

    def _offers(
        self,
        i: int,
        rows: OfferRows,
        offers: list[Offer],
        eligible: NDArray[np.bool_],
        outputs: dict[str, NDArray[Any]],
    ) -> list[OfferScore]:
        out = []
        for k, at in enumerate(outputs["top"][i].tolist()):
            if at < len(offers) and eligible[at]:
                p = min(max(float(outputs["probability"][i, k]), 0.0), 1.0)
                reasons = self._because(i, k, rows, outputs)
                out.append(_shown(offers[at], p, reasons))
        return out

    def _because(self, i: int, k: int, rows: OfferRows, outputs: dict[str, NDArray[Any]]) -> list[Reason]:
        """Contributions of the products in the sequence, added up by product, and of what else there is."""
        moved = outputs["sequence_contributions"][i, k].tolist()
        ages, viewed = rows.age_days[i].tolist(), rows.viewed[i].tolist()
        parts: dict[tuple[float, int], tuple[float | None, float]] = {}
        for j, product in enumerate(rows.product[i].tolist()):
            if product:
                age, total = parts.get((viewed[j], product), (ages[j], 0.0))
                parts[viewed[j], product] = (age, total + moved[j])
        customer, offer = outputs["other_contributions"][i, k].tolist()
        parts[_CUSTOMER] = (float(rows.features[i, _ORDERS]), customer)
        parts[_OFFER] = (None, offer)
        most = sorted(parts.items(), key=lambda part: -abs(part[1][1]))[: self.settings.reasons]
        return [Reason(self._named(part), value, contribution) for part, (value, contribution) in most]

    def _named(self, part: tuple[float, int]) -> str:
        if part in (_CUSTOMER, _OFFER):
            return "customer" if part == _CUSTOMER else "offer"
        viewed, product = part
        sku = self.reference.ids.name(product) or f"#{product:016x}"
        return f"{'viewed' if viewed else 'bought'} {self.reference.name(sku) or sku}"

    def _popular(self, offers: list[Offer], eligible: NDArray[np.bool_]) -> list[OfferScore]:
        share = self.popular()
        found = [o for o, ok in zip(offers, eligible.tolist(), strict=True) if ok]
        found.sort(key=lambda o: (-share.get(o.sku, 0.0) * o.margin, o.offer_id))
        return [_shown(o, share.get(o.sku, 0.0), []) for o in found[:_SHOWN]]


def _shown(offer: Offer, p: float, reasons: list[Reason]) -> OfferScore:
    """The policy is deterministic for now: what is shown is shown with probability 1."""
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
