"""Recompute: the state that each logged vector reflects, folded anew from the events, and the vector made of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots, Times
from features.discovery import views_of
from features.pointintime import snapshots
from features.table import EntityTable
from features.vectors import next_best_offer, reads_products, reorder, stockout, views_read
from features.vectors.values import Values, values_of
from features.view import View
from stream.ageing import Ageing
from stream.events import FeatureVector, Reflected
from stream.parity.events import EventRows, StreamRows
from stream.parity.joined import join
from stream.parity.regions import joins_regions, region_behind, region_values
from stream.topology import DEMAND

#: Vectors whose states are held at once.
_CHUNK = 20_000
_TOPIC = {"orders": "orders", "order_lines": "orders", "clicks": "clicks", "demand": "demand", "inventory": "inventory"}


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A logged vector and what the event log says it should be, but for joined columns where it was `behind`."""

    logged: FeatureVector
    values: Values
    as_of_ms: int
    behind: bool = False


def _assemble(vector: str, table: EntityTable, slots: Slots, as_of_ms: Times, logged: Sequence[FeatureVector]) -> Any:
    if vector == "reorder":
        return reorder.reorder_rows(table, slots, as_of_ms)
    if vector == "next_best_offer":
        return next_best_offer.offer_rows(table, slots, as_of_ms)
    lead = np.array([v.context["lead_time_days"] for v in logged], np.float64)
    return stockout.stockout_rows(table, slots, as_of_ms, lead)


def _with_shelves(
    rows: Any, table: EntityTable, slots: Slots, as_of_ms: Times, logged: Sequence[FeatureVector], events: EventRows
) -> tuple[Any, list[bool]]:
    """Rows of items with those of the next hours, and which vectors were behind in what they joined of regions."""
    late = np.zeros(len(logged), np.bool_)
    told = events.streams.get("region_stock")

    def region(at: NDArray[np.int64], when: Times) -> NDArray[np.float32]:
        found = region_values(told, [logged[i].key for i in at.tolist()], when)
        late[at] = [region_behind(logged[i], v) for i, v in zip(at.tolist(), found.version.tolist(), strict=True)]
        return found.columns

    return stockout.with_shelves(rows, table, slots, as_of_ms, region), late.tolist()


def recompute(
    vectors: Sequence[FeatureVector], vector: str, events: EventRows, ageing: Ageing | None = None
) -> list[Recomputed]:
    """What vectors of one kind should be.

    Args:
        vectors: logged ones, of one model's task.
        vector: `reorder`, `stockout` or `next_best_offer`.
        events: rows of all their entities.
        ageing: which models' scores age; none where None.
    """
    ages = Ageing() if ageing is None else ageing
    out: list[Recomputed] = []
    by_key = sorted(vectors, key=lambda v: v.key)
    for at in range(0, len(by_key), _CHUNK):
        part = by_key[at : at + _CHUNK]
        table = _states(part, events)
        slots = table.slots_of([str(i) for i in range(len(part))])
        as_of = np.array([v.as_of_ms for v in part], np.int64)
        rows = _assemble(vector, table, slots, as_of, part)
        if joins_regions(part[0]):
            rows, late = _with_shelves(rows, table, slots, as_of, part, events)
        else:
            late = _joined(rows, part, events)
        read = views_read(list(part[0].reads), part[0].entity)
        newest = np.maximum.reduce([table.records[view]["event_time_ms"][slots] for view in read]).tolist()
        out += [Recomputed(v, values_of(rows, i), _as_of_ms(v, newest[i], ages), late[i]) for i, v in enumerate(part)]
    return out


def _joined(rows: Any, vectors: Sequence[FeatureVector], events: EventRows) -> list[bool]:
    """Which vectors were behind in what they joined; fills it in where there is any."""
    if isinstance(rows, reorder.ReorderRows) and reads_products(reorder.FEATURES):
        return join(rows, vectors, events.streams.get("product_lines"))
    return [False] * len(vectors)


def _as_of_ms(vector: FeatureVector, newest_ms: int, ageing: Ageing) -> int:
    """As of when the entity was scored: its newest event, or a tick when its score may have aged."""
    after_ms = ageing.after_ms.get(vector.model)
    if after_ms is not None and vector.as_of_ms % ageing.period_ms == 0 and vector.as_of_ms - newest_ms >= after_ms:
        return vector.as_of_ms
    return newest_ms


