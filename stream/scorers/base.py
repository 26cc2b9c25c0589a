"""What every scorer is given and gives."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots, Times
from features.table import EntityTable
from features.vectors import views_read
from models.registry import Model
from stream.events import Reason, SourceOffset
from stream.joins import Joins
from stream.reference import Reference
from stream.scorers.reasons import largest, null_for_nan
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


class Origin(msgspec.Struct, frozen=True, gc=False):
    """What every score tells of where it comes from: as of when, how fresh its views are, and which records.

    (A struct: made in 0.06 µs, a named tuple in 0.3 µs.)
    """

    key: str
    as_of_ms: int
    feature_time_ms: dict[str, int]
    source: list[SourceOffset]


class Names(dict[int, tuple[str, str | None]]):
    """Skus and names of products by their ids, each looked up once: for one micro-batch, since the catalog changes."""

    def __init__(self, reference: Reference) -> None:
        super().__init__()
        self._reference = reference

    def __missing__(self, product: int) -> tuple[str, str | None]:
        sku = self._reference.ids.name(product) or f"#{product:016x}"
        found = self[product] = sku, self._reference.name(sku)
        return found


@dataclass(frozen=True)
class Scorer(ABC):
    """Scores entities with one model.

    Args:
        model: the released model.
        reference: catalog and offers.
        settings: how much a score tells.
        joins: reads the views of products; None: nothing is known of them.
    """

    model: Model
    reference: Reference
    settings: ModelSettings
    joins: Joins | None = None

    #: Where the scores go.
    topic: ClassVar[Topic]
    #: `customer` or `item`.
    entity: ClassVar[str]

    @functools.cached_property
    def views(self) -> list[str]:
        """The views of its entity that the model reads, in name order."""
        return views_read(list(self.model.manifest.reads), self.entity)

    @abstractmethod
    def score(self, table: EntityTable, touched: Touched) -> tuple[list[Scored], Any]:
        """Score records of the touched entities, in their order, and the vectors that they were made from."""

    def origins(self, table: EntityTable, touched: Touched) -> Iterator[Origin]:
        """Where the score of each entity comes from."""
        views = self.views
        times = [table.records[view]["event_time_ms"][touched.slots].tolist() for view in views]
        fresh = [dict(zip(views, of, strict=False)) for of in zip(*times, strict=True)]
        return map(Origin, touched.keys, touched.as_of_ms.tolist(), fresh, touched.sources)

    @functools.cached_property
    def popular(self) -> dict[str, float]:
        """The most ordered products of the training period with their share of orders, most popular first."""
        return {p.sku: p.share for p in self.model.manifest.fallback.popular}

    def reasons(self, names: NDArray[Any], values: NDArray[Any], contributions: NDArray[Any]) -> list[list[Reason]]:
        """The features that moved each score most, largest first; NaN values are told as null.

        Args:
            names: of the features, texts of shape (width,).
            values, contributions: a row a score, of shape (n, width).
        """
        most = min(self.settings.reasons, len(names))
        if most == 0:
            return [[] for _ in values]
        place = largest(contributions, most)
        told = null_for_nan(np.take_along_axis(values, place, axis=1).ravel())
        moved = np.take_along_axis(contributions, place, axis=1).ravel().tolist()
        flat = list(map(Reason, names[place.ravel()].tolist(), told, moved))
        return [flat[at : at + most] for at in range(0, len(flat), most)]
