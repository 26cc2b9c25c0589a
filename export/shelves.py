"""Shelves: for every item of a log of sales by the hour, whether it runs out soon, and what the next day will ask for.

What a released stock-out model says beyond the lead time, which workers score: hazards of items whose stock level
nobody knows, and quantiles of a day's demand. The features are those of training and evaluation, walked once over the
log as a stream would bring it; nothing from the moment asked about on is read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from export.catalog import categories
from export.datasets.dayfeatures import LEVEL, day_features, day_names
from export.datasets.days import days_of
from export.datasets.hazard import HOURS_AHEAD, HazardRows
from export.datasets.hazardfeatures import groups_of, hazard_features, hour_names
from export.datasets.hourly import IN_STOCK, UNKNOWN, Hourly, read_hourly, told_until
from export.datasets.periods import WARM_UP_DAYS
from export.errors import UsageError
from export.evaluations.stockout import Heads
from features.aggregations.base import DAY_MS, HOUR_MS
from models.session import Session

Tell = Callable[[str, float], None]

#: What is said of an item, a column each: `p_out_*` of the next opening hours of that day, null where it is out of
#: stock or the shop is closed; `demand_*` of `day`, null where too little is known of it.
COLUMNS = (
    "location",
    "sku",
    "as_of_ms",
    "in_stock",
    *(f"p_out_{hours}h" for hours in range(1, HOURS_AHEAD + 1)),
    "why",
    "day",
    "demand_q10",
    "demand_q50",
    "demand_q90",
    "demand_why",
)
_REASONS = 3
_WHY_COLUMNS = ("why", "demand_why")
_WHY = pl.List(pl.Struct({"feature": pl.String, "contribution": pl.Float64}))


def shelves_of(
    events: Path, model_dir: Path, at_ms: int | None = None, tell: Tell = lambda text, share: None
) -> pl.DataFrame:
    """What the model says of all items at a moment.

    Args:
        events: the event log: its inventory tells `units_sold`, `ran_out` and `restocked`.
        model_dir: of a stock-out model that was released with heads for hours and days.
        at_ms: event time; what is told from then on is not read. The end of the log's last hour where None.
        tell: hears what is being done, and the share done.

    Returns:
        A row an item that anything was told of on its last day or the day before, those likely to run out first;
        columns as `COLUMNS`. `as_of_ms` is the end of the last full hour, `why` the features that moved
        -log(1 - P(out within 4 h)) most, and by how much; `demand_why` those of the logarithm of the median.

    Raises:
        UsageError: the log does not tell sales by the hour, or not of that moment, or too few days before it.
        ManifestError: there is no such model.
    """
    heads = Heads(Session(model_dir / "model.onnx"), model_dir)
    until_ms = told_until(events)
    at_ms = until_ms if at_ms is None else at_ms // HOUR_MS * HOUR_MS
    if at_ms > until_ms + DAY_MS:
        raise UsageError(f"{events}: its hours end at {when(until_ms)}, too long before {when(at_ms)}")
    tell("reading hours", 0.0)
    hours = read_hourly(events, until_ms=at_ms)
    row = _last_hour(hours, at_ms)
    if hours.day[row] - hours.first_day < WARM_UP_DAYS:
        raise UsageError(f"{events}: it begins less than {WARM_UP_DAYS} days before {when(at_ms)}")
    groups = groups_of(hours.items, categories(events))
    item = np.flatnonzero(hours.state[row] != UNKNOWN)
    places = [hours.items[i].split(":", 1) for i in item.tolist()]
    return (
        pl.DataFrame(
            {
                "location": [location for location, _ in places],
                "sku": [sku for _, sku in places],
                "as_of_ms": np.full(len(item), at_ms),
                "in_stock": hours.state[row, item] == IN_STOCK,
                **_hazards(hours, groups, row, item, at_ms, heads, tell),
                **_next_day(hours, groups, row, item, heads),
            },
            schema_overrides=dict.fromkeys(_WHY_COLUMNS, _WHY),
        )
        .select(COLUMNS)
        .with_columns(cs.starts_with("p_out_", "demand_q").fill_nan(None))
        .sort(f"p_out_{HOURS_AHEAD}h", "location", "sku", descending=[True, False, False], nulls_last=True)
    )


def written(found: pl.DataFrame, path: Path) -> None:
    """Writes what was found, in the form that the file's name asks for; reasons are JSON in a CSV.

    Raises:
        UsageError: the name asks for none, or the file cannot be written.
    """
    check_form(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _FORMS[path.suffix](found, path)
    except OSError as error:
        raise UsageError(f"--out {path} cannot be written: {error}") from error


def check_form(path: Path) -> None:
    """Raises UsageError where the file's name asks for no form that can be written."""
    if path.suffix not in _FORMS:
        raise UsageError(f"--out {path}: give a name that ends in {', '.join(_FORMS)}")


