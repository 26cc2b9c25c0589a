"""Reorder likelihood: the products of a customer's repertoire, most likely in the next basket first."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.table import EntityTable
from features.vectors import reads_products
from features.vectors.reorder import FEATURES, ReorderRows, reorder_rows
from stream.events import ReorderProduct, ReorderScores
from stream.scorers.base import Names, Scored, Scorer, Touched
from stream.scorers.joining import fresh, join, versions
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
        joined = None
        if self.joins is not None and reads_products(self.model.manifest.features):
            joined = join(self.joins, rows, touched.as_of_ms)
        lists = self._lists(rows, len(touched.keys))
        name, version = self.model.manifest.name, self.model.manifest.version
        out = []
        for origin, products in zip(self.origins(table, touched), lists, strict=True):
            shown = products or self._popular()
            record = ReorderScores(
                model=name,
                version=version,
                as_of_ms=origin.as_of_ms,
                fallback=None if products else "popularity",
                feature_time_ms=origin.feature_time_ms | fresh(joined),
                source=origin.source,
                customer_id=origin.key,
                products=shown,
                reasons=shown[0].reasons if shown else [],
            )
            out.append(Scored(origin.key, record))
        told = versions(joined, rows, len(out))
        return [scored._replace(context=version) for scored, version in zip(out, told, strict=True)], rows

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
