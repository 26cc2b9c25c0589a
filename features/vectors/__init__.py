"""Feature vectors: the rows that models are trained on and scored with, read from the views by the very same code.

A vector module says which views it reads (`VIEWS`), names its numeric features (`FEATURES`) and assembles them.
Unknown values are NaN; the models' graphs take care of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from features.view import discover


@dataclass(frozen=True, slots=True)
class Contract:
    """What a model's manifest is checked against."""

    vector: str
    features: tuple[str, ...]
    views: dict[str, str]


def contract(vector: str) -> Contract:
    """The contract of `reorder`, `stockout` or `next_best_offer`: feature names and layout fingerprints.

    >>> contract("stockout").views.keys() == {"item_demand", "item_stock"}
    True
    """
    module = importlib.import_module(f"features.vectors.{vector}")
    names: Sequence[str] = module.VIEWS
    fingerprints = {name: f"{discover()[name].fingerprint:016x}" for name in names}
    return Contract(vector, tuple(module.FEATURES), fingerprints)
