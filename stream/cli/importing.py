"""`tidecast import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from stream.errors import UsageError


def import_(
    dataset: Annotated[str | None, typer.Argument(help="a known data set, such as online-retail")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="the event log to make")] = Path(".tidecast/events"),
    source: Annotated[Path | None, typer.Option(help="its file; the one that is shipped by default")] = None,
    mapping: Annotated[Path | None, typer.Option(help="a TOML mapping file, for your own table")] = None,
    table: Annotated[Path | None, typer.Option(help="your own CSV or parquet table")] = None,
    orders: Annotated[int | None, typer.Option(min=1, help="only the first so many placed orders")] = None,
    seed: Annotated[int, typer.Option(help="of all that is simulated")] = 7,
    simulate: Annotated[bool, typer.Option(help="make up the clicks, stock and offers that the set lacks")] = True,
) -> None:
    """Make an event log: a directory with one parquet file a topic, in arrival order.

    Examples:

        tidecast import online-retail --out .tidecast/online-retail

        tidecast import complete-journey --out .tidecast/complete-journey --no-simulate

        tidecast import freshretailnet --source freshretailnet.parquet --out .tidecast/freshretailnet

        tidecast import --table orders.csv --mapping orders.toml --out my-shop
    """
    if (dataset is None) == (mapping is None):
        raise UsageError("name a known data set, or give --table and --mapping; see `tidecast import --help`")
    if dataset is not None:
        _known(dataset, source, out, orders, seed, simulate)
    else:
        _own(table, mapping, out)


def _known(name: str, source: Path | None, out: Path, orders: int | None, seed: int, simulate: bool) -> None:
    from stream.demo.run import DATA
    from stream.imports import build_event_log, known_sets

    dataset = known_sets().get(name)
    if source is None and dataset is not None and dataset.default is not None:
        source = dataset.default()
    elif source is None and dataset is not None and not dataset.shipped:
        raise UsageError(f"{name} does not come with Tidecast; give its file as --source ({dataset.attribution})")
    with Progress() as bar:
        task = bar.add_task("import", total=1.0)
        info = build_event_log(
            name,
            source or DATA,
            out,
            orders,
            seed,
            simulate,
            lambda step, share: bar.update(task, description=step, completed=share),
        )
        bar.update(task, completed=1.0)
    console = Console(soft_wrap=True, markup=False)
    console.print(f"event log {out}: " + ", ".join(f"{topic} {n:,}" for topic, n in info.records.items()))
    report = out / "import_report.json"
    console.print(f"{info.attribution}; every input row is accounted for in {report}", style="dim")


def _own(table: Path | None, mapping: Path | None, out: Path) -> None:
    from stream.imports.mapping import import_table

    if table is None or mapping is None:
        raise UsageError("--mapping goes with --table; see `tidecast import --help`")
    report = import_table(mapping, table, out)
    typer.echo(f"{report.rows_read:,} rows read: {report.rows_used:,} are in {report.records:,} records of {out}")
    if report.rows_rejected:
        typer.echo(f"{report.rows_rejected:,} rows did not fit; {out / 'rejected.jsonl'} says which and why", err=True)