def when(time_ms: int) -> str:
    """An event time for people.

    >>> when(86_400_000)
    '1970-01-02 00:00'
    """
    return f"{dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC):%Y-%m-%d %H:%M}"


def _csv(found: pl.DataFrame, path: Path) -> None:
    texts = [pl.Series(name, [orjson.dumps(why).decode() for why in found[name].to_list()]) for name in _WHY_COLUMNS]
    found.with_columns(texts).write_csv(path)


_FORMS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    ".jsonl": pl.DataFrame.write_ndjson,
    ".csv": _csv,
    ".parquet": pl.DataFrame.write_parquet,
}


def _last_hour(hours: Hourly, at_ms: int) -> int:
    """The row of the last opening hour that is over."""
    clock = (hours.day * 24 + hours.opens + hours.hour + 1) * HOUR_MS
    over = int(np.searchsorted(clock, at_ms, side="right")) - 1
    if over < 0:
        raise UsageError(f"no opening hour of the event log is over at {when(at_ms)}")
    return over


def _hazards(
    hours: Hourly,
    groups: dict[str, NDArray[np.int64]],
    row: int,
    item: NDArray[np.int64],
    at_ms: int,
    heads: Heads,
    tell: Tell,
) -> dict[str, Any]:
    """While the shop is open: the chance that an item in stock is out of it within 1 to 4 hours."""
    p = np.full((len(item), HOURS_AHEAD), np.nan)
    why: list[list[dict[str, Any]]] = [[] for _ in item]
    ends_ms = (hours.day[row] * 24 + hours.opens + hours.hour[row] + 1) * HOUR_MS
    here = np.flatnonzero(hours.state[row, item] == IN_STOCK)
    if ends_ms == at_ms and hours.hour[row] < hours.a_day - 1 and len(here):
        none = np.zeros((len(here), HOURS_AHEAD), bool)
        rows = HazardRows(np.full(len(here), row), item[here], none, ~none)
        _, features = hazard_features(hours, groups, rows, lambda text, share: tell(text, 0.9 * share))
        told, parts = heads.ask("hours", features)
        p[here] = 1.0 - np.cumprod(1.0 - told.astype(np.float64), axis=1)
        for at, reasons in zip(here.tolist(), _reasons(hour_names(), parts), strict=True):
            why[at] = reasons
    return {f"p_out_{ahead + 1}h": p[:, ahead] for ahead in range(HOURS_AHEAD)} | {"why": why}


def _next_day(
    hours: Hourly, groups: dict[str, NDArray[np.int64]], row: int, item: NDArray[np.int64], heads: Heads
) -> dict[str, Any]:
    """Demand of the first day that had not begun when the last whole day was over."""
    over = hours.until_day(int(hours.day[row]) + (hours.hour[row] == hours.a_day - 1))
    day = over.first_day + len(over.sold) // over.a_day
    _, features = day_features(days_of(over), groups, np.full(len(item), day), item)
    told, parts = heads.ask("days", features)
    known = np.isfinite(features[:, LEVEL])
    told = np.where(known[:, None], told.astype(np.float64), np.nan)
    why = _reasons(day_names(), np.where(known[:, None], parts, 0.0))
    quantiles = {f"demand_{name}": told[:, at] for at, name in enumerate(("q10", "q50", "q90"))}
    return {"day": np.full(len(item), day, "datetime64[D]"), **quantiles, "demand_why": why}


def _reasons(names: tuple[str, ...], parts: NDArray[Any]) -> list[list[dict[str, Any]]]:
    """The features that moved each score most, largest first; those that moved nothing are left out."""
    order = np.argsort(-np.abs(parts), axis=1)[:, :_REASONS]
    moved = np.take_along_axis(parts, order, axis=1)
    return [
        [{"feature": names[at], "contribution": part} for at, part in zip(places, by, strict=True) if part]
        for places, by in zip(order.tolist(), moved.astype(np.float64).tolist(), strict=True)
    ]
