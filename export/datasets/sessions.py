"""Sessions of an event log: which products were viewed one after another, cleaned as the literature does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from export.errors import UsageError
from features.aggregations.base import DAY_MS
from features.logfile import EventLogError, chunks, topic_file

_MINUTE_MS = 60_000


class Rules(msgspec.Struct, frozen=True):
    """What counts as a session. The defaults are those of the session literature.

    Args:
        gap_minutes: views of a customer this far apart are two sessions, where the log names none.
        least_views: shorter sessions are left out.
        least_seen: products that were viewed less often in the whole log are left out.

    Source: S. Wu et al., "Session-based Recommendation with Graph Neural Networks" (AAAI 2019), section 4.1.
    """

    gap_minutes: int = 30
    least_views: int = 2
    least_seen: int = 5


@dataclass(frozen=True, slots=True)
class Sessions:
    """s sessions with v views, in order of their last view.

    Args:
        names: the products' skus; a product is an index into them.
        item: the product of each view, session by session, int64 of shape (v,).
        starts: where each session begins, and v at the end, int64 of shape (s + 1,).
        end_ms: event time of each session's last view, int64 of shape (s,), ascending.
    """

    names: list[str]
    item: NDArray[np.int64]
    starts: NDArray[np.int64]
    end_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.end_ms)

    @property
    def session(self) -> NDArray[np.int64]:
        """The session of each view, of shape (v,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def take(self, wanted: NDArray[np.bool_]) -> Sessions:
        """Some of the sessions."""
        return self._views(np.repeat(wanted, np.diff(self.starts)), 1)

    def known(self, names: Sequence[str], least_views: int) -> Sessions:
        """The same sessions in the products of a model: views of others go, then sessions that have become short."""
        code = {name: i for i, name in enumerate(names)}
        table = np.array([code.get(name, -1) for name in self.names], np.int64)
        item = table[self.item]
        return Sessions(list(names), item, self.starts, self.end_ms)._views(item >= 0, least_views)

    def used(self) -> Sessions:
        """The same sessions with the names of only those products that occur in them."""
        held, item = np.unique(self.item, return_inverse=True)
        return Sessions([self.names[i] for i in held.tolist()], item.astype(np.int64), self.starts, self.end_ms)

    def cleaned(self, rules: Rules) -> Sessions:
        """Without short sessions, then without rare products, then without sessions that have become short."""
        long = self._views(np.ones(len(self.item), np.bool_), rules.least_views)
        seen = np.bincount(long.item, minlength=len(self.names))
        return long._views(seen[long.item] >= rules.least_seen, rules.least_views).used()

    def _views(self, kept: NDArray[np.bool_], least_views: int) -> Sessions:
        size = np.bincount(self.session[kept], minlength=len(self))
        long = size >= least_views
        item = self.item[kept & np.repeat(long, np.diff(self.starts))]
        return Sessions(self.names, item, np.concatenate([[0], np.cumsum(size[long])]), self.end_ms[long])


def read_sessions(events: Path, rules: Rules) -> Sessions:
    """The sessions of an event log, not cleaned yet.

    Views of a customer that carry the same session_id are a session; views without one are cut where the customer
    paused. A session is as old as its last view, so that what ends before a moment knows nothing of what is after it.

    Raises:
        UsageError: the directory has no clicks, or there is no product_view among them.
    """
    views = _read(events)
    if views.is_empty():
        raise UsageError(f"{events}: its clicks hold no product_view with a sku; sessions are made of those")
    views = views.sort("customer_id", "session_id", "event_time_ms", maintain_order=True)
    paused = pl.col("event_time_ms").diff() > rules.gap_minutes * _MINUTE_MS
    other = pl.col("customer_id").ne_missing(pl.col("customer_id").shift(1)) | pl.col("session_id").ne_missing(
        pl.col("session_id").shift(1)
    )
    views = views.with_columns(session=(other | (pl.col("session_id").is_null() & paused)).fill_null(True).cum_sum())
    views = views.with_columns(end=pl.col("event_time_ms").last().over("session"))
    views = views.sort("end", "session", maintain_order=True)
    names = views["sku"].unique(maintain_order=True)
    item = views["sku"].replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy()
    session = views["session"].to_numpy()
    starts = np.flatnonzero(np.r_[True, session[1:] != session[:-1]])
    return Sessions(names.to_list(), item, np.append(starts, len(item)), views["end"].to_numpy()[starts])


def _read(events: Path) -> pl.DataFrame:
    columns = ("customer_id", "session_id", "event_time_ms", "sku")
    schema = {"customer_id": pl.String, "session_id": pl.String, "event_time_ms": pl.Int64, "sku": pl.String}
    parts = [pl.DataFrame(schema=schema)]
    try:
        for chunk in chunks(topic_file(events, "clicks"), "clicks"):
            frame = pl.DataFrame(pl.from_arrow(pa.table({name: chunk.columns[name] for name in ("type", *columns)})))
            parts.append(frame.filter(pl.col("type") == "product_view", pl.col("sku").is_not_null()).select(columns))
    except (FileNotFoundError, EventLogError) as error:
        raise UsageError(str(error)) from error
    return pl.concat(parts)


def default_from_ms(sessions: Sessions) -> int:
    """Where the test begins unless said otherwise: the last seven days, or the last seventh of a shorter log."""
    first, last = int(sessions.end_ms[0]), int(sessions.end_ms[-1])
    return last - min(7 * DAY_MS, (last - first) // 7)


def parted(sessions: Sessions, from_ms: int, rules: Rules) -> tuple[Sessions, Sessions]:
    """Sessions that ended before a moment, and the others in the products of the former.

    Raises:
        UsageError: one of both is empty.
    """
    before = sessions.take(sessions.end_ms < from_ms).used()
    after = sessions.take(sessions.end_ms >= from_ms).known(before.names, rules.least_views)
    if len(before) == 0 or len(after) == 0:
        raise UsageError(
            f"of {len(sessions):,} sessions {len(before):,} end before the test begins and {len(after):,} of known "
            "products after it; give another --from, or a longer event log"
        )
    return before, after
