"""The command that tells of every shelf what a released stock-out model says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.table import Column, Table

from export.errors import UsageError
from export.options import ARTIFACTS, EVENTS, Events
from export.report import time_of
from export.shelves import check_form, shelves_of, when, written
from export.terminal import bar, console, say
from models.manifest import versions

_MODEL = "stockout"
#: Reasons that are shown of each; the file has more.
_SHOWN = 2


def shelves(
    events: Events = EVENTS,
    at: Annotated[
        str | None,
        typer.Option(help="As of this time (UTC, 2026-06-24T12:00), to the hour.  [default: the log's end]"),
    ] = None,
    released: Annotated[
        Path | None,
        typer.Option("--model", help="A released model's directory.  [default: the newest in models/artifacts]"),
    ] = None,
    top: Annotated[int, typer.Option(help="So many items are shown, those likely to run out first.", min=0)] = 20,
    out: Annotated[Path | None, typer.Option(help="Write all items: a .jsonl, .csv or .parquet file.")] = None,
) -> None:
    """Tells of every item whether it runs out in the next four opening hours, though nobody knows its stock level, and
    what its next day will ask for.

    Reads an event log whose inventory tells `units_sold`, `ran_out` and `restocked` by the hour; nothing that came at
    that time or later. Run it every hour: `tidecast record` keeps such a log from Kafka.

    Example: `tidecast-export shelves --events shop --at 2024-06-24T12:00 --out risks.jsonl`
    """
    at_ms = time_of(at, "--at")
    if out is not None:
        check_form(out)
    model_dir = released or _newest(ARTIFACTS)
    with bar("shelves") as tell:
        found = shelves_of(events, model_dir, at_ms, tell)
    if top:
        console.print(_shown(found.head(top)))
    if out is not None:
        written(found, out)
        say(f"{len(found):,} items in {out}")


def _newest(registry: Path) -> Path:
    known = versions(registry, _MODEL)
    if not known:
        raise UsageError(f"there is no {_MODEL} model in {registry}; give one with --model")
    return registry / _MODEL / known[-1]


def _shown(found: pl.DataFrame) -> Table:
    as_of = f"as of {when(found['as_of_ms'][0])}, UTC" if len(found) else "no items"
    item = Column("item", no_wrap=True, overflow="fold")
    shut = "" if found["p_out_1h"].is_not_null().any() else "; the shops are closed"
    table = Table(item, "1 h", "2 h", "4 h", "why", "day", "demand (80%)", title=f"runs out within, {as_of}{shut}")
    for row in found.iter_rows(named=True):
        risk = [_percent(row[f"p_out_{hours}h"]) for hours in (1, 2, 4)]
        where = f"{row['location']}:{row['sku']}" + ("" if row["in_stock"] else " (out of stock)")
        table.add_row(where, *risk, _words(row["why"]), str(row["day"]), _demand(row))
    return table


def _percent(p: float | None) -> str:
    return "" if p is None else f"{p:.0%}"


def _words(why: list[dict[str, Any]]) -> str:
    return ", ".join(f"{part['feature'].replace('_', ' ')} {part['contribution']:+.2f}" for part in why[:_SHOWN])


def _demand(row: dict[str, Any]) -> str:
    if row["demand_q50"] is None:
        return ""
    return f"{row['demand_q50']:.1f} ({row['demand_q10']:.1f}–{row['demand_q90']:.1f})"
