"""Reorder likelihood: the products of a customer's repertoire, most likely to be bought again first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.table import EntityTable
from features.vectors.reorder import FEATURES, ReorderRows, reorder_rows
from stream.events import ReorderProduct, ReorderScores
from stream.scorers.base import Scored, Scorer, Touched
from stream.topology import REORDER_SCORES

_NAMES = tuple(FEATURES)


@dataclass(frozen=True)
class ReorderScorer(Scorer):
    """Publishes one list a customer; a customer without a repertoire gets the popular products, marked as fallback."""

    topic = REORDER_SCORES
    entity = "customer"

    def score(self, table: EntityTable, touched: Touched) -> tuple[list[Scored], ReorderRows]:
        """A `ReorderScores` record a customer."""
        rows = reorder_rows(table, touched.slots, touched.as_of_ms)
        n = len(rows.customer)
        outputs = self.model.session.run({"features": rows.features}, n) if n else {}
        bounds = np.searchsorted(rows.customer, np.arange(len(touched.keys) + 1))
        out = []
        for i, common in enumerate(self.common(table, touched)):
            at = slice(int(bounds[i]), int(bounds[i + 1]))
            products = self._products(rows, outputs, at) if at.start < at.stop else self._popular()
            record = ReorderScores(
                customer_id=touched.keys[i],
                fallback=None if at.start < at.stop else "popularity",
                products=products,
                reasons=products[0].reasons if products else [],
                **common,
            )
            out.append(Scored(touched.keys[i], record))
        return out, rows

    def _products(self, rows: ReorderRows, outputs: dict[str, NDArray[Any]], at: slice) -> list[ReorderProduct]:
        probability = outputs["probability"][at]
        best = np.argsort(-probability[:, 2], kind="stable")[: self.settings.reorder_products]
        features, contributions = rows.features[at], outputs["contributions"][at]
        return [
            self._product(
                int(rows.product[at.start + j]),
                probability[j].tolist(),
                features[j],
                contributions[j],
            )
            for j in best.tolist()
        ]

    def _product(
        self, product: int, p: list[float], features: NDArray[Any], contributions: NDArray[Any]
    ) -> ReorderProduct:
        sku = self.reference.ids.name(product) or f"#{product:016x}"
        return ReorderProduct(
            sku=sku,
            name=self.reference.name(sku),
            p_7d=p[0],
            p_14d=p[1],
            p_30d=p[2],
            reasons=self.reasons(_NAMES, features, contributions),
        )

    def _popular(self) -> list[ReorderProduct]:
        popular = list(self.popular().items())[: self.settings.reorder_products]
        return [
            ReorderProduct(sku=sku, name=self.reference.name(sku), p_7d=share, p_14d=share, p_30d=share, reasons=[])
            for sku, share in popular
        ]
