"""The rows that the heads of hours and days are trained on, of an event log with sales by the hour.

All items teach but those of a tenth of the shops, which are kept for measuring what was never seen. Of the test
period there are a few rows without labels: to try the graph on, not to measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.catalog import categories
from export.datasets.dayfeatures import LEVEL, day_features
from export.datasets.days import Days, days_of
from export.datasets.hazard import HazardRows, hazard_rows
from export.datasets.hazardfeatures import groups_of, hazard_features
from export.datasets.hourly import Hourly, read_hourly
from export.datasets.periods import WARM_UP_DAYS, Periods, held_out, periods_of
from export.datasets.shelfrows import shelf_features
from features.vectors import shelf

Arrays = dict[str, NDArray[Any]]
Groups = Mapping[str, NDArray[np.int64]]

TRAIN, VALIDATION, TEST = 0, 1, 2
#: At most so many rows of hours are trained on: with float16, 1.8 GB.
MOST_ROWS = 6_000_000
_TEST_ROWS = 8_192
#: Share of training rows to which no region is joined: a store is away at times, and not every location names one.
_ALONE = 0.125
#: Shops are held out by this seed, whatever else is random: an evaluation must know which.
HELD_OUT_SEED = 0


def build(
    events: Path,
    seed: int,
    from_ms: int | None = None,
    tell: Callable[[str, float], None] = lambda text, share: None,
) -> tuple[Arrays, Periods]:
    """Rows of both heads.

    Args:
        events: an event log with sales by the hour.
        seed: of the rows that are drawn.
        from_ms: event time at which the test period begins; its last week where None.
        tell: hears how far it is.

    Returns:
        `hours.features` float16 (n, features), `hours.out` and `hours.open` bool (n, 4), `hours.part` int8 (n,);
        `shelf.features` float16 (n, features), of the same rows as a worker knows them, and `shelf.part` like that;
        `days.features` float32 (m, features), `days.sold` float32 (m,) in units, `days.whole` bool (m,) for days in
        stock from morning to evening, `days.part` int8 (m,). And the periods that the parts stand for.

    Raises:
        UsageError: there are no sales by the hour, or too few days.
    """
    hours = read_hourly(events)
    periods = periods_of(hours, from_ms)
    groups = groups_of(hours.items, categories(events))
    taught = np.flatnonzero(~held_out(hours.items, HELD_OUT_SEED))
    return {
        **_hours(events, hours, groups, taught, periods, seed, tell),
        **_days(days_of(hours), groups, taught, periods, seed),
    }, periods


def _hours(
    events: Path,
    hours: Hourly,
    groups: Groups,
    items: NDArray[Any],
    periods: Periods,
    seed: int,
    tell: Callable[[str, float], None],
) -> Arrays:
    rows = hazard_rows(hours, items, periods.first + WARM_UP_DAYS, periods.end)
    part = _part(hours.day[rows.row], periods)
    rows, part = _drawn(rows, part, seed)
    _, features = hazard_features(hours, groups, rows, tell, np.float16)
    shelves = shelf_features(events, hours, rows, tell)
    alone = (part == TRAIN) & (np.random.default_rng(seed).random(len(rows)) < _ALONE)
    shelves[np.ix_(alone, shelf.joined_columns())] = np.nan
    most = float(np.finfo(np.float16).max)
    return {
        "hours.features": features,
        "hours.out": rows.out,
        "hours.open": rows.open,
        "hours.part": part,
        "shelf.features": np.clip(shelves, -most, most, out=shelves).astype(np.float16),
        "shelf.part": part,
    }


def _drawn(rows: HazardRows, part: NDArray[np.int8], seed: int) -> tuple[HazardRows, NDArray[np.int8]]:
    most = np.where(part == TEST, _TEST_ROWS / max((part == TEST).sum(), 1), MOST_ROWS / max((part != TEST).sum(), 1))
    kept = np.random.default_rng(seed).random(len(part)) < most
    return rows.take(kept), part[kept]


def _days(days: Days, groups: Groups, items: NDArray[Any], periods: Periods, seed: int) -> Arrays:
    known = days.known[:, items]
    known[:WARM_UP_DAYS] = False
    day, column = np.nonzero(known)
    item, part = items[column], _part(days.first_day + day, periods)
    kept = np.random.default_rng(seed).random(len(part)) < np.where(
        part == TEST, _TEST_ROWS / max((part == TEST).sum(), 1), 1.0
    )
    day, item, part = day[kept], item[kept], part[kept]
    _, features = day_features(days, groups, days.first_day + day, item)
    told = np.isfinite(features[:, LEVEL])
    found = {
        "days.features": features,
        "days.sold": days.sold[day, item].astype(np.float32),
        "days.whole": days.full[day, item],
        "days.part": part,
    }
    return {name: array[told] for name, array in found.items()}


def _part(day: NDArray[np.int64], periods: Periods) -> NDArray[np.int8]:
    return np.where(day < periods.validation, TRAIN, np.where(day < periods.test, VALIDATION, TEST)).astype(np.int8)


def of_head(arrays: Arrays, head: str) -> Arrays:
    """The arrays of one head, without its prefix.

    >>> list(of_head({"hours.out": np.zeros(1), "days.sold": np.zeros(1)}, "days"))
    ['sold']
    """
    return {name.removeprefix(f"{head}."): a for name, a in arrays.items() if name.startswith(f"{head}.")}
