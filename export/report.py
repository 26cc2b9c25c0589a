"""Reports: released models on event logs, as figures that scripts can read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import msgspec

from export.errors import UsageError
from export.tasks import task_of
from export.tasks.base import Tell
from models.manifest import Metric


class Line(msgspec.Struct, frozen=True):
    """A figure in a report; `baselines` are of the same rows."""

    model: str
    dataset: str
    metric: str
    value: float
    ci95: tuple[float, float] | None
    baselines: dict[str, float]


def evaluate_released(model: str, directory: Path, events: Path, since: str | None, tell: Tell) -> list[Metric]:
    """Measures a released model on the end of an event log.

    Args:
        since: the date (UTC) from which on is tested; None takes the log's own split.

    Raises:
        UsageError: no such model or date, or nothing to test.
    """
    task_of(model)
    module = f"export.evaluations.{model.replace('-', '_')}"
    if find_spec(module) is None:
        raise UsageError(
            f"{model} has no evaluation on other event logs yet; without --model it is measured on its own"
        )
    found: list[Metric] = import_module(module).evaluate(directory, events, time_ms(since), tell=tell)
    return found


def time_ms(date: str | None) -> int | None:
    """The event time of `--from`: a date or a time, UTC.

    >>> time_ms("1970-01-02")
    86400000
    """
    if date is None:
        return None
    try:
        time = dt.datetime.fromisoformat(date)
        return int((time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp() * 1000)
    except ValueError as error:
        raise UsageError(f"--from {date}: {error}; give a date such as 2011-10-16") from error


def write_report(path: Path, model: str, dataset: Path, metrics: Sequence[Metric]) -> None:
    """Writes a list of figures as JSON; those of other models or data that are in the file already stay."""
    mine = [Line(model, str(dataset), m.name, m.value, m.ci95, m.baselines) for m in metrics]
    there = msgspec.json.decode(path.read_bytes(), type=list[Line]) if path.exists() else []
    kept = [line for line in there if (line.model, line.dataset) != (model, str(dataset))]
    path.write_bytes(msgspec.json.format(msgspec.json.encode([*kept, *mine]), indent=2) + b"\n")
