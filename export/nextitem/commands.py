"""What `tidecast-export … next-best-offer --task next-item` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from export.card import table
from export.errors import UsageError
from export.nextitem.convert import convert
from export.nextitem.learn import train
from export.nextitem.measure import evaluate
from export.nextitem.plan import Plan, make_plan, read_plan, rules_of
from export.report import time_of, write_report
from export.tasks.base import Tell
from export.work import Work

TASK, MODEL = "next-item", "next-best-offer"


def is_next_item(model: str, task: str | None) -> bool:
    """Whether this task is asked for.

    Raises:
        UsageError: another task, or one of another model.
    """
    if task is not None and (task, model) != (TASK, MODEL):
        raise UsageError(f"{model} has no task {task!r}; tasks are: {TASK}, of {MODEL}")
    return task is not None


def work_of(out: Path | None) -> Work:
    """The work directory."""
    return Work(MODEL, out or Path(".tidecast/export") / TASK)


def run_dataset(out: Path | None, events: Path, rules: Sequence[str], seed: int, since: str | None) -> Plan:
    """Makes the data set, if it is not there yet, and says what is in it."""
    plan = make_plan(work_of(out), events, rules_of(rules), seed, time_of(since))
    typer.echo(plan.told())
    return plan


def run_train(out: Path | None, epochs: int | None, tell: Tell) -> None:
    """Trains."""
    figures = train(work_of(out), epochs, tell)
    typer.echo(", ".join(f"{key} {value:.4g}" for key, value in figures.items()))


def run_evaluate(out: Path | None, events: Path | None, since: str | None, json: Path | None, tell: Tell) -> None:
    """Measures, and writes the figures."""
    work = work_of(out)
    metrics, notes = evaluate(work, events, time_of(since), tell)
    for line in (*table(metrics), *notes):
        typer.echo(line)
    if json is not None:
        write_report(json, f"{MODEL}/{TASK}", events or Path(read_plan(work).events), metrics)


def run_convert(out: Path | None) -> None:
    """Writes the graph."""
    work = work_of(out)
    gap = convert(work)
    path = work.path("model.onnx")
    typer.echo(f"{path}: {path.stat().st_size:,} bytes; torch and onnxruntime differ by {gap:.2g} at most")
