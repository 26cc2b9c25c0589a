"""Columns of regions, recomputed: what all inventory events of the log say as of the end of the hour before.

As with what is joined of products (`stream.parity.joined`), a logged vector tells how much the shards had of it; where
the log has more, the vector counts as behind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.aggregations.base import HOUR_MS, Times
from features.discovery import discover
from features.pointintime import count_before, grouped, snapshots
from features.vectors import regional
from features.vectors.regional import RegionColumns, region_key
from stream.events import FeatureVector
from stream.joins import REGION_VERSION, UNJOINED
from stream.parity.events import StreamRows

_READ = "region_stock.turns"


def joins_regions(vector: FeatureVector) -> bool:
    """Whether its model is told what regions say."""
    return _READ in vector.reads


def regions_of(vectors: Sequence[FeatureVector]) -> frozenset[str]:
    """The keys of the products in regions of which vectors join something."""
    keys = {region_key(v.key) for v in vectors if joins_regions(v)}
    return frozenset(key for key in keys if key is not None)


def region_values(rows: StreamRows | None, items: Sequence[str], as_of_ms: Times) -> RegionColumns:
    """What the log says of the regions of items as of the end of the hour before.

    Args:
        rows: of the stream `region_stock`, all of these regions.
        items: n of them, location:sku.
        as_of_ms: int64 of shape (n,).
    """
    out = regional.unknown(len(items))
    keys = [region_key(item) for item in items]
    at = np.flatnonzero([key is not None for key in keys])
    if rows is None or not len(at) or not len(rows.rows):
        return out
    asked, hour_ms = [keys[i] or "" for i in at.tolist()], as_of_ms[at] // HOUR_MS * HOUR_MS
    number = {key: i for i, key in enumerate(dict.fromkeys([*rows.rows.entities, *asked]))}
    entity = np.array([number[key] for key in rows.rows.entities], np.int64)
    by_time = np.argsort(rows.rows.columns["event_time_ms"], kind="stable")
    columns = {name: column[by_time] for name, column in rows.rows.columns.items()}
    order, first = grouped(entity[by_time], len(number))
    spine = np.array([number[key] for key in asked], np.int64)
    visible = count_before(columns["event_time_ms"][order], first, spine, hour_ms, equal=False)
    found = regional.region_columns(
        snapshots(discover()[regional.VIEW], columns, entity[by_time], spine, visible), as_of_ms[at]
    )
    out.columns[at], out.version[at] = found.columns, found.version
    return out


def region_behind(vector: FeatureVector, version: float) -> bool:
    """Whether what a vector joined is not of all events that the log has until the end of its hour.

    Args:
        vector: a logged one.
        version: by the log; NaN where it has nothing.
    """
    logged = vector.context.get(REGION_VERSION, UNJOINED)
    return logged != (UNJOINED if np.isnan(version) else version)
