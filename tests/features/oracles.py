"""The oracle of every aggregation that a view uses: the function `oracle` of the aggregation's own test module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from features.aggregations import Aggregation
from features.discovery import discover
from tests.features.streams import Event

#: What an aggregation's columns should be: (aggregation, its entity's events in order of arrival, as of).
Oracle = Callable[[Any, Sequence[Event], int], dict[str, float]]


@dataclass(frozen=True)
class Known:
    """An oracle, and within what relative error the columns equal it (`RELATIVE` of its module)."""

    columns: Oracle
    relative: float


def _import(kind: type[Aggregation]) -> Known:
    name = kind.__module__.rsplit(".", 1)[1]
    module = import_module(f"tests.features.aggregations.test_{name}")
    return Known(module.oracle, getattr(module, "RELATIVE", 1e-9))


ORACLES = {type(a): _import(type(a)) for view in discover().values() for a in view.aggregations}


def oracle_of(aggregation: Aggregation) -> Oracle:
    return ORACLES[type(aggregation)].columns


def relative_error_of(aggregation: Aggregation) -> float:
    return ORACLES[type(aggregation)].relative
