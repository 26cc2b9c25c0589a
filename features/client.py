"""The reader library: features of customers, items and products out of the store, without the engine.

    FeatureClient("redis://localhost:6379/0").get("customer", "42")

A record that is missing, one that has expired and one that is stale are three different answers. Reads cost one round
trip for all keys and views, and one more for the clock where `as_of_ms` is not given; of products, whose records are
merged from the shards of all partitions, one more again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS
from features.answers import EntityFeatures, FeatureMatrix, RawRecord, Status, ViewFeatures
from features.discovery import discover
from features.layout import Layout, Layouts, decode_layout
from features.shards import merged, shard_keys, shards_in
from features.store.base import Store, StoreUnavailable, Wanted
from features.view import SHARDED, View

__all__ = ["EntityFeatures", "FeatureClient", "FeatureMatrix", "RawRecord", "Status", "ViewFeatures"]


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """The records of one view, one a key, with the bytes that they came from."""

    view: View
    records: NDArray[np.void]
    blobs: Sequence[bytes | None]

    def statuses(self, as_of_ms: int, max_age_days: float | None) -> NDArray[np.str_]:
        """A `Status` a key."""
        newest = self.records["event_time_ms"]
        age = as_of_ms - newest
        stale_ms = self.view.stale_after_ms if max_age_days is None else max_age_days * DAY_MS
        status = np.full(len(newest), "fresh", "<U7")
        status[age > stale_ms] = "stale"
        status[age > self.view.ttl_ms] = "expired"
        status[newest == 0] = "missing"
        return status


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        raise StoreUnavailable(
            f"the feature store does not answer ({error}); check that it runs and that the address is right"
        ) from error


class FeatureClient:
    """Reads features. Not for use by several threads at once.

    Args:
        url: of the Redis or Valkey server, as the workers' `store.url`.
        namespace, buckets: as the workers have them in `store.namespace` and `store.buckets`.
        store: a store to read in place of one at `url`.
        views: the views to read, by name; those that are found where None.
        wall_ms: the wall clock.

    Raises:
        ValueError: neither a url nor a store, or a url that is none.

    Example:
        >>> from features.store import MemoryStore
        >>> client = FeatureClient(store=MemoryStore())
        >>> client.get("item", "warehouse:85123A", as_of_ms=1_300_000_000_000)["item_stock"].status
        'missing'
    """

    def __init__(
        self,
        url: str | None = None,
        namespace: str = "tidecast",
        buckets: int = 1,
        *,
        store: Store | None = None,
        views: Mapping[str, View] | None = None,
        wall_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        self._store = _connected(url, namespace, buckets) if store is None else store
        self._views = discover() if views is None else views
        self._layouts = Layouts(self._store)
        self._checked = False
        self._wall_ms = wall_ms

    def __enter__(self) -> FeatureClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connections."""
        self._store.close()

    def now_ms(self) -> int:
        """Now on the event-time clock of the stream, in ms.

        Workers write down how far event time has come; the wall time that has passed since is added, so that ages
        keep growing when the engine stands still, and a replay of 2011 reads as 2011. Where no worker has written
        anything: the wall clock.

        Raises:
            StoreUnavailable: no answer.
        """
        with _answering():
            ticks = self._store.clock().values()
        wall = self._wall_ms()
        return max((t.event_time_ms + max(wall - t.wall_ms, 0) for t in ticks), default=wall)

    def get(
        self,
        entity: str,
        key: str,
        views: Sequence[str] | None = None,
        as_of_ms: int | None = None,
        max_age_days: float | None = None,
    ) -> EntityFeatures:
        """Features of one entity; see `get_many`."""
        return self.get_many(entity, [key], views, as_of_ms, max_age_days)[0]

    def get_many(
        self,
        entity: str,
        keys: Sequence[str],
        views: Sequence[str] | None = None,
        as_of_ms: int | None = None,
        max_age_days: float | None = None,
    ) -> list[EntityFeatures]:
        """Features of many entities in one round trip.

        Args:
            entity: `customer` or `item`.
            keys: customer ids, or `location:sku`.
            views: names of views; all of the entity where None.
            as_of_ms: event time to read at, now on the stream's clock where None. The store keeps only the newest
                state: a record that is newer than this reads with age 0.
            max_age_days: what is older is stale; each view's own `stale_after_days` where None.

        Returns:
            One an entity, in the order of `keys`.

        Raises:
            ValueError: an unknown entity or view.
            StoreUnavailable: no answer.
        """
        chosen = self._chosen(entity, views)
        at = self.now_ms() if as_of_ms is None else as_of_ms
        parts = [self._read(block, at, max_age_days) for block in self._load(chosen, keys)]
        return [
            EntityFeatures(entity, key, at, {part[i].view: part[i] for part in parts}) for i, key in enumerate(keys)
        ]

    def matrix(
        self,
        entity: str,
        keys: Sequence[str],
        columns: Sequence[str],
        as_of_ms: int | None = None,
        max_age_days: float | None = None,
        absent: Literal["initial", "nan"] = "initial",
    ) -> FeatureMatrix:
        """Columns of many entities as an array, in one round trip.

        Args:
            entity, keys, as_of_ms, max_age_days: as for `get_many`.
            columns: `<view>__<column>`.
            absent: what stands for a record that is missing or has expired: `initial`, what the engine feeds to a
                model then and what training rows hold (a count of 0, an unknown age); or `nan`.

        Raises:
            ValueError: an unknown entity or column.
            StoreUnavailable: no answer.
        """
        chosen = self._chosen(entity, list(dict.fromkeys(c.partition("__")[0] for c in columns)))
        known = [f"{view.name}__{column}" for view in chosen for column in view.describe()]
        unknown = sorted(set(columns) - set(known))
        if unknown:
            raise ValueError(f"there is no column {', '.join(unknown)}; there are {', '.join(known)}")
        at = self.now_ms() if as_of_ms is None else as_of_ms
        values: dict[str, NDArray[np.float64]] = {}
        status = np.empty((len(keys), len(chosen)), "<U7")
        for i, block in enumerate(self._load(chosen, keys)):
            status[:, i] = block.statuses(at, max_age_days)
            gone = np.isin(status[:, i], ["expired", "missing"]) & (absent == "nan")
            read = block.view.read(block.records, np.arange(len(keys)), np.full(len(keys), at))
            values |= {f"{block.view.name}__{name}": np.where(gone, np.nan, v) for name, v in read.items()}
        array = np.array([values[c] for c in columns], np.float64).reshape(len(columns), len(keys)).T
        return FeatureMatrix(entity, tuple(keys), tuple(columns), tuple(v.name for v in chosen), at, array, status)

    def raw(self, entity: str, key: str, view: str) -> RawRecord | None:
        """A record as it is stored, expired or not, also of a view that this code does not know.

        Returns:
            Every stored field under the name it had when the record was written; None where there is no record.

        Raises:
            ValueError: no layout is registered for the record, or the view is of another entity.
            StoreUnavailable: no answer.
        """
        with _answering():
            blob = self._store.load("f", view, [key])[0]
            if blob is None:
                return None
            fingerprint = int.from_bytes(blob[:8], "little")
            found = self._store.layouts([fingerprint])
        what = f"the record of view {view!r} of {entity} {key!r}"
        if fingerprint not in found:
            raise ValueError(f"{what} has layout {fingerprint:016x}, which nobody has registered in the store")
        layout = decode_layout(found[fingerprint])
        if layout.entity != entity or len(blob) != layout.itemsize:
            raise ValueError(
                f"{what} has {len(blob)} bytes; its layout is of {layout.entity} and {layout.itemsize} bytes"
            )
        return _named(layout, blob)

    def _chosen(self, entity: str, views: Sequence[str] | None) -> list[View]:
        of_entity = {name: view for name, view in sorted(self._views.items()) if view.entity == entity}
        if not of_entity:
            entities = ", ".join(sorted({view.entity for view in self._views.values()}))
            raise ValueError(f"there are no features of {entity!r}; there are features of {entities}")
        if isinstance(views, str):
            raise ValueError(f"views are several: [{views!r}]")
        unknown = [name for name in views or () if name not in of_entity]
        if unknown:
            raise ValueError(f"there is no view {', '.join(unknown)} of {entity}; there are {', '.join(of_entity)}")
        return list(of_entity.values()) if views is None else [of_entity[name] for name in views]

    def _load(self, views: Sequence[View], keys: Sequence[str]) -> list[_Block]:
        if isinstance(keys, str) or not all(isinstance(key, str) for key in keys):
            raise ValueError(f"keys are texts, and several of them: ['42', '43']; got {keys!r}")
        with _answering():
            if not self._checked:
                self._store.check_buckets()
                self._checked = True
        # Layouts that nobody had registered at the last read may be there now.
        self._layouts.forget_unknown()
        with _answering():
            shards = shards_in(self._store.clock()) if views[0].stream in SHARDED else None
            asked = keys if shards is None else shard_keys(keys, shards)
            loaded = self._store.load_all([Wanted("f", view.name, asked) for view in views])
            return [self._block(view, blobs, len(keys), shards) for view, blobs in zip(views, loaded, strict=True)]

    def _block(self, view: View, blobs: Sequence[bytes | None], keys: int, shards: int | None) -> _Block:
        records = self._layouts.unpacked(view, blobs)
        if shards is None:
            return _Block(view, records, blobs)
        first = [next((blob for blob in blobs[i::keys] if blob is not None), None) for i in range(keys)]
        return _Block(view, merged(view, records.reshape(shards, keys)), first)

    def _read(self, block: _Block, as_of_ms: int, max_age_days: float | None) -> list[ViewFeatures]:
        """The view's part of the answer for each key."""
        view, n = block.view, len(block.records)
        slots, times = np.arange(n), np.full(n, as_of_ms)
        columns = {name: column.tolist() for name, column in view.read(block.records, slots, times).items()}
        lists = view.read_lists(block.records, slots, times)
        out = []
        for i, status in enumerate(block.statuses(as_of_ms, max_age_days).tolist()):
            held, usable = status != "missing", status in ("fresh", "stale")
            newest, blob = int(block.records["event_time_ms"][i]), block.blobs[i]
            fingerprint = None if blob is None else int.from_bytes(blob[:8], "little")
            out.append(
                ViewFeatures(
                    view=view.name,
                    status=status,
                    values={name: column[i] for name, column in columns.items()} if usable else {},
                    lists={name: column[i] for name, column in lists.items()} if usable else {},
                    event_time_ms=newest if held else None,
                    age_days=max(as_of_ms - newest, 0) / DAY_MS if held else None,
                    ttl_days=view.ttl_days,
                    version=int(block.records["version"][i]) if held else None,
                    layout=None if fingerprint is None else f"{fingerprint:016x}",
                    migrated=None if fingerprint is None else self._layouts.told.get((view.name, fingerprint)),
                )
            )
        return out


def _connected(url: str | None, namespace: str, buckets: int) -> Store:
    from features.store.redis import RedisStore

    if url is None:
        raise ValueError('say where the features are: FeatureClient("redis://host:6379/0"), or give a store')
    return RedisStore(url, namespace, buckets)


def _named(layout: Layout, blob: bytes) -> RawRecord:
    fields = {
        f"{aggregation.name}.{field.name}": np.frombuffer(blob, f"<{field.dtype}", field.length, field.offset)
        for aggregation in layout.aggregations
        for field in aggregation.fields
    }
    header = np.frombuffer(blob, "<i8", 1, 8), np.frombuffer(blob, "<u4", 1, 16)
    return RawRecord(layout, int(header[0][0]), int(header[1][0]), fields)