def _states(vectors: Sequence[FeatureVector], events: EventRows) -> EntityTable:
    """A table with the state behind each vector: the i-th vector is the entity named i."""
    views = views_of(vectors[0].entity)
    table = EntityTable(vectors[0].entity, views, max_entities=len(vectors) + 1)
    slots = table.admit_new([str(i) for i in range(len(vectors))])
    read = set(views_read([read for v in vectors for read in v.reads]))
    for view in views:
        rows = events.streams.get(view.stream)
        if view.name in read and rows is not None:
            table.records[view.name][slots] = _view_states(view, rows, vectors)
    return table


def _view_states(view: View, rows: StreamRows, vectors: Sequence[FeatureVector]) -> NDArray[np.void]:
    limits = [_limits(view, v) for v in vectors]
    chains = _chains([v.key for v in vectors], limits)
    places: dict[str, list[int]] = defaultdict(list)
    for chain, members in enumerate(chains):
        places[vectors[members[0]].key].append(chain)
    index, entity = _copies(rows.rows.entities, places)
    partition, position = rows.partition[index], rows.position[index]
    level = _levels(entity, partition, position, chains, limits)
    order = np.lexsort((np.arange(len(index)), position, level, entity))
    seen = np.flatnonzero(level[order] >= 0)
    order = order[seen]
    spine_entity = np.empty(len(vectors), np.int64)
    visible = np.zeros(len(vectors), np.int64)
    for chain, members in enumerate(chains):
        spine_entity[members] = chain
    ends = np.searchsorted(entity[order], [np.arange(len(chains)), np.arange(len(chains)) + 1])
    for chain, members in enumerate(chains):
        own = level[order[ends[0][chain] : ends[1][chain]]]
        visible[members] = np.searchsorted(own, np.arange(len(members)), side="right")
    columns = {name: column[index[order]] for name, column in rows.rows.columns.items()}
    return snapshots(view, columns, entity[order], spine_entity, visible)


def _limits(view: View, vector: FeatureVector) -> dict[int, int]:
    """The newest position that is in the state, by partition."""
    topic = _TOPIC[view.stream]
    return next((limits_of(part) for part in vector.reflects if part.topic == topic), {})


def limits_of(part: Reflected) -> dict[int, int]:
    """The newest position that features reflect of one topic, by partition: of the orders, where it is demand."""
    if part.topic != DEMAND.name:
        return {part.partition: part.next_offset - 1}
    return {int(p): newest for p, newest in (part.sources or {}).items()}


def _chains(keys: Sequence[str], limits: Sequence[dict[int, int]]) -> list[list[int]]:
    """The vectors of each entity in the order in which its state grew.

    A store that lost its last second may have grown another way the second time: that is a chain of its own.
    """
    grown = sorted(range(len(keys)), key=lambda i: (keys[i], sum(limits[i].values())))
    chains: list[list[int]] = []
    open_chains: dict[str, list[list[int]]] = defaultdict(list)
    for i in grown:
        for chain in open_chains[keys[i]]:
            last = limits[chain[-1]]
            if all(limits[i].get(p, -1) >= at for p, at in last.items()):
                chain.append(i)
                break
        else:
            chains.append([i])
            open_chains[keys[i]].append(chains[-1])
    return chains


def _copies(entities: Sequence[str], places: dict[str, list[int]]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Indices of the rows that are needed, once a chain of their entity, and the chain of each."""
    index: list[int] = []
    entity: list[int] = []
    for i, key in enumerate(entities):
        for chain in places.get(key, ()):
            index.append(i)
            entity.append(chain)
    return np.array(index, np.intp), np.array(entity, np.int64)


def _levels(
    entity: NDArray[np.int64],
    partition: NDArray[np.int64],
    position: NDArray[np.int64],
    chains: list[list[int]],
    limits: Sequence[dict[int, int]],
) -> NDArray[np.int64]:
    """The first vector of its chain that has seen each row; -1: none has."""
    level = np.full(len(entity), -1, np.int64)
    order = np.lexsort((partition, entity))
    cut = np.flatnonzero((np.diff(entity[order]) != 0) | (np.diff(partition[order]) != 0)) + 1
    for group in np.split(order, cut):
        if len(group):
            p, members = int(partition[group[0]]), chains[int(entity[group[0]])]
            newest = np.array([limits[i].get(p, -1) for i in members], np.int64)
            first = np.searchsorted(newest, position[group], side="left")
            level[group] = np.where(first < len(members), first, -1)
    return level
