"""Feature vectors: the rows that models are trained on and scored with, read from the views by the very same code.

A vector module says which aggregations it reads (`READS`), names its numeric features (`FEATURES`) and assembles them.
Unknown values are NaN; the models' graphs take care of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from features.discovery import discover
from features.vectors import joined


@dataclass(frozen=True, slots=True)
class Contract:
    """What a model's manifest is checked against.

    Args:
        vector: its name.
        features: the numeric features in column order.
        reads: `view.aggregation` to a fingerprint of how it is kept and read. A view may gain columns, and the models
            that do not read them still fit.
    """

    vector: str
    features: tuple[str, ...]
    reads: dict[str, str]


def contract(vector: str) -> Contract:
    """The contract of `reorder`, `stockout` or `next_best_offer`.

    >>> sorted(contract("stockout").reads)
    ['item_demand.demand', 'item_demand.lines', 'item_demand.units', 'item_stock.stock']
    """
    module = importlib.import_module(f"features.vectors.{vector}")
    reads: Sequence[str] = [*module.READS, *(joined.READS if reads_products(module.FEATURES) else ())]
    parts = {read: read.split(".", 1) for read in reads}
    fingerprints = {read: discover()[view].column_fingerprint(part) for read, (view, part) in parts.items()}
    return Contract(vector, tuple(module.FEATURES), fingerprints)


def reads_products(features: Collection[str]) -> bool:
    """Whether a vector with these features has joined columns of products.

    >>> reads_products(contract("stockout").features)
    False
    """
    return set(joined.FEATURES) <= set(features)


def views_read(reads: Sequence[str], entity: str | None = None) -> list[str]:
    """The views behind a contract's `reads`, in name order; only those of an entity where one is named.

    >>> views_read(["b.x", "a.y", "b.z"])
    ['a', 'b']
    >>> views_read(["item_demand.units", "product_demand.lines"], "item")
    ['item_demand']
    """
    views = sorted({read.split(".", 1)[0] for read in reads})
    return [view for view in views if entity is None or discover()[view].entity == entity]
