"""The command `tidecast-export`: from an event log to released models."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from export import steps
from export.benchmark import told
from export.benchmarks import measured
from export.card import table
from export.drift import MOVED
from export.errors import UsageError
from export.nextitem import commands as nextitem
from export.report import evaluate_released, time_of, write_report
from export.tasks import MODELS, task_of
from export.tasks.base import Tell
from export.work import Work

app = typer.Typer(
    name="tidecast-export",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="""Trains Tidecast's models on an event log and releases them as ONNX.

The steps, in order: **dataset → train → evaluate → convert → verify → quantize → benchmark → release**.
A model that was trained elsewhere: **import-model**.
Each leaves its result in a work directory.

Examples:

- `tidecast import online-retail --out events` then `tidecast-export all --events events`: everything, all models
- `tidecast-export dataset reorder --events events`
- `tidecast-export train reorder --events events --epochs 4`
- `tidecast-export release reorder --events events --into models/artifacts --version 0.2.0`
""",
)
console = Console(stderr=True)

Model = Annotated[str, typer.Argument(help=f"One of {', '.join(MODELS)}.")]
Events = Annotated[
    Path, typer.Option(help="Event log: a directory with a parquet or JSONL file a topic, such as orders.parquet.")
]
Out = Annotated[
    Path | None, typer.Option(help="Work directory.  [default: .tidecast/export/MODEL]", show_default=False)
]
Since = Annotated[
    str | None,
    typer.Option("--from", help="The test begins on this date (UTC, 2011-10-16).  [default: near the log's end]"),
]
Seed = Annotated[int, typer.Option(help="Of samples, weights and order of rows.")]
Epochs = Annotated[
    int | None, typer.Option(help="At most so many passes.  [default: the model's own]", show_default=False)
]
HoursEvents = Annotated[
    Path | None,
    typer.Option(help="For stockout: another event log, with sales by the hour.", show_default=False),
]
Into = Annotated[Path, typer.Option(help="Where released models live.")]
Version = Annotated[str, typer.Option(help="Dotted; newer sorts later.")]
Data = Annotated[str, typer.Option(help="What the manifest says of the data.")]
Licence = Annotated[str, typer.Option(help="Licence of the data.")]

Kind = Annotated[
    str | None,
    typer.Option("--task", help="`next-item`, of next-best-offer: what a session views next; needs clicks only."),
]
Rule = Annotated[
    list[str] | None,
    typer.Option("--rule", help="With --task next-item: gap_minutes=30, least_views=2 or least_seen=5, repeatable."),
]

_DATA = "Online Retail, Daqing Chen, UCI Machine Learning Repository, DOI 10.24432/C5BW33"
_LICENCE = "CC BY 4.0"
_ARTIFACTS = Path("models/artifacts")
_EVENTS = Path(".tidecast/events")


def _work(model: str, out: Path | None) -> Work:
    task_of(model)
    return Work(model, out or Path(".tidecast/export") / model)


@contextmanager
def _bar(title: str) -> Iterator[Tell]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(title, total=1.0, note="")
        yield lambda note, share: progress.update(bar, completed=share, note=note)
        progress.update(bar, completed=1.0)


def _warn(text: str) -> None:
    console.print(f"[yellow]warning:[/yellow] {text}")


def _done(title: str, run: Callable[[], Any]) -> Any:
    start = time.monotonic()
    with console.status(title):
        result = run()
    console.print(f"{title}: {time.monotonic() - start:.1f} s")
    return result


def _only_next_item(rule: list[str] | None) -> None:
    if rule:
        raise UsageError("--rule goes with --task next-item")


@app.command()
def dataset(
    model: Model,
    events: Events = _EVENTS,
    out: Out = None,
    seed: Seed = 7,
    task: Kind = None,
    since: Since = None,
    rule: Rule = None,
    hours_events: HoursEvents = None,
) -> None:
    """Makes point-in-time rows with labels. Example: `tidecast-export dataset stockout --events events`"""
    if nextitem.is_next_item(model, task):
        nextitem.run_dataset(out, events, rule or (), seed, since)
        return
    _only_next_item(rule)
    work = _work(model, out)
    origin = _done(f"{model}: dataset", lambda: steps.make_dataset(work, events, seed, hours_events, time_of(since)))
    console.print(f"{origin.rows:,} rows in {work.directory / 'dataset.npz'}")


@app.command()
def train(
    model: Model,
    events: Events = _EVENTS,
    out: Out = None,
    epochs: Epochs = None,
    seed: Seed = 7,
    task: Kind = None,
    since: Since = None,
    rule: Rule = None,
    hours_events: HoursEvents = None,
) -> None:
    """Trains on the data set, which is made first where there is none of these events. A training that was cut off goes
    on after its last epoch.

    Example: `tidecast-export train reorder --events my-shop --out work`
    """
    if nextitem.is_next_item(model, task):
        nextitem.run_dataset(out, events, rule or (), seed, since)
        with _bar(f"{model}: train") as tell:
            nextitem.run_train(out, epochs, tell)
        return
    _only_next_item(rule)
    work = _work(model, out)
    if not work.is_of(events, hours_events, time_of(since)):
        dataset(model, events, work.directory, seed, since=since, hours_events=hours_events)
    with _bar(f"{model}: train") as tell:
        figures = steps.train(work, epochs, tell)
    console.print(", ".join(f"{key} {value:.5g}" for key, value in figures.items()))


@app.command()
def evaluate(
    model: Model,
    events: Events = _EVENTS,
    out: Out = None,
    released: Annotated[
        Path | None, typer.Option("--model", help="A released model's directory: it is measured on any event log.")
    ] = None,
    since: Since = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures, with --model or --task.")] = None,
    task: Kind = None,
) -> None:
    """Measures on the test period, beside baselines.

    Without --model, what `train` has left in the work directory. With it, a released model on an event log that may be
    anybody's: baselines are fitted on what is before --from, and figures have 95% intervals.

    Examples: `tidecast-export evaluate next-best-offer`, `tidecast-export evaluate reorder --model
    models/artifacts/reorder/0.2.0 --events my-shop --from 2011-10-16 --json reorder.json`
    """
    if nextitem.is_next_item(model, task):
        with _bar(f"{model}: evaluate") as tell:
            nextitem.run_evaluate(released or out, None if events == _EVENTS else events, since, json, tell)
        return
    if released is not None:
        with _bar(f"{model}: evaluate") as tell:
            metrics = evaluate_released(model, released, events, since, tell, _warn)
        for line in table(metrics):
            typer.echo(line)
        if json is not None:
            write_report(json, model, events, metrics)
        return
    if since is not None or json is not None:
        raise UsageError("--from and --json go with --model, the directory of a released model")
    work = _work(model, out)
    evaluation = _done(f"{model}: evaluate", lambda: steps.evaluate(work))
    for line in (*table(evaluation.metrics), *evaluation.notes):
        typer.echo(line)


@app.command()
def drift(
    model: Model,
    released: Annotated[Path, typer.Option("--model", help="A released model's directory.")],
    events: Events = _EVENTS,
    seed: Seed = 7,
) -> None:
    """Tells how far the features of an event log are from those of training, most moved first.

    By the population stability index: up to 0.1 is as it was, above 0.25 a feature has moved. Exit code 1 if one has.

    Example: `tidecast-export drift reorder --model models/artifacts/reorder/0.3.0 --events this-month`
    """
    found = _done(f"{model}: drift", lambda: steps.drift_of(model, released, events, seed))
    for name, index in found.items():
        typer.echo(f"{index:8.3f}  {name}{'  MOVED' if index > MOVED else ''}")
    if any(index > MOVED for index in found.values()):
        raise typer.Exit(1)


@app.command()
def convert(model: Model, events: Events = _EVENTS, out: Out = None, task: Kind = None) -> None:
    """Writes model.onnx. Example: `tidecast-export convert stockout`"""
    if nextitem.is_next_item(model, task):
        nextitem.run_convert(out)
        return
    work = _work(model, out)
    path = _done(f"{model}: convert", lambda: steps.convert_graph(work))
    console.print(f"{path}: {path.stat().st_size:,} bytes")


@app.command()
def verify(model: Model, events: Events = _EVENTS, out: Out = None) -> None:
    """Compares onnxruntime with torch, and tries absurd inputs. Example: `tidecast-export verify reorder`"""
    work = _work(model, out)
    verdict = _done(f"{model}: verify", lambda: steps.verify_graph(work))
    if verdict.problems:
        raise UsageError("the graph is not fit for release:\n  " + "\n  ".join(verdict.problems))
    console.print(f"{verdict.parity.rows:,} rows, largest difference {verdict.parity.max_abs_difference:.2g}")


@app.command()
def quantize(model: Model, events: Events = _EVENTS, out: Out = None) -> None:
    """Tries int8 and float16; keeps one only if outputs and ranks stay and it is faster. Example: `tidecast-export
    quantize reorder`"""
    work = _work(model, out)
    for v in _done(f"{model}: quantize", lambda: steps.quantize_graph(work)):
        console.print(f"{v.kind}: {'not kept: ' + v.why_not if v.why_not else 'passes'}")


@app.command()
def benchmark(model: Model, events: Events = _EVENTS, out: Out = None) -> None:
    """Measures CPU time a row, on one core. Example: `tidecast-export benchmark stockout`"""
    work = _work(model, out)
    for line in told(_done(f"{model}: benchmark", lambda: steps.benchmark_graph(work))):
        typer.echo(line)


@app.command()
def release(
    model: Model,
    events: Events = _EVENTS,
    out: Out = None,
    into: Into = _ARTIFACTS,
    version: Version = "0.2.0",
    data: Data = _DATA,
    licence: Licence = _LICENCE,
) -> None:
    """Writes the released model with manifest and card. Example: `tidecast-export release reorder --version 0.2.0`"""
    work = _work(model, out)
    directory = steps.release_model(work, events, data, licence, version, into)
    console.print(f"released {directory}")


@app.command()
def report(
    logs: Annotated[Path, typer.Option(help="Holds the event logs that `make logs` makes.")] = Path(".tidecast/logs"),
    registry: Annotated[Path, typer.Option(help="Where released models live.")] = _ARTIFACTS,
    model: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures.")] = None,
) -> None:
    """Measures the released models on the data that they were made for: what `make evaluate` runs.

    Example: `tidecast-export report --json models.json`, `tidecast-export report --model stockout`
    """
    with _bar("report") as tell:
        for benchmark, metrics in measured(logs, registry, tuple(model or MODELS), tell, _warn):
            console.print(f"[bold]{benchmark.model}[/bold] on {benchmark.log}")
            for line in table(metrics):
                console.print(line, markup=False)
            if json is not None:
                write_report(json, benchmark.model, logs / benchmark.log, metrics)


@app.command(name="import-model")
def import_model(
    path: Annotated[Path, typer.Argument(help="The model: .pt2 (torch.export), .pt (a pickled module) or .onnx.")],
    manifest: Annotated[Path, typer.Option(help="Its description, m.toml.")],
    into: Into = _ARTIFACTS,
    trust: Annotated[bool, typer.Option("--trust", help="Open a pickled module, which runs its maker's code.")] = False,
) -> None:
    """Brings a model that was trained elsewhere into the registry, checked: what it gives in onnxruntime is what torch
    gives, at any batch size, and stays in range on absurd inputs.

    Example: `tidecast-export import-model churn.pt2 --manifest m.toml --into models/artifacts`, then
    `tidecast run --set models.directory=models/artifacts`. docs/tutorial-own-model.md goes through it.
    """
    from export.foreign.description import read_description
    from export.foreign.importing import import_model as bring_in

    told = read_description(manifest)
    directory = _done(f"{told.name} {told.version}: import", lambda: bring_in(path, told, into, trust))
    console.print(f"released {directory}")


@app.command(name="all")
def everything(
    events: Events = _EVENTS,
    out: Annotated[Path, typer.Option(help="Work directories, one a model, are made in it.")] = Path(
        ".tidecast/export"
    ),
    into: Into = _ARTIFACTS,
    version: Version = "0.2.0",
    seed: Seed = 7,
    epochs: Epochs = None,
    data: Data = _DATA,
    licence: Licence = _LICENCE,
    hours_events: HoursEvents = None,
) -> None:
    """All steps for all models. Example: `tidecast-export all --events events`"""
    for model in MODELS:
        work = out / model
        more = hours_events if model == "stockout" else None
        dataset(model, events, work, seed, hours_events=more)
        train(model, events, work, epochs, seed, hours_events=more)
        evaluate(model, events, work)
        convert(model, events, work)
        verify(model, events, work)
        quantize(model, events, work)
        benchmark(model, events, work)
        release(model, events, work, into, version, data, licence)


def main() -> None:
    """Runs the command; a usage error is one message and exit code 2."""
    try:
        app()
    except UsageError as error:
        console.print(f"[red]tidecast-export:[/red] {error}")
        sys.exit(2)
