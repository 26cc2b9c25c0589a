"""Layouts: what a packed record of any version looks like, and how a record moves from one version to another.

A worker registers the layouts of its views in the store under their fingerprints. So a reader can name the columns of
every record that it finds, and a worker of another version can take a record over by name: what both versions keep in
the same way is kept, the rest begins in its initial state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.view import View


class StoredField(msgspec.Struct, frozen=True):
    """A field of a packed record: where it is, and what."""

    name: str
    dtype: str
    length: int
    offset: int


class StoredAggregation(msgspec.Struct, frozen=True):
    """An aggregation as it was when a record was written; `was` are the names that it had before."""

    name: str
    type: str
    parameters: dict[str, str]
    fields: list[StoredField]
    was: list[str] = []


class Layout(msgspec.Struct, frozen=True):
    """A version of a view's packed record; kept in the store as JSON."""

    view: str
    entity: str
    stream: str
    fingerprint: str
    itemsize: int
    aggregations: list[StoredAggregation]

    def encode(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self)


_DECODER = msgspec.json.Decoder(Layout)


def decode_layout(raw: bytes) -> Layout:
    """A layout from the store."""
    return _DECODER.decode(raw)


def layout_of(view: View) -> Layout:
    """The layout of a view as it is declared now.

    >>> from features.discovery import discover
    >>> layout_of(discover()["item_stock"]).aggregations[0].name
    'stock'
    """
    fields: Any = view.dtype.fields
    return Layout(
        view=view.name,
        entity=view.entity,
        stream=view.stream,
        fingerprint=f"{view.fingerprint:016x}",
        itemsize=view.dtype.itemsize,
        aggregations=[
            StoredAggregation(
                a.name,
                type(a).__name__,
                a.parameters(),
                [StoredField(f.name, f.dtype, f.length, int(fields[f"{a.name}.{f.name}"][1])) for f in a.fields()],
                list(a.was),
            )
            for a in view.aggregations
        ],
    )


class LayoutSource(Protocol):
    """Where layouts of other versions are kept: the store."""

    def layouts(self, fingerprints: Sequence[int] | None = None) -> dict[int, bytes]:
        """Those that are known, as JSON; all of them where None."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What a record of another version keeps.

    Args:
        view: its name.
        fingerprint: the layout it had.
        kept: aggregations whose state it keeps.
        restarted: aggregations that begin in their initial state.
        dropped: aggregations of the record that the view no longer has.
    """

    view: str
    fingerprint: int
    kept: tuple[str, ...]
    restarted: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        def names(some: tuple[str, ...]) -> str:
            return ", ".join(some) or "nothing"

        return (
            f"records of view {self.view!r} with layout {self.fingerprint:016x} are taken over: kept {names(self.kept)}"
            f"; begun anew {names(self.restarted)}; dropped {names(self.dropped)}"
        )


