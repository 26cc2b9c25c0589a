"""The oracle of every aggregation that a view uses: the function `oracle` of the aggregation's own test module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from features.aggregations import Aggregation
from features.discovery import discover
from tests.features.streams import Event

#: What an aggregation's columns should be: (aggregation, its entity's events in order of arrival, as of).
Oracle = Callable[[Any, Sequence[Event], int], dict[str, float]]


def _import(kind: type[Aggregation]) -> Oracle:
    name = kind.__module__.rsplit(".", 1)[1]
    oracle: Oracle = import_module(f"tests.features.aggregations.test_{name}").oracle
    return oracle


ORACLES = {type(a): _import(type(a)) for view in discover().values() for a in view.aggregations}


def oracle_of(aggregation: Aggregation) -> Oracle:
    return ORACLES[type(aggregation)]
