"""Reorder likelihood: the products of a customer's repertoire, most likely in the next basket first."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.table import EntityTable
from features.vectors import reads_products
from features.vectors.reorder import FEATURES, ReorderRows, reorder_rows
from models.session import MOST_ROWS
from stream.events import ReorderProduct, ReorderScores
from stream.events.scores import Segment
from stream.scorers.base import Names, Scored, Scorer, Touched
from stream.scorers.joining import fresh, join, versions
from stream.scorers.segments import segment
from stream.topology import REORDER_SCORES

_NAMES = np.array(list(FEATURES), object)
_ORDERS = list(FEATURES).index("customer_orders")
#: Inputs of the graph that are not a row each.
_SHARED = frozenset({"words", "place", "age_days"})
#: Customers whose first row is within the same so many rows are scored together.
_ROWS = MOST_ROWS - 32


class _Told(NamedTuple):
    """What a customer's score tells."""

    products: list[ReorderProduct]
    active: float | None
    segment: Segment | None


_NOTHING = _Told([], None, None)


@dataclass(frozen=True)
class ReorderScorer(Scorer):
    """Publishes one list a customer; a customer without a repertoire gets the popular products, marked as fallback."""

    topic = REORDER_SCORES
    entity = "customer"

    def score(self, table: EntityTable, touched: Touched) -> tuple[list[Scored], ReorderRows]:
        """A `ReorderScores` record a customer."""
        rows = reorder_rows(table, touched.slots, touched.as_of_ms)
        joined = None
        if self.joins is not None and reads_products(self.model.manifest.features):
            joined = join(self.joins, rows, touched.as_of_ms)
        found = self._told(rows, len(touched.keys))
        name, version = self.model.manifest.name, self.model.manifest.version
        out = []
        for origin, told in zip(self.origins(table, touched), found, strict=True):
            shown = told.products or self._popular()
            record = ReorderScores(
                model=name,
                version=version,
                as_of_ms=origin.as_of_ms,
                fallback=None if told.products else "popularity",
                feature_time_ms=origin.feature_time_ms | fresh(joined),
                source=origin.source,
                customer_id=origin.key,
                products=shown,
                p_active_30d=told.active,
                segment=told.segment,
                reasons=shown[0].reasons if shown else [],
            )
            out.append(Scored(origin.key, record))
        seen = versions(joined, rows, len(out))
        return [scored._replace(context=version) for scored, version in zip(out, seen, strict=True)], rows

    def _told(self, rows: ReorderRows, customers: int) -> list[_Told]:
        """The best products of each customer, and whether it comes back; nothing where there is no repertoire."""
        if len(rows.customer) == 0:
            return [_NOTHING] * customers
        outputs = self._outputs(rows)
        best = self._best(rows.customer, outputs.get("rank", outputs["probability"][:, -1]))
        products = self._products(rows, best, {name: values[best] for name, values in outputs.items()})
        bounds = np.searchsorted(rows.customer[best], np.arange(customers + 1)).tolist()
        lists = [products[begin:end] for begin, end in itertools.pairwise(bounds)]
        if "active" not in outputs:
            return [_Told(shown, None, None) for shown in lists]
        first = best[np.minimum(bounds[:-1], len(best) - 1)]
        orders, active = rows.features[first, _ORDERS].tolist(), outputs["active"][first].tolist()
        return [
            _Told(shown, p, segment(n, p)) if shown else _NOTHING
            for shown, n, p in zip(lists, orders, active, strict=True)
        ]

    def _outputs(self, rows: ReorderRows) -> dict[str, NDArray[Any]]:
        """What the model gives for all rows, some customers at a time: as many as a session runs at once."""
        starts = np.searchsorted(rows.customer, np.arange(len(rows.recent) + 1))
        cuts = np.flatnonzero(np.r_[True, np.diff(starts[:-1] // _ROWS) != 0, True])
        parts = [self._part(rows, starts, begin, end) for begin, end in itertools.pairwise(cuts.tolist())]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _part(self, rows: ReorderRows, starts: NDArray[np.int64], begin: int, end: int) -> dict[str, NDArray[Any]]:
        """The outputs of the customers from `begin` to before `end`; each product that occurs is looked up once."""
        at, recent = slice(int(starts[begin]), int(starts[end])), rows.recent[begin:end]
        product = rows.product[at]
        words, place = self.reference.names(np.concatenate([product, recent.ravel()]))
        feeds: dict[str, NDArray[Any]] = {
            "features": rows.features[at],
            "customer": rows.customer[at] - begin,
            "item": place[: len(product)],
            "words": words,
            "place": place[len(product) :].reshape(recent.shape),
            "age_days": rows.age_days[begin:end],
        }
        return self.model.session.run(feeds, len(product), shared=_SHARED)

    def _best(self, customer: NDArray[np.int64], score: NDArray[np.float32]) -> NDArray[np.intp]:
        """Rows grouped by customer as they were, best first, as many as a list may have; equal ones in their order."""
        order = np.lexsort((-score, customer))
        rank = np.arange(len(customer)) - np.searchsorted(customer, customer)
        return np.asarray(order[rank < self.settings.reorder_products])

    def _products(
        self, rows: ReorderRows, best: NDArray[np.intp], outputs: dict[str, NDArray[Any]]
    ) -> list[ReorderProduct]:
        """The products of the rows `best`, with the outputs of those rows."""
        names = Names(self.reference)
        reasons = self.reasons(_NAMES, rows.features[best], outputs["contributions"])
        chances = outputs["probability"].tolist()
        days = outputs["next_days"].tolist() if "next_days" in outputs else [None] * len(best)
        return [
            ReorderProduct(sku=sku, name=name, p_7d=p_7d, p_14d=p_14d, p_30d=p_30d, next_days=when, reasons=because)
            for (sku, name), (p_7d, p_14d, p_30d), when, because in zip(
                map(names.__getitem__, rows.product[best].tolist()), chances, days, reasons, strict=True
            )
        ]

    def _popular(self) -> list[ReorderProduct]:
        popular = list(self.popular.items())[: self.settings.reorder_products]
        return [
            ReorderProduct(sku=sku, name=self.reference.name(sku), p_7d=share, p_14d=share, p_30d=share, reasons=[])
            for sku, share in popular
        ]
