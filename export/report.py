"""Reports: released models on event logs, as figures that scripts can read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from export.errors import UsageError
from export.release import draft
from export.steps import convert_graph
from export.tasks import task_of
from export.tasks.base import Task, Tell
from export.work import Work
from models.manifest import Metric, read_manifest


class Line(msgspec.Struct, frozen=True):
    """A figure in a report; `baselines` are of the same rows."""

    model: str
    dataset: str
    metric: str
    value: float
    ci95: tuple[float, float] | None
    baselines: dict[str, float]


def evaluate_released(
    model: str,
    directory: Path,
    events: Path,
    since: str | None,
    tell: Tell,
    warn: Callable[[str], None] = lambda text: None,
    last: bool = False,
) -> list[Metric]:
    """Measures a released model on the end of an event log.

    Args:
        directory: of the released model, or the work directory where one was trained.
        since: the date (UTC) from which on is tested; None takes the log's own split.
        tell: hears what is being done, and the share done.
        warn: hears why figures must not be believed.
        last: test the last basket of each customer instead, of reorder.

    Raises:
        UsageError: no such model or date, or nothing to test.
    """
    task = task_of(model)
    module = f"export.evaluations.{model.replace('-', '_')}"
    if find_spec(module) is None:
        raise UsageError(
            f"{model} has no evaluation on other event logs yet; without --model it is measured on its own"
        )
    from_ms = time_of(since)
    if not (directory / "manifest.json").exists():
        directory = _drafted(task, directory)
    trained = read_manifest(directory).training.trained_until
    if since is not None and since <= trained:
        warn(f"the model was fitted on rows until {trained}: from {since} on, figures are too good")
    measured: Any = import_module(module)
    if last and not hasattr(measured, "evaluate_last"):
        raise UsageError(f"--last goes with reorder; {model} knows no last basket")
    found: list[Metric] = (
        measured.evaluate_last(directory, events) if last else measured.evaluate(directory, events, from_ms, tell=tell)
    )
    return found


def _drafted(task: Task, directory: Path) -> Path:
    """A model under way as if it were released."""
    work = Work(task.name, directory)
    if not (directory / "checkpoint.pt").exists():
        raise UsageError(f"{directory} has neither a released model (manifest.json) nor a trained one (checkpoint.pt)")
    if not (directory / "model.onnx").exists():
        convert_graph(work)
    return draft(task, work, directory / "draft")


def time_of(date: str | None, option: str = "--from") -> int | None:
    """The event time at which a date begins, UTC; `option` is what a message calls it.

    >>> time_of("1970-01-02")
    86400000
    """
    if date is None:
        return None
    try:
        time = dt.datetime.fromisoformat(date)
        return int((time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp() * 1000)
    except ValueError as error:
        raise UsageError(f"{option} {date}: {error}; give a date such as 2011-10-16") from error


def write_report(path: Path, model: str, dataset: Path, metrics: Sequence[Metric]) -> None:
    """Writes a list of figures as JSON, in place of those of this model on this data; others in the file stay.

    The data set's name is that of its directory.
    """
    of = dataset.resolve().name
    mine = [Line(model, of, m.name, m.value, m.ci95, m.baselines) for m in metrics]
    there = msgspec.json.decode(path.read_bytes(), type=list[Line]) if path.exists() else []
    kept = [line for line in there if (line.model, line.dataset) != (model, of)]
    path.write_bytes(msgspec.json.format(msgspec.json.encode([*kept, *mine]), indent=2) + b"\n")
