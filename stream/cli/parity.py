"""`tidecast parity`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from stream.cli.options import Bootstrap, Config, Set, loaded

if TYPE_CHECKING:
    from stream.parity import Report
    from stream.settings import Settings

_CACHE = Path(".tidecast")


def parity(
    events: Annotated[
        Path | None,
        typer.Argument(help="the event log that was replayed onto empty topics [default: the input topics themselves]"),
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="logged vectors, one JSON record a line [default: the topic feature-log]")
    ] = None,
    partitions: Annotated[int | None, typer.Option(min=1, help="of the topics, where no broker is to be asked")] = None,
    replay: Annotated[
        bool, typer.Option(help="from nothing: start a broker, a store and a worker, replay real orders, check all")
    ] = False,
    orders: Annotated[int, typer.Option(min=1, help="with --replay: how many placed orders")] = 3_000,
    json: Annotated[Path | None, typer.Option("--json", help="write the report to this file")] = None,
    config: Config = None,
    flags: Set = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Recompute the feature vectors that the live engine scored, and compare them bit for bit.

    The worker logs a share of its vectors (setting feature_log.share) with the offsets that they reflect. This command
    folds the events anew up to those offsets and tells for each feature how many values match, differ, are missing
    (the engine had none) or extra (the engine had one too many). With every vector logged, an entity whose newest event
    is in no vector is missing, too; gaps before it are not seen. Vectors of erased entities, and of other versions of
    the features, are counted and not checked. What was known beside the events, such as lead times, is taken from the
    log. The topic keeps all vectors for a week, and then the last of each entity.

    Exit codes: 0 all match, 1 something differs or nothing was logged, 2 it could not be checked.

    Examples:

        tidecast parity

        tidecast parity .tidecast/online-retail --json parity.json

        tidecast parity --replay --orders 3000 --json parity.json
    """
    from stream.parity import Logged, check, read_vectors, vectors_in

    console = Console(stderr=True)
    if replay:
        report = _from_nothing(orders, console)
    else:
        settings = loaded(config, flags, bootstrap).settings
        with console.status("reading vectors …") as status:
            logged = read_vectors(settings) if vectors is None else Logged(list(vectors_in(vectors)))
            report = check(settings, logged, events, partitions, lambda step: status.update(f"{step} …"))
    _tell(report)
    if json is not None:
        json.write_bytes(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2) + b"\n")
    if report.vectors == 0:
        console.print("no vector was logged: set feature_log.share above 0 (`tidecast config show`)")
    if not report.good or report.vectors == 0:
        raise typer.Exit(1)


def _from_nothing(orders: int, console: Console) -> Report:
    from stream.demo.run import Demo, DemoOptions
    from stream.parity import check, read_vectors

    reports: list[Report] = []

    def compare(settings: Settings, events: Path) -> None:
        with console.status("reading vectors …") as status:
            logged = read_vectors(settings)
            reports.append(check(settings, logged, events, None, lambda step: status.update(f"{step} …")))

    options = DemoOptions(orders, speed=0, seed=7, headless=True, json=None, cache=_CACHE)
    Demo(options, console, {"TIDECAST_FEATURE_LOG__SHARE": "1"}, compare).run()
    return reports[0]


def _tell(report: Report) -> None:
    table = Table(box=None, header_style="dim")
    for title in ("view", "feature", "match", "mismatch", "missing", "extra"):
        table.add_column(title, justify="left" if title in ("view", "feature") else "right")
    for view, features in sorted(report.views.items()):
        for feature, counts in sorted(features.items()):
            table.add_row(view, feature, *(f"{n:,}" for n in counts.values()))
    console = Console()
    console.print(table)
    told = ", ".join(f"{n:,} {outcome}" for outcome, n in report.counts.items())
    console.print(f"{report.vectors:,} vectors: {told}", highlight=False)
    if report.behind:
        console.print(
            f"{report.behind:,} read products or regions before all of the day or hour had come: that is not compared"
        )
    if report.unchecked:
        console.print(
            f"{report.unchecked:,} more were not checked: of erased entities, or of other features than are set here; "
            "ask with the worker's own settings (models.directory, models.variant)"
        )
    for example in report.examples[:5]:
        console.print_json(data=example)
