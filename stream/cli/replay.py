"""`tidecast replay`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from stream.cli.options import Bootstrap, Config, Set, loaded


def replay(
    events: Annotated[Path, typer.Argument(help="an event log: a directory made by `tidecast import`")],
    speed: Annotated[
        float, typer.Option(min=0, help="event seconds a second: 86400 is a day a second; 0: full speed")
    ] = 0,
    topic: Annotated[list[str] | None, typer.Option(help="only this topic; can be given again")] = None,
    config: Config = None,
    flags: Set = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Publish an event log onto the input topics, at a given speed-up of its event time.

    Examples:

        tidecast replay .tidecast/online-retail

        tidecast replay .tidecast/online-retail --speed 86400 --topic orders --topic catalog
    """
    from stream.admin import check_topics, connect
    from stream.eventlog import REFERENCE_TOPICS, count_records, topics_in
    from stream.replay import replay as run_replay

    kafka = loaded(config, flags, bootstrap).settings.kafka
    check_topics(connect(kafka)[1])
    wanted = topic or topics_in(events)
    total = sum(count_records(events, t) for t in wanted if t not in REFERENCE_TOPICS)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}/{task.total:,.0f}"))
    with Progress(*columns, TimeElapsedColumn()) as bar:
        task = bar.add_task("replay", total=total)

        def told(done: int, event_time_ms: int) -> None:
            when = datetime.fromtimestamp(event_time_ms / 1000, UTC).strftime("%d %b %Y %H:%M")
            bar.update(task, completed=done, description=when)

        done = run_replay(events, kafka, speed, wanted, progress=told)
        bar.update(task, completed=total)
    for name, n in done.records.items():
        typer.echo(f"{name}: {n:,} records")
