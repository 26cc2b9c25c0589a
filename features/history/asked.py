"""What is asked of history: the views, the way of asking, and how much memory it may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from features.view import View

#: Told about long work: the name of the step under way and the share of it done, 0 to 1.
Progress = Callable[[str, float], None]

#: Bytes of memory that a row takes up while it is folded, about; records and answers are counted as so many rows.
ROW_BYTES = 128


class HistoryError(ValueError):
    """What was asked for cannot be given. The message says what is wrong, where, and what to do."""


class By(StrEnum):
    """Which events a spine row sees, and in what order they are folded."""

    #: Those that happened before it, whenever they arrived: in order of event time, then of arrival.
    EVENT_TIME = "event-time"
    #: Those that had arrived before it, as a live worker would have known them: in order of arrival.
    ARRIVAL = "arrival"


@dataclass(frozen=True)
class Asked:
    """A question to history.

    Args:
        views: what to give columns of.
        by: which events a spine row sees.
        include_equal: whether it sees those of exactly its own time as well, as a live score does.
        sequences: whether to give the sequence columns too.
        memory_rows: rows that are held in memory at once, about, at 128 bytes each.
    """

    views: tuple[View, ...]
    by: By = By.EVENT_TIME
    include_equal: bool = False
    sequences: bool = False
    memory_rows: int = 2_000_000


@dataclass
class Told:
    """What became of it.

    Args:
        rows: of the spine.
        events: read, by topic.
        duplicates: events, by topic, that were dropped since their id had come before; for items, order lines.
        shards: how many parts it was done in, by entity.
        missing: spine rows for which a view had nothing, by view.
    """

    rows: int = 0
    events: dict[str, int] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    shards: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)


def quiet(step: str, share: float) -> None:
    """Tells nobody."""


def partial_of(path: Path) -> Path:
    """The name of a file while it is not complete."""
    return path.with_name(path.name + ".partial")
