"""What might be wrong with a stock-out graph: inputs that nobody should send, and outputs that must not come."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.tasks.base import Arrays, finite

_SERVICE_LEVELS = (0.0, 1.0, -1.0, np.nan, 1e30)
_VALUES = (np.nan, 0.0, 1e30, -1e30, np.inf)
_SCALARS = ("features", "lead_time_days", "position")


def hostile_inputs(inputs: Arrays) -> list[Arrays]:
    """Each row input in turn, and all together, at odd values; odd service levels."""
    found = [inputs | {"service_level": np.array([level], np.float32)} for level in _SERVICE_LEVELS]
    rows = [name for name in (*_SCALARS, "hours", "days", "shelf") if name in inputs]
    for value in _VALUES:
        changed = {name: np.full(inputs[name].shape, value, np.float32) for name in rows}
        found += [inputs | changed, *(inputs | {name: array} for name, array in changed.items())]
    return found


def broken(inputs: Arrays, outputs: Arrays) -> list[str]:
    """Problems of both parts of the graph; a head that was not trained says NaN, and nothing else."""
    found = [] if _untrained(outputs, "demand_quantiles", "contributions") else _of_position(inputs, outputs)
    if "hazards" in outputs and not _untrained(outputs, "hours_contributions", "days_contributions"):
        found += _of_hours(inputs["hours"], outputs["hazards"], outputs, "hours_contributions")
        found += _of_hours(inputs["shelf"], outputs["shelf_hazards"], outputs, "shelf_contributions")
        found += _of_days(inputs, outputs)
    return found


def _untrained(outputs: Arrays, *names: str) -> bool:
    return all(bool(np.isnan(outputs[name]).all()) for name in names)


def _of_position(inputs: Arrays, outputs: Arrays) -> list[str]:
    found = finite(outputs, "demand_quantiles", "order_quantity", "contributions")
    unknown = np.isnan(inputs["position"])
    risk = outputs["p_stockout"]
    if not np.isnan(risk[unknown]).all():
        found.append("p_stockout is a number where the position is unknown")
    if not ((risk[~unknown] >= 0) & (risk[~unknown] <= 1)).all():
        found.append("p_stockout is outside [0, 1]")
    if not (np.diff(outputs["demand_quantiles"], axis=1) >= 0).all():
        found.append("quantiles cross")
    if not (outputs["demand_quantiles"] >= 0).all() or not (outputs["order_quantity"] >= 0).all():
        found.append("a quantile or an order quantity is negative")
    if "lost_sales" in outputs:
        lost = outputs["lost_sales"][~unknown]
        if not (np.isfinite(lost) & (lost >= 0)).all():
            found.append("lost_sales is negative or not finite where the position is known")
    return found


def _of_hours(features: Any, hazards: Any, outputs: Arrays, contributions: str) -> list[str]:
    found = finite(outputs, contributions)
    unknown = np.isnan(features).all(axis=1)
    if not np.isnan(hazards[unknown]).all():
        found.append("a hazard is a number where nothing is known")
    if not ((hazards[~unknown] >= 0) & (hazards[~unknown] <= 1)).all():
        found.append("a hazard is outside [0, 1]")
    return found


def _of_days(inputs: Arrays, outputs: Arrays) -> list[str]:
    found = finite(outputs, "days_contributions")
    unknown = np.isnan(inputs["days"]).all(axis=1)
    units = outputs["next_day"]
    if not np.isnan(units[unknown]).all():
        found.append("next_day is a number where nothing is known")
    if not (np.isfinite(units[~unknown]).all() and (units[~unknown] >= 0).all()):
        found.append("next_day is negative or not finite")
    if not (np.diff(units[~unknown], axis=1) >= 0).all():
        found.append("quantiles of the next day cross")
    return found
