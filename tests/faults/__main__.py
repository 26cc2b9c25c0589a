"""`python -m tests.faults`: breaks it, and looks whether it holds."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from stream.errors import UsageError
from tests.faults.fault import kinds
from tests.faults.mutations import names
from tests.faults.plan import PROTOCOLS, plans
from tests.faults.report import explained, summary, told, write_report
from tests.faults.run import Result
from tests.faults.suite import Options, Suite, default_lanes

_KINDS = "\n".join(f"    {name:<18} {kind.doc}" for name, kind in kinds().items())
_HELP = f"""Runs workers as real processes against real Kafka and Valkey, on real orders, with faults drawn from a seed.

Each run is compared with one that nothing disturbed: every order line gives one `demand` record, features are equal bit
for bit, last scores within 1e-6, alerts the same, nothing twice, nothing lost, dead letters exactly the poison.

\b
Kinds of faults:
{_KINDS}

\b
Examples:
    python -m tests.faults --runs 40 --json faults.json
    python -m tests.faults --only killed-at-step,zombie --runs 20 --seed 1000
    python -m tests.faults --replay 1017 --keep

The same seed draws the same plan. A run that failed keeps its logs. Exit code 0: all runs hold; 1: some do not; 2: it
could not be tried. Needs Java 17 and Maven (for Apache Kafka) and Linux.
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
console = Console(soft_wrap=True)


@app.command(help=_HELP)
def main(
    runs: Annotated[int, typer.Option(min=1, help="how many")] = 40,
    seed: Annotated[int, typer.Option(help="of the first run; the next has the next one")] = 1,
    json: Annotated[Path | None, typer.Option(help="writes what came of it")] = None,
    only: Annotated[str, typer.Option(help="kinds of faults, comma-separated: seeds without any are passed over")] = "",
    replay: Annotated[int | None, typer.Option(help="this seed alone")] = None,
    group_protocol: Annotated[str | None, typer.Option(help=f"one of {', '.join(PROTOCOLS)}; else drawn")] = None,
    lanes: Annotated[int, typer.Option(min=1, help="runs at once, each on brokers of its own")] = default_lanes(),
    mutation: Annotated[str, typer.Option(help=f"breaks the protocol on purpose: {', '.join(names())}")] = "",
    keep: Annotated[bool, typer.Option(help="keep the logs of all runs")] = False,
    directory: Annotated[Path, typer.Option(help="for logs")] = Path(".tidecast/faults"),
) -> None:
    """See the help above."""
    chosen = [name for name in only.split(",") if name]
    try:
        _check(chosen, group_protocol, mutation)
        first, count = (seed, runs) if replay is None else (replay, 1)
        drawn = [replace(plan, mutation=mutation) for plan in plans(count, first, chosen, group_protocol)]
        suite = Suite(Options(directory.absolute(), lanes, keep or replay is not None), drawn)
        _show(suite)
    except UsageError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(2)
    if json is not None:
        write_report(suite, json)
    for result in suite.void:
        console.print(escape(f"void, carried out again: {told(result)}: {result.problems[-1].what}"), highlight=False)
    console.print(f"[bold]{summary(suite.results)}[/] ({suite.broker})")
    every = [*suite.references.values(), *suite.results]
    sys.exit(1 if any(r.problems for r in every) else 0)


def _check(chosen: list[str], protocol: str | None, mutation: str) -> None:
    for given, known, what in (
        (chosen, list(kinds()), "kind of fault"),
        ([protocol] if protocol else [], PROTOCOLS, "group protocol"),
        ([mutation] if mutation else [], names(), "mutation"),
    ):
        if strange := [name for name in given if name not in known]:
            raise UsageError(f"no {what} is called {strange[0]!r}; there are {', '.join(known)}")


def _show(suite: Suite) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("runs", total=len(suite.plans))

        def tell(result: Result) -> None:
            mark = "[red]✗[/]" if result.problems else "[green]✓[/]"
            progress.console.print(f"{mark} {escape(told(result))}", highlight=False)
            for line in explained(result) if result.problems else ():
                progress.console.print(escape(line), highlight=False)
            if result.plan.faults:
                progress.advance(task)

        suite.told = tell
        suite.run()


if __name__ == "__main__":
    app()
