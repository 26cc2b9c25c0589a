"""Options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from export.tasks import MODELS, task_of
from export.work import Work

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
Logs = Annotated[Path, typer.Option(help="Holds the event logs that `make logs` makes.")]
Into = Annotated[Path, typer.Option(help="Where released models live.")]
Version = Annotated[str, typer.Option(help="Dotted; newer sorts later. A variant is told behind a plus: 1.0+spain.")]
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

DATA = "Online Retail, Daqing Chen, UCI Machine Learning Repository, DOI 10.24432/C5BW33"
LICENCE = "CC BY 4.0"
ARTIFACTS = Path("models/artifacts")
LOGS = Path(".tidecast/logs")
EVENTS = Path(".tidecast/events")


def work_of(model: str, out: Path | None) -> Work:
    """The work directory of a model."""
    task_of(model)
    return Work(model, out or Path(".tidecast/export") / model)
