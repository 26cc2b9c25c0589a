"""What every scorer is given and gives."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots, Times
from features.table import EntityTable
from features.vectors import views_read
from models.registry import Model
from stream.events import Reason, SourceOffset
from stream.reference import Reference
from stream.settings import ModelSettings
from stream.topology import Topic


@dataclass(frozen=True, slots=True)
class Touched:
    """Entities to score, after the fold.

    Args:
        keys: customers or items.
        slots: where they are in the table, int64 of shape (n,).
        as_of_ms: the newest event time of each, int64 of shape (n,).
        sources: the input records that touched each.
    """

    keys: Sequence[str]
    slots: Slots
    as_of_ms: Times
    sources: Sequence[list[SourceOffset]]


class Scored(NamedTuple):
    """A score record, its key, and what was known beside the features."""

    key: str
    record: Any
    context: Mapping[str, float] = {}


@dataclass(frozen=True)
class Scorer(ABC):
    """Scores entities with one model.

    Args:
        model: the released model.
        reference: catalog and offers.
        settings: how much a score tells.
    """

    model: Model
    reference: Reference
    settings: ModelSettings

    #: Where the scores go.
    topic: ClassVar[Topic]
    #: `customer` or `item`.
    entity: ClassVar[str]

    @functools.cached_property
    def views(self) -> list[str]:
        """The views that the model reads, in name order."""
        return views_read(list(self.model.manifest.reads))

    @abstractmethod
    def score(self, table: EntityTable, touched: Touched) -> tuple[list[Scored], Any]:
        """Score records of the touched entities, in their order, and the vectors that they were made from."""

    def common(self, table: EntityTable, touched: Touched) -> list[dict[str, Any]]:
        """The fields that every score has, for each entity."""
        manifest, views = self.model.manifest, self.views
        times = [table.records[view]["event_time_ms"][touched.slots].tolist() for view in views]
        return [
            {
                "model": manifest.name,
                "version": manifest.version,
                "as_of_ms": as_of,
                "feature_time_ms": dict(zip(views, fresh, strict=True)),
                "source": source,
            }
            for as_of, fresh, source in zip(
                touched.as_of_ms.tolist(), zip(*times, strict=True), touched.sources, strict=True
            )
        ]

    def popular(self) -> dict[str, float]:
        """The most ordered products of the training period with their share of orders, most popular first."""
        return {p.sku: p.share for p in self.model.manifest.fallback.popular}

    def reasons(self, names: Sequence[str], values: NDArray[Any], contributions: NDArray[Any]) -> list[Reason]:
        """The features that moved one score most, largest first; NaN values are told as null."""
        most = self.settings.reasons
        order = np.argsort(-np.abs(contributions), kind="stable")[:most].tolist()
        told = values[order].tolist()
        moved = contributions[order].tolist()
        return [
            Reason(names[j], value if value == value else None, c)
            for j, value, c in zip(order, told, moved, strict=True)
        ]
