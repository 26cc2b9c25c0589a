"""Stock-out risk: will an item run out before an order placed now could arrive, and how much to order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots, Times
from features.table import EntityTable
from features.vectors import regional, shelf
from features.vectors.deliveries import BeforeDeliveries, before_deliveries, open_orders, p_empty
from features.vectors.stockout import FEATURES, StockoutRows, stockout_rows, with_shelves
from stream.events import NextHours, StockoutScore
from stream.joins import REGION_VERSION, UNJOINED, Joins
from stream.scorers.base import Scored, Scorer, Touched
from stream.scorers.reasons import null_for_nan
from stream.topology import STOCKOUT_SCORES

_NAMES = np.array(list(FEATURES), object)
_LAST_DEMAND = list(FEATURES).index("days_since_demand")
_AGES = [_LAST_DEMAND, list(FEATURES).index("days_on_sale")]
_SHELF_NAMES = np.array(list(shelf.FEATURES), object)
_FALLBACKS = np.array([None, "no_demand_history", "no_stock_level"], object)
_NO_DELIVERIES = BeforeDeliveries(np.empty(0, np.int64), np.empty(0), np.empty(0))


class _Risk(msgspec.Struct, frozen=True, gc=False):
    """What the model says of an item, within its bounds; None where it was never counted."""

    fallback: str | None
    p_stockout: float | None
    on_hand: float | None
    arriving: float
    days_of_cover: float | None
    demand: list[float]
    order_quantity: float
    simulated: bool
    lost_sales: float | None
    p_empty: float | None


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
        lead = self.reference.lead_times([sku for _, sku in places])
        rows = stockout_rows(table, touched.slots, touched.as_of_ms, lead)
        joined = _Regions(len(touched.keys))
        if self._tells_hours:
            rows = with_shelves(rows, table, touched.slots, touched.as_of_ms, joined.of(self.joins, touched.keys))
        lowest = before_deliveries(*open_orders(table, touched.slots, touched.as_of_ms), rows.on_hand, lead)
        outputs, p_lowest = self._told(rows, lead, lowest)
        soon = self._next_hours(rows, outputs)
        reasons = self.reasons(_NAMES, rows.features, outputs["contributions"])
        manifest, service_level = self.model.manifest, self.settings.service_level
        out = []
        risks = _risks(rows, lead, outputs, lowest, p_lowest)
        told = zip(places, lead.tolist(), risks, reasons, strict=True)
        for i, (origin, ((location, sku), days, risk, because)) in enumerate(
            zip(self.origins(table, touched), told, strict=True)
        ):
            low, median, high = risk.demand
            record = StockoutScore(
                model=manifest.name,
                version=manifest.version,
                as_of_ms=origin.as_of_ms,
                fallback=risk.fallback,
                feature_time_ms=origin.feature_time_ms | joined.fresh(i),
                source=origin.source,
                location=location,
                sku=sku,
                name=self.reference.name(sku),
                p_stockout=risk.p_stockout,
                p_empty=risk.p_empty,
                on_hand=risk.on_hand,
                arriving=risk.arriving,
                lead_time_days=days,
                days_of_cover=risk.days_of_cover,
                demand_p10=low,
                demand_p50=median,
                demand_p90=high,
                suggested_order_quantity=risk.order_quantity,
                service_level=service_level,
                simulated_stock=risk.simulated,
                reasons=because,
                expected_lost_sales=risk.lost_sales,
                next_hours=soon.get(i),
            )
            out.append(Scored(origin.key, record, {"lead_time_days": days} | joined.version(i)))
        return out, rows

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
        p = _in_range(self._told(rows, lead, _NO_DELIVERIES)[0]["p_stockout"])
        return np.where(np.isnan(rows.on_hand), np.nan, p), rows.on_hand

    def _told(
        self, rows: StockoutRows, lead: NDArray[np.float64], lowest: BeforeDeliveries
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
        """What the graph tells of the items, and in the same call, of the times before deliveries."""
        n, position = len(lead), rows.on_hand + rows.arriving
        feeds: dict[str, NDArray[Any]] = {
            "features": np.concatenate([rows.features, rows.features[lowest.row]]),
            "lead_time_days": np.concatenate([lead, lowest.days]).astype(np.float32),
            "position": np.concatenate([position, lowest.position]).astype(np.float32),
            "service_level": np.array([self.settings.service_level], np.float32),
        }
        if len(rows.shelves):
            feeds["shelf"] = np.full((n + len(lowest.row), rows.shelf.shape[1]), np.nan, np.float32)
            feeds["shelf"][rows.shelves] = rows.shelf
        told = self.model.session.run(feeds, n + len(lowest.row), shared=frozenset({"service_level"}))
        return {name: output[:n] for name, output in told.items()}, _in_range(told["p_stockout"][n:])

    @functools.cached_property
    def _tells_hours(self) -> bool:
        return any(head.input == "shelf" for head in self.model.manifest.heads)

    def _next_hours(self, rows: StockoutRows, outputs: dict[str, NDArray[Any]]) -> dict[int, NextHours]:
        """By row, where something is asked and the model was trained to tell it."""
        if not len(rows.shelves):
            return {}
        hazards = outputs["shelf_hazards"][rows.shelves].astype(np.float64)
        p = np.clip(1.0 - np.cumprod(1.0 - hazards, axis=1), 0.0, 1.0)
        reasons = self.reasons(_SHELF_NAMES, rows.shelf, outputs["shelf_contributions"][rows.shelves])
        return {
            i: NextHours(p_out_1h=of[0], p_out_2h=of[1], p_out_3h=of[2], p_out_4h=of[3], reasons=because)
            for i, of, because in zip(rows.shelves.tolist(), p.tolist(), reasons, strict=True)
            if of[3] == of[3]
        }


class _Regions:
    """What was joined of the regions of some rows."""

    def __init__(self, rows: int) -> None:
        self._told = regional.unknown(rows)
        self._asked: set[int] = set()

    def of(self, joins: Joins | None, keys: Sequence[str]) -> Callable[[NDArray[np.int64], Times], NDArray[np.float32]]:
        """Reads it of the rows of items, as `with_shelves` asks for it."""

        def columns(at: NDArray[np.int64], as_of_ms: Times) -> NDArray[np.float32]:
            items = [keys[i] for i in at.tolist()]
            found = regional.unknown(len(items)) if joins is None else joins.regions(items, as_of_ms)
            self._told.version[at], self._told.event_time_ms[at] = found.version, found.event_time_ms
            self._asked.update(at.tolist())
            return found.columns

        return columns

    def fresh(self, i: int) -> dict[str, int]:
        """How far the view had come, as a score tells it of each view."""
        return {regional.VIEW: int(self._told.event_time_ms[i])} if i in self._asked else {}

    def version(self, i: int) -> dict[str, float]:
        """What parity must know of it."""
        if i not in self._asked:
            return {}
        version = float(self._told.version[i])
        return {REGION_VERSION: UNJOINED if version != version else version}


def _at_least_0(values: NDArray[Any]) -> NDArray[np.float64]:
    """What a model oversteps is brought back into range; NaN stays."""
    return np.asarray(np.where(values < 0.0, 0.0, values), np.float64)


def _in_range(p: NDArray[Any]) -> NDArray[np.float64]:
    """The same of probabilities."""
    p = _at_least_0(p)
    return np.asarray(np.where(p > 1.0, 1.0, p), np.float64)


def _risks(
    rows: StockoutRows,
    lead: NDArray[np.float64],
    outputs: dict[str, NDArray[Any]],
    lowest: BeforeDeliveries,
    p_lowest: NDArray[np.float64],
) -> Iterator[_Risk]:
    """What is told of each item."""
    demand = _at_least_0(outputs["demand_quantiles"])
    risk = _in_range(outputs["p_stockout"])
    counted, sold = ~np.isnan(rows.on_hand), ~np.isnan(rows.features[:, _LAST_DEMAND])
    covered = counted & (demand[:, 1] > 0)
    daily = np.where(covered, demand[:, 1], 1.0) / lead
    fallback = _FALLBACKS[np.where(counted, np.where(sold, 0, 1), 2)]
    return map(
        _Risk,
        fallback.tolist(),
        null_for_nan(np.where(counted, risk, np.nan)),
        null_for_nan(rows.on_hand),
        rows.arriving.tolist(),
        null_for_nan(np.where(covered, rows.on_hand / daily, np.nan)),
        demand.tolist(),
        np.ceil(_at_least_0(outputs["order_quantity"])).tolist(),
        rows.simulated.tolist(),
        _lost_sales(counted, outputs),
        null_for_nan(p_empty(risk, rows.on_hand, lowest, p_lowest)),
    )


def _lost_sales(counted: NDArray[np.bool_], outputs: dict[str, NDArray[Any]]) -> list[float | None]:
    """An optional output: a model may not tell it."""
    if "lost_sales" not in outputs:
        return [None] * len(counted)
    return null_for_nan(np.where(counted, _at_least_0(outputs["lost_sales"]), np.nan))
