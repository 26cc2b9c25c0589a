"""Stock-out risk: will an item run out before an order placed now could arrive, and how much to order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots, Times
from features.table import EntityTable
from features.vectors.stockout import FEATURES, StockoutRows, stockout_rows
from stream.events import StockoutScore
from stream.scorers.base import Scored, Scorer, Touched
from stream.topology import STOCKOUT_SCORES

_NAMES = tuple(FEATURES)
_LAST_DEMAND = _NAMES.index("days_since_demand")
_AGES = [_LAST_DEMAND, _NAMES.index("days_on_sale")]


@dataclass(frozen=True)
class StockoutScorer(Scorer):
    """Publishes one record an item.

    Fallbacks: `no_stock_level` (never counted: demand and order quantity are the model's, the risk is null) and
    `no_demand_history` (nothing was ever ordered of it: the model's prior).
    """

    topic = STOCKOUT_SCORES
    entity = "item"

    def score(self, table: EntityTable, touched: Touched) -> tuple[list[Scored], StockoutRows]:
        """A `StockoutScore` record an item."""
        places = [key.split(":", 1) for key in touched.keys]
        skus = [sku for _, sku in places]
        lead = self.reference.lead_times(skus)
        rows = stockout_rows(table, touched.slots, touched.as_of_ms, lead)
        outputs = self._run(rows, lead)
        scored = []
        for i, (key, common) in enumerate(zip(touched.keys, self.common(table, touched), strict=True)):
            record = self._record(i, places[i], float(lead[i]), common, rows, outputs)
            scored.append(Scored(key, record, {"lead_time_days": float(lead[i])}))
        return scored, rows

    def risk(
        self, table: EntityTable, keys: Sequence[str], slots: Slots, as_of_ms: Times
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """P(stock-out) and units on hand as of given times, float64 of shape (n,) each; NaN where never counted.

        As of a time before the newest event, what came after is seen as far as features do not tell it apart.
        """
        lead = self.reference.lead_times([key.split(":", 1)[1] for key in keys])
        rows = stockout_rows(table, slots, as_of_ms, lead)
        ages = rows.features[:, _AGES]
        rows.features[:, _AGES] = np.maximum(ages, 0)  # NaN stays NaN
        p = np.clip(self._run(rows, lead)["p_stockout"].astype(np.float64), 0.0, 1.0)
        return np.where(np.isnan(rows.on_hand), np.nan, p), rows.on_hand

    def _run(self, rows: StockoutRows, lead: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        return self.model.session.run(
            {
                "features": rows.features,
                "lead_time_days": lead.astype(np.float32),
                "position": (rows.on_hand + rows.arriving).astype(np.float32),
                "service_level": np.array([self.settings.service_level], np.float32),
            },
            len(lead),
            shared=frozenset({"service_level"}),
        )

    def _record(
        self,
        i: int,
        place: list[str],
        lead: float,
        common: dict[str, Any],
        rows: StockoutRows,
        outputs: dict[str, NDArray[Any]],
    ) -> StockoutScore:
        location, sku = place
        on_hand = float(rows.on_hand[i])
        counted = on_hand == on_hand
        low, median, high = (max(float(q), 0.0) for q in outputs["demand_quantiles"][i])
        return StockoutScore(
            location=location,
            sku=sku,
            name=self.reference.name(sku),
            fallback=self._fallback(counted, rows.features[i]),
            p_stockout=min(max(float(outputs["p_stockout"][i]), 0.0), 1.0) if counted else None,
            on_hand=on_hand if counted else None,
            arriving=float(rows.arriving[i]),
            lead_time_days=float(lead),
            days_of_cover=on_hand / (median / lead) if counted and median > 0 else None,
            demand_p10=low,
            demand_p50=median,
            demand_p90=high,
            suggested_order_quantity=float(np.ceil(max(float(outputs["order_quantity"][i]), 0.0))),
            service_level=self.settings.service_level,
            simulated_stock=bool(rows.simulated[i]),
            reasons=self.reasons(_NAMES, rows.features[i], outputs["contributions"][i]),
            **common,
        )

    @staticmethod
    def _fallback(counted: bool, features: NDArray[Any]) -> str | None:
        if not counted:
            return "no_stock_level"
        return "no_demand_history" if np.isnan(features[_LAST_DEMAND]) else None
