"""Feature vectors: the rows that models are trained on and scored with, read from the views by the very same code.

A vector module says which aggregations it reads (`READS`), names its numeric features (`FEATURES`) and assembles them.
Unknown values are NaN; the models' graphs take care of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from features.discovery import discover
from features.vectors import joined, shelf

#: Optional parts of graphs, with vectors of their own, that the engine feeds.
_HEADS: dict[str, dict[str, Any]] = {"stockout": {"shelf": shelf}, "next_best_offer": {"offer_sold": joined}}


@dataclass(frozen=True, slots=True)
class Contract:
    """What a model's manifest is checked against.

    Args:
        vector: its name.
        features: the numeric features in column order.
        reads: `view.aggregation` to a fingerprint of how it is kept and read. A view may gain columns, and the models
            that do not read them still fit.
        heads: what optional parts of the graph are fed, by the name of their input.
    """

    vector: str
    features: tuple[str, ...]
    reads: dict[str, str]
    heads: dict[str, tuple[str, ...]]


def contract(vector: str, heads: Collection[str] | None = None) -> Contract:
    """The contract of `reorder`, `stockout` or `next_best_offer`.

    Args:
        vector: its name.
        heads: the optional parts that a graph has; all that there are where None.

    >>> sorted(contract("stockout", heads=()).reads)
    ['item_demand.demand', 'item_demand.lines', 'item_demand.units', 'item_stock.stock']
    >>> list(contract("stockout").heads), contract("reorder").heads
    (['shelf'], {})
    """
    module = importlib.import_module(f"features.vectors.{vector}")
    parts_of = {name: part for name, part in _HEADS.get(vector, {}).items() if heads is None or name in heads}
    reads: Sequence[str] = [*module.READS, *(joined.READS if reads_products(module.FEATURES) else ())]
    reads = [*reads, *(read for part in parts_of.values() for read in part.READS)]
    parts = {read: read.split(".", 1) for read in reads}
    fingerprints = {read: discover()[view].column_fingerprint(part) for read, (view, part) in parts.items()}
    named = {name: tuple(part.FEATURES) for name, part in parts_of.items()}
    return Contract(vector, tuple(module.FEATURES), fingerprints, named)


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
