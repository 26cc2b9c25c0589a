"""Commands of the path, a step each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from export import steps
from export.benchmark import told
from export.card import table
from export.errors import UsageError
from export.nextitem import commands as nextitem
from export.options import (
    ARTIFACTS,
    DATA,
    EVENTS,
    LICENCE,
    Data,
    Epochs,
    Events,
    HoursEvents,
    Into,
    Kind,
    Licence,
    Model,
    Out,
    Rule,
    Seed,
    Since,
    Version,
    work_of,
)
from export.report import evaluate_released, time_of, write_report
from export.tasks import task_of
from export.terminal import bar, done, say, warn


def _only_next_item(rule: list[str] | None) -> None:
    if rule:
        raise UsageError("--rule goes with --task next-item")


def dataset(
    model: Model,
    events: Events = EVENTS,
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
    work = work_of(model, out)
    origin = done(f"{model}: dataset", lambda: steps.make_dataset(work, events, seed, hours_events, time_of(since)))
    say(f"{origin.rows:,} rows in {work.directory / 'dataset.npz'}")


def train(
    model: Model,
    events: Events = EVENTS,
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
        with bar(f"{model}: train") as tell:
            nextitem.run_train(out, epochs, tell)
        return
    _only_next_item(rule)
    work = work_of(model, out)
    if not work.is_of(events, hours_events, time_of(since), seed, task_of(model).columns):
        dataset(model, events, work.directory, seed, since=since, hours_events=hours_events)
    with bar(f"{model}: train") as tell:
        figures = steps.train(work, epochs, tell)
    say(", ".join(f"{key} {value:.5g}" for key, value in figures.items()))


def evaluate(
    model: Model,
    events: Events = EVENTS,
    out: Out = None,
    released: Annotated[
        Path | None,
        typer.Option("--model", help="A released model, or the directory of a training: measured on any event log."),
    ] = None,
    since: Since = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures, with --model or --task.")] = None,
    last: Annotated[
        bool, typer.Option("--last", help="Of reorder: test the last basket of each customer, with --model.")
    ] = False,
    task: Kind = None,
) -> None:
    """Measures on the test period, beside baselines.

    Without --model, what `train` has left in the work directory, for the release. With it, a model on an event log that
    may be anybody's: baselines are fitted on what is before --from, and figures have 95% intervals.

    Examples: `tidecast-export evaluate next-best-offer`, `tidecast-export evaluate reorder --model
    models/artifacts/reorder/0.10.0 --events my-shop --from 2026-09-01 --json reorder.json`
    """
    if nextitem.is_next_item(model, task):
        with bar(f"{model}: evaluate") as tell:
            nextitem.run_evaluate(released or out, None if events == EVENTS else events, since, json, tell)
        return
    if released is not None:
        with bar(f"{model}: evaluate") as tell:
            metrics = evaluate_released(model, released, events, since, tell, warn, last)
        for line in table(metrics):
            typer.echo(line)
        if json is not None:
            write_report(json, model, events, metrics)
        return
    if since is not None or json is not None or last:
        raise UsageError("--from, --json and --last go with --model: a released model, or the directory of a training")
    work = work_of(model, out)
    evaluation = done(f"{model}: evaluate", lambda: steps.evaluate(work))
    for line in (*table(evaluation.metrics), *evaluation.notes):
        typer.echo(line)


def convert(model: Model, events: Events = EVENTS, out: Out = None, task: Kind = None) -> None:
    """Writes model.onnx. Example: `tidecast-export convert stockout`"""
    if nextitem.is_next_item(model, task):
        nextitem.run_convert(out)
        return
    work = work_of(model, out)
    path = done(f"{model}: convert", lambda: steps.convert_graph(work))
    say(f"{path}: {path.stat().st_size:,} bytes")


def verify(model: Model, events: Events = EVENTS, out: Out = None) -> None:
    """Compares onnxruntime with torch, and tries absurd inputs. Example: `tidecast-export verify reorder`"""
    work = work_of(model, out)
    verdict = done(f"{model}: verify", lambda: steps.verify_graph(work))
    if verdict.problems:
        raise UsageError("the graph is not fit for release:\n  " + "\n  ".join(verdict.problems))
    say(f"{verdict.parity.rows:,} rows, largest difference {verdict.parity.max_abs_difference:.2g}")


def quantize(model: Model, events: Events = EVENTS, out: Out = None) -> None:
    """Tries int8 and float16; keeps one only if outputs and ranks stay and it is faster. Example: `tidecast-export
    quantize reorder`"""
    work = work_of(model, out)
    for v in done(f"{model}: quantize", lambda: steps.quantize_graph(work)):
        say(f"{v.kind}: {'not kept: ' + v.why_not if v.why_not else 'passes'}")


def benchmark(model: Model, events: Events = EVENTS, out: Out = None) -> None:
    """Measures CPU time a row, on one core. Example: `tidecast-export benchmark stockout`"""
    work = work_of(model, out)
    for line in told(done(f"{model}: benchmark", lambda: steps.benchmark_graph(work))):
        typer.echo(line)


def release(
    model: Model,
    events: Events = EVENTS,
    out: Out = None,
    into: Into = ARTIFACTS,
    version: Version = "1.0.0",
    data: Data = DATA,
    licence: Licence = LICENCE,
    text: Annotated[
        Path | None,
        typer.Option(
            help="What you have to say of it, Markdown for its card.  [default: what the shipped model's says]"
        ),
    ] = None,
) -> None:
    """Writes the released model with manifest and card. Example: `tidecast-export release reorder --version 1.0.0`"""
    if text is not None and not text.is_file():
        raise UsageError(f"--text {text}: there is no such file")
    work = work_of(model, out)
    directory = steps.release_model(work, events, data, licence, version, into, text)
    say(f"released {directory}")
