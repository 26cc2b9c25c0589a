"""What the reader library answers: features of an entity, a matrix of many, and records as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from features.layout import Layout, Migration

#: `missing`: the store has no record. `expired`: it has one, but the newest event is older than the view's TTL.
#: `stale`: older than the view's `stale_after_days`, or than asked for. `fresh`: none of these.
Status = Literal["fresh", "stale", "expired", "missing"]

#: How many values of a view are shown when it is printed.
_SHOWN = 6


@dataclass(frozen=True, slots=True, eq=False)
class ViewFeatures:
    """What one view knows of one entity.

    Args:
        view: its name.
        status: whether the values can be used; there are none where it is `expired` or `missing`.
        values: every column, derived ones included; NaN where unknown.
        lists: every sequence column, an array each.
        event_time_ms: of the newest event; None where missing.
        age_days: of the newest event as of the read, at least 0; None where missing.
        ttl_days: the view's time to live.
        version: how many rows the record has taken in; None where missing.
        layout: the fingerprint under which the record is stored; None where there is none.
        migrated: what was kept, where the record was written by another version of the view.
    """

    view: str
    status: Status
    values: dict[str, float]
    lists: dict[str, NDArray[Any]]
    event_time_ms: int | None
    age_days: float | None
    ttl_days: float
    version: int | None
    layout: str | None
    migrated: Migration | None

    @property
    def ttl_share(self) -> float | None:
        """Age over time to live: above 1 it has expired; None where missing."""
        return None if self.age_days is None else self.age_days / self.ttl_days

    def __str__(self) -> str:
        if self.age_days is None:
            return f"{self.view}: missing"
        share = f"{self.age_days:.1f} days old, {self.age_days / self.ttl_days:.0%} of its TTL"
        shown = [f"{name} {value:.6g}" for name, value in list(self.values.items())[:_SHOWN]]
        more = len(self.values) - len(shown)
        return f"{self.view}: {self.status}, {share}" + (
            f"\n    {', '.join(shown)}{f', … {more} more' if more else ''}" if shown else ""
        )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EntityFeatures:
    """What the views know of one entity as of an event time."""

    entity: str
    key: str
    as_of_ms: int
    views: dict[str, ViewFeatures]

    @property
    def values(self) -> dict[str, float]:
        """All columns as `<view>__<column>`; those of expired and missing views are not there."""
        return {f"{name}__{column}": v for name, view in self.views.items() for column, v in view.values.items()}

    def __getitem__(self, view: str) -> ViewFeatures:
        return self.views[view]

    def __repr__(self) -> str:
        at = datetime.fromtimestamp(self.as_of_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        return "\n  ".join([f"{self.entity} {self.key!r} as of {at} UTC", *map(str, self.views.values())])


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMatrix:
    """Columns of many entities.

    Args:
        entity: what the keys are of.
        keys: one a row.
        columns: `<view>__<column>`, one a column.
        views: the views of the columns, one a column of `status`.
        as_of_ms: the event time of the read.
        values: float64 of shape (keys, columns); NaN where unknown, expired or missing.
        status: a `Status` a row and view, of shape (keys, views).
    """

    entity: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    views: tuple[str, ...]
    as_of_ms: int
    values: NDArray[np.float64]
    status: NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class RawRecord:
    """A record as it is stored, named by the layout that was registered for it.

    Args:
        layout: that layout.
        event_time_ms, version: of its header.
        fields: `<aggregation>.<field>` to its values, of shape (length,).
    """

    layout: Layout
    event_time_ms: int
    version: int
    fields: dict[str, NDArray[Any]]
