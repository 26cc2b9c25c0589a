"""Reorder likelihood: the products of a customer's repertoire, most likely in the next basket first."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Times
from features.table import EntityTable
from features.vectors import reads_products
from features.vectors.joined import FEATURES as JOINED
from features.vectors.joined import VIEW
from features.vectors.reorder import FEATURES, ReorderRows, reorder_rows
from stream.events import ReorderProduct, ReorderScores
from stream.joins import JOINED_VERSION, UNJOINED, Joined
from stream.scorers.base import Names, Scored, Scorer, Touched
from stream.topology import REORDER_SCORES

_NAMES = np.array(list(FEATURES), object)


@dataclass(frozen=True)
class ReorderScorer(Scorer):
    """Publishes one list a customer; a customer without a repertoire gets the popular products, marked as fallback."""

    topic = REORDER_SCORES
    entity = "customer"

    def score(self, table: EntityTable, touched: Touched) -> tuple[list[Scored], ReorderRows]:
        """A `ReorderScores` record a customer."""
        rows = reorder_rows(table, touched.slots, touched.as_of_ms)
        joined = self._join(rows, touched.as_of_ms)
        lists = self._lists(rows, len(touched.keys))
        name, version = self.model.manifest.name, self.model.manifest.version
        fresh = {} if joined is None else {VIEW: joined.event_time_ms}
        out = []
        for origin, products, context in zip(
            self.origins(table, touched), lists, self._told(rows, joined, touched), strict=True
        ):
            shown = products or self._popular()
            record = ReorderScores(
                model=name,
                version=version,
                as_of_ms=origin.as_of_ms,
                fallback=None if products else "popularity",
                feature_time_ms=origin.feature_time_ms | fresh,
                source=origin.source,
                customer_id=origin.key,
                products=shown,
                reasons=shown[0].reasons if shown else [],
            )
            out.append(Scored(origin.key, record, context))
        return out, rows

    @functools.cached_property
    def _joined_at(self) -> list[int]:
        """The columns that are joined, where the model has them."""
        features = self.model.manifest.features
        return [features.index(name) for name in JOINED] if reads_products(features) else []

    def _join(self, rows: ReorderRows, as_of_ms: Times) -> Joined | None:
        """Fills in the joined columns; None where the model has none, or nothing is joined."""
        if not self._joined_at or self.joins is None:
            return None
        found = self.joins.products(rows.product, as_of_ms[rows.customer])
        rows.features[:, self._joined_at] = found.columns
        return found

    def _told(self, rows: ReorderRows, joined: Joined | None, touched: Touched) -> list[Mapping[str, float]]:
        """What parity must know of what was joined to each customer: its version, -1 where there was none."""
        if joined is None:
            return [{}] * len(touched.keys)
        least = np.full(len(touched.keys), np.inf)
        np.minimum.at(least, rows.customer, np.where(np.isnan(joined.version), UNJOINED, joined.version))
        return [{JOINED_VERSION: version} if version < np.inf else {} for version in least.tolist()]

    def _lists(self, rows: ReorderRows, customers: int) -> list[list[ReorderProduct]]:
        """The best products of each customer; none where there is no repertoire."""
        if len(rows.customer) == 0:
            return [[] for _ in range(customers)]
        outputs = self.model.session.run({"features": rows.features}, len(rows.customer))
        probability = outputs["probability"]
        best = self._best(rows.customer, outputs["rank"])
        products = self._products(rows, best, probability[best], outputs["contributions"][best])
        bounds = np.searchsorted(rows.customer[best], np.arange(customers + 1)).tolist()
        return [products[begin:end] for begin, end in itertools.pairwise(bounds)]

    def _best(self, customer: NDArray[np.int64], score: NDArray[np.float32]) -> NDArray[np.intp]:
        """Rows grouped by customer as they were, best first, as many as a list may have; equal ones in their order."""
        order = np.lexsort((-score, customer))
        rank = np.arange(len(customer)) - np.searchsorted(customer, customer)
        return np.asarray(order[rank < self.settings.reorder_products])

    def _products(
        self, rows: ReorderRows, best: NDArray[np.intp], probability: NDArray[Any], contributions: NDArray[Any]
    ) -> list[ReorderProduct]:
        names = Names(self.reference)
        reasons = self.reasons(_NAMES, rows.features[best], contributions)
        return [
            ReorderProduct(sku=sku, name=name, p_7d=p_7d, p_14d=p_14d, p_30d=p_30d, reasons=because)
            for (sku, name), (p_7d, p_14d, p_30d), because in zip(
                map(names.__getitem__, rows.product[best].tolist()), probability.tolist(), reasons, strict=True
            )
        ]

    def _popular(self) -> list[ReorderProduct]:
        popular = list(self.popular.items())[: self.settings.reorder_products]
        return [
            ReorderProduct(sku=sku, name=self.reference.name(sku), p_7d=share, p_14d=share, p_30d=share, reasons=[])
            for sku, share in popular
        ]
