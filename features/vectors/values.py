"""Values: what a vector holds for one entity, by feature, as it is logged and compared bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.vectors import joined, next_best_offer, regional, reorder, shelf, stockout
from features.vectors.own import OWN

Values = dict[str, list[float | str | None]]


def _numbers(column: NDArray[Any]) -> list[float | str | None]:
    """Floats as Python's, which hold every float32 exactly; NaN is None."""
    return [None if x != x else float(x) for x in column.tolist()]


def _ids(column: NDArray[np.uint64]) -> list[float | str | None]:
    return [f"{x:016x}" for x in column.tolist()]


def _by_name(names: Sequence[str], rows: NDArray[Any]) -> Values:
    return {name: _numbers(rows[:, j]) for j, name in enumerate(names)}


@singledispatch
def values_of(rows: Any, i: int) -> Values:
    """The values of the i-th entity, by feature; a list holds one value a row or place.

    >>> rows = stockout.StockoutRows(
    ...     np.zeros((1, len(stockout.FEATURES)), np.float32), np.array([np.nan]), np.array([2.0]), np.array([True])
    ... )
    >>> {name: values_of(rows, 0)[name] for name in ("units_7d", "on_hand", "arriving")}
    {'units_7d': [0.0], 'on_hand': [None], 'arriving': [2.0]}
    """
    raise TypeError(f"{type(rows).__name__} is no feature vector")


@values_of.register
def _reorder(rows: reorder.ReorderRows, i: int) -> Values:
    low, high = np.searchsorted(rows.customer, [i, i + 1])
    names = tuple(reorder.FEATURES)
    out: Values = {"product": _ids(rows.product[low:high]), **_by_name(names, rows.features[low:high])}
    return out | {"bought_product": _ids(rows.recent[i]), "bought_age_days": _numbers(rows.age_days[i])}


@values_of.register
def _stockout(rows: stockout.StockoutRows, i: int) -> Values:
    beside = {"on_hand": rows.on_hand, "arriving": rows.arriving, "simulated": rows.simulated.astype(np.float64)}
    one = slice(i, i + 1)
    out = _by_name(tuple(stockout.FEATURES), rows.features[one]) | {n: _numbers(c[one]) for n, c in beside.items()}
    soon = _by_name([f"{shelf.PREFIX}{name}" for name in shelf.FEATURES], rows.shelf[rows.shelves == i])
    return out | {name: values for name, values in soon.items() if values}


@values_of.register
def _next_best_offer(rows: next_best_offer.OfferRows, i: int) -> Values:
    out = _by_name(tuple(next_best_offer.FEATURES), rows.features[i : i + 1])
    for name, flag in (("bought", 0.0), ("viewed", 1.0)):
        place = rows.viewed[i] == flag
        out[f"{name}_product"], out[f"{name}_age_days"] = (
            _ids(rows.product[i][place]),
            _numbers(rows.age_days[i][place]),
        )
    held = rows.own_product[i] != 0
    return out | {"own_product": _ids(rows.own_product[i][held]), **_by_name(tuple(OWN), rows.own[i][held])}


#: Which view a feature is read from: by vector, prefixes in the order in which they are tried. What is on hand is what
#: was counted, less the demand since then.
_VIEWS = {
    "reorder": (("customer_", "customer_orders"), ("shop_", joined.VIEW), ("", "customer_repertoire")),
    "stockout": (
        ("on_hand", "item_stock"),
        ("arriving", "item_stock"),
        ("simulated", "item_stock"),
        ("shelf_region_", regional.VIEW),
        ("shelf_", "item_stock"),
        ("", "item_demand"),
    ),
    "next_best_offer": (
        ("customer_recent_views", "customer_clicks"),
        ("bought_", "customer_repertoire"),
        ("own_", "customer_repertoire"),
        ("repertoire_", "customer_repertoire"),
        ("viewed_", "customer_session"),
        ("", "customer_orders"),
    ),
}


def view_of(vector: str, feature: str) -> str:
    """The view that a feature is read from.

    >>> view_of("reorder", "product_orders"), view_of("stockout", "on_hand")
    ('customer_repertoire', 'item_stock')
    """
    return next(view for prefix, view in _VIEWS[vector] if feature.startswith(prefix))