@dataclass
class Layouts:
    """The layouts of other versions, looked up once each.

    Args:
        source: asked for layouts that are not known yet; none are where None.
    """

    source: LayoutSource | None = None
    known: dict[int, Layout | None] = field(default_factory=dict)
    #: Each migration that has happened, by view and layout, and to how many records.
    told: dict[tuple[str, int], Migration] = field(default_factory=dict)
    counts: dict[tuple[str, int], int] = field(default_factory=dict)

    def learn(self, fingerprints: Iterable[int]) -> None:
        """Asks the source for layouts that are not known."""
        unknown = sorted({f for f in fingerprints if f not in self.known})
        if unknown:
            found = {} if self.source is None else self.source.layouts(unknown)
            self.known |= {f: _readable(found.get(f)) for f in unknown}

    def forget_unknown(self) -> None:
        """What nobody had registered may be there now."""
        self.known = {f: layout for f, layout in self.known.items() if layout is not None}

    def unpacked(self, view: View, blobs: Sequence[bytes | None]) -> NDArray[np.void]:
        """Records of any version as those of `view`, of shape (n,); None is one in its initial state."""
        size, stamp = view.dtype.itemsize, view.fingerprint.to_bytes(8, "little")
        records = view.empty(len(blobs))
        held = [(i, blob) for i, blob in enumerate(blobs) if blob is not None]
        ours = [(i, blob) for i, blob in held if len(blob) == size and blob[:8] == stamp]
        if ours:
            records[[i for i, _ in ours]] = np.frombuffer(b"".join(blob for _, blob in ours), view.dtype)
        fits = {i for i, _ in ours}
        others = [(i, blob) for i, blob in held if i not in fits]
        self.learn(int.from_bytes(blob[:8], "little") for _, blob in others)
        for i, blob in others:
            records[i] = self.migrate(view, blob)[0]
        return records

    def migrate(self, view: View, blob: bytes) -> NDArray[np.void]:
        """A record of any version as one of `view`, of shape (1,).

        What cannot be kept begins in its initial state; `told` says what happened, once a layout.
        """
        record = view.blank.copy()
        fingerprint = int.from_bytes(blob[:8], "little")
        self.learn([fingerprint])
        old = self.known[fingerprint]
        usable = old is not None and old.view == view.name and old.stream == view.stream and len(blob) == old.itemsize
        at = view.name, fingerprint
        self.counts[at] = self.counts.get(at, 0) + 1
        if old is None or not usable:
            self.told.setdefault(
                at, Migration(view.name, fingerprint, (), tuple(a.name for a in view.aggregations), ())
            )
            return record
        kept = _carry(view, old, blob, record)
        record["layout"] = view.fingerprint
        record["event_time_ms"] = np.frombuffer(blob, "<i8", 1, 8)
        record["version"] = np.frombuffer(blob, "<u4", 1, 16)
        self.told.setdefault(at, _told(view, fingerprint, old, kept))
        return record


def _readable(raw: bytes | None) -> Layout | None:
    """What cannot be read, or cannot be true, is a layout that nobody has registered."""
    try:
        layout = None if raw is None else decode_layout(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if layout is None:
        return None
    fields = [f for a in layout.aggregations for f in a.fields]
    fits = all(f.offset >= 0 and f.offset + np.dtype(f.dtype).itemsize * f.length <= layout.itemsize for f in fields)
    return layout if fits else None


def _carry(view: View, old: Layout, blob: bytes, record: NDArray[np.void]) -> dict[str, str]:
    """Fills in what can be kept; returns the new names with the old ones."""
    # Under its name now, or a name it had; and a newer version may have renamed what is known here by the older name.
    stored = {was: a for a in old.aggregations for was in a.was} | {a.name: a for a in old.aggregations}
    kept: dict[str, str] = {}
    for aggregation in view.aggregations:
        name = next((n for n in (aggregation.name, *aggregation.was) if n in stored), None)
        if name is None or stored[name].type != type(aggregation).__name__:
            continue
        if not aggregation.understands({f.name: f.dtype for f in stored[name].fields}):
            continue  # kept in another way
        if stored[name].parameters.keys() != aggregation.parameters().keys():
            continue  # a parameter that one of the two does not know may mean something else
        source = {f.name: _field(blob, f) for f in stored[name].fields}
        target = {f.name: record[f"{aggregation.name}.{f.name}"] for f in aggregation.fields()}
        if aggregation.carry(stored[name].parameters, source, target):
            kept[aggregation.name] = stored[name].name
    return kept


def _field(blob: bytes, stored: StoredField) -> NDArray[Any]:
    values = np.frombuffer(blob, f"<{stored.dtype}", stored.length, stored.offset)
    return values if stored.length == 1 else values.reshape(1, -1)


def _told(view: View, fingerprint: int, old: Layout, kept: Mapping[str, str]) -> Migration:
    restarted = tuple(a.name for a in view.aggregations if a.name not in kept)
    dropped = tuple(a.name for a in old.aggregations if a.name not in kept.values())
    return Migration(view.name, fingerprint, tuple(kept), restarted, dropped)
