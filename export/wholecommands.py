"""Commands that do several steps, or something beside the path."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from export import steps
from export.benchmarks import measured
from export.card import CARDS, table
from export.drift import MOVED
from export.options import (
    ARTIFACTS,
    DATA,
    EVENTS,
    LICENCE,
    LOGS,
    Data,
    Epochs,
    Events,
    HoursEvents,
    Into,
    Licence,
    Logs,
    Model,
    Seed,
    Version,
)
from export.pathcommands import benchmark, convert, dataset, evaluate, quantize, release, train, verify
from export.releases import RELEASES
from export.report import write_report
from export.tasks import MODELS
from export.terminal import bar, done, say, warn
from export.together import together


def drift(
    model: Model,
    released: Annotated[Path, typer.Option("--model", help="A released model's directory.")],
    events: Events = EVENTS,
    seed: Seed = 7,
) -> None:
    """Tells how far the features of an event log are from those of training, most moved first.

    By the population stability index: up to 0.1 is as it was, above 0.25 a feature has moved. Exit code 1 if one has.

    Example: `tidecast-export drift reorder --model models/artifacts/reorder/0.10.0 --events this-month`
    """
    found = done(f"{model}: drift", lambda: steps.drift_of(model, released, events, seed))
    for name, index in found.items():
        typer.echo(f"{index:8.3f}  {name}{'  MOVED' if index > MOVED else ''}")
    if any(index > MOVED for index in found.values()):
        raise typer.Exit(1)


def report(
    logs: Logs = LOGS,
    registry: Annotated[Path, typer.Option(help="Where released models live.")] = ARTIFACTS,
    model: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures.")] = None,
) -> None:
    """Measures the released models on the data that they were made for: what `make evaluate` runs.

    Example: `tidecast-export report --json models.json`, `tidecast-export report --model stockout`
    """
    with bar("report") as tell:
        for benchmark, metrics in measured(logs, registry, tuple(model or MODELS), tell, warn):
            variant = f", {benchmark.variant}" if benchmark.variant else ""
            say(f"{benchmark.model}{variant} on {benchmark.log}")
            for line in table(metrics):
                say(line)
            if json is not None:
                write_report(json, benchmark.model, logs / benchmark.log, metrics)


def import_model(
    path: Annotated[Path, typer.Argument(help="The model: .pt2 (torch.export), .pt (a pickled module) or .onnx.")],
    manifest: Annotated[Path, typer.Option(help="Its description, m.toml.")],
    into: Into = ARTIFACTS,
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
    directory = done(f"{told.name} {told.version}: import", lambda: bring_in(path, told, into, trust))
    say(f"released {directory}")


def everything(
    events: Events = EVENTS,
    out: Annotated[Path, typer.Option(help="Work directories, one a model, are made in it.")] = Path(
        ".tidecast/export"
    ),
    into: Into = ARTIFACTS,
    version: Version = "1.0.0",
    seed: Seed = 7,
    epochs: Epochs = None,
    data: Data = DATA,
    licence: Licence = LICENCE,
    hours_events: HoursEvents = None,
) -> None:
    """All steps for all models, several at a time where there are cores.

    Example: `tidecast-export all --events my-shop --into my-models --version 1.0`
    """
    hours = {"stockout": hours_events}
    together({model: partial(_learn, model, events, out / model, hours.get(model), seed, epochs) for model in MODELS})
    for model in MODELS:
        _finish(model, events, out / model, into, version, data, licence)


def shipped(
    logs: Logs = LOGS,
    out: Annotated[Path, typer.Option(help="Work directories, one a model, are made in it.")] = Path(
        ".tidecast/export"
    ),
    into: Into = ARTIFACTS,
    model: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again.")] = None,
    seed: Seed = 7,
) -> None:
    """Makes the shipped models from the logs that `make logs` makes, several at a time where there are cores: what
    `make models` runs.

    Example: `tidecast-export shipped --model stockout --into my-models`
    """
    wanted = [one for one in RELEASES if one.model in (model or MODELS)]
    hours = {one.key: logs / one.hours_log if one.hours_log else None for one in wanted}
    together(
        {
            one.key: partial(_learn, one.model, logs / one.log, out / one.key, hours[one.key], seed, None)
            for one in sorted(wanted, key=lambda one: hours[one.key] is None)  # what takes longest begins first
        }
    )
    for one in wanted:
        told = (one.version, one.data, one.licence, CARDS / f"{one.key}.md")
        _finish(one.model, logs / one.log, out / one.key, into, *told)


def _learn(model: str, events: Path, work: Path, hours_events: Path | None, seed: int, epochs: int | None) -> None:
    """The steps that may run beside those of other models."""
    dataset(model, events, work, seed, hours_events=hours_events)
    train(model, events, work, epochs, seed, hours_events=hours_events)
    for step in (evaluate, convert, verify):
        step(model, events, work)


def _finish(
    model: str, events: Path, work: Path, into: Path, version: str, data: str, licence: str, text: Path | None = None
) -> None:
    """The steps that measure what the graph costs, alone on the machine, and the release."""
    for step in (quantize, benchmark):
        step(model, events, work)
    release(model, events, work, into, version, data, licence, text)
