"""`tidecast features history`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from stream.cli.options import Bootstrap, Config, Set, loaded
from stream.errors import UsageError

if TYPE_CHECKING:
    from features.history import Progress as Telling
    from features.history import Told
    from features.view import View
    from stream.settings import KafkaSettings


def history(
    events: Annotated[str, typer.Argument(help="an event log; or kafka: the input topics as they are now")],
    view: Annotated[list[str], typer.Option(help="a view to give columns of; can be given again")],
    as_of: Annotated[Path, typer.Option(help="the spine, parquet, CSV or JSONL: for whom and as of when")],
    out: Annotated[Path, typer.Option("--out", "-o", help="the parquet file to make")],
    by: Annotated[
        Literal["event-time", "arrival"],
        typer.Option(help="what a row sees: events that happened before it, or that had arrived"),
    ] = "event-time",
    include_equal: Annotated[bool, typer.Option(help="see events of exactly the row's time too")] = False,
    sequences: Annotated[bool, typer.Option(help="give sequence columns too, as lists")] = False,
    memory_rows: Annotated[int, typer.Option(min=1_000, help="rows held in memory at once, about")] = 2_000_000,
    config: Config = None,
    flags: Set = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Point-in-time rows for training: the columns of views as of each row's time, from an event log.

    The spine has a column customer (or customer_id) or item (location:sku), and as_of_ms (ms since 1970, UTC) or
    as_of (a time). Its rows come back in their order, with all their columns.

    Examples:

        tidecast features history my-log --view customer_orders --as-of spine.parquet --out rows.parquet

        tidecast features history kafka --view item_stock --as-of spine.csv --out rows.parquet --by arrival
    """
    from features.history import Asked, By, HistoryError
    from features.history import history as run
    from features.logfile import EventLogError
    from features.logrows import TOPIC_OF

    views = _views(view)
    asked = Asked(views, By(by), include_equal, sequences, memory_rows)
    kafka = loaded(config, flags, bootstrap).settings.kafka if events == "kafka" else None
    topics = sorted({TOPIC_OF[v.stream] for v in views})
    try:
        with _log(events, out, kafka, topics) as log, _bar() as telling:
            told = run(log, as_of, out, asked, telling)
    except (FileNotFoundError, EventLogError, HistoryError) as error:
        raise UsageError(str(error)) from error
    _tell(told, out)


def _views(names: list[str]) -> tuple[View, ...]:
    from features.discovery import discover
    from features.errors import ViewError

    try:
        known = discover()
    except ViewError as error:
        raise UsageError(str(error)) from error
    for name in names:
        if name not in known:
            raise UsageError(f"there is no view {name!r}; there are {', '.join(sorted(known))}")
    return tuple(known[name] for name in dict.fromkeys(names))


@contextmanager
def _log(events: str, out: Path, kafka: KafkaSettings | None, topics: list[str]) -> Iterator[Path]:
    """The event log; for `kafka` one that is recorded first, and removed afterwards."""
    if kafka is None:
        yield Path(events)
        return
    from stream.cli.record import recorded

    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}-log-", dir=out.parent) as directory:
        recorded(kafka, Path(directory), topics)
        yield Path(directory)


@contextmanager
def _bar() -> Iterator[Telling]:
    """A progress bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:20}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("history", total=1.0)
        yield lambda step, share: bar.update(task, description=step, completed=share)


def _tell(told: Told, out: Path) -> None:
    typer.echo(f"{told.rows:,} rows in {out}")
    for topic, count in told.events.items():
        typer.echo(f"{topic}: {count:,} events read, {told.duplicates.get(topic, 0):,} duplicates dropped")
    for view, count in told.missing.items():
        typer.echo(f"{view}: nothing known for {count:,} rows")
