"""`tidecast record`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from stream.cli.options import Bootstrap, Config, Set, loaded

if TYPE_CHECKING:
    from stream.record import Range, Recorded
    from stream.settings import KafkaSettings


def record(
    out: Annotated[Path, typer.Option("--out", "-o", help="the event log to make")],
    topics: Annotated[
        str, typer.Option(help="which topics, separated by commas")
    ] = "orders,clicks,inventory,catalog,offers",
    from_offset: Annotated[int | None, typer.Option(min=0, help="no record before this offset")] = None,
    from_time: Annotated[datetime | None, typer.Option(help="no record written before this time, UTC")] = None,
    to_time: Annotated[datetime | None, typer.Option(help="no record written at this time or later, UTC")] = None,
    config: Config = None,
    flags: Set = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Record the input topics to an event log, up to their ends as they are now.

    Times are those of Kafka's record timestamps. Records that are none of their topic are left out and counted.

    Examples:

        tidecast record --out recorded

        tidecast record --out june --topics orders,clicks --from-time 2026-06-01 --to-time 2026-07-01
    """
    from stream.record import Range

    kafka = loaded(config, flags, bootstrap).settings.kafka
    limits = Range(from_offset, milliseconds(from_time), milliseconds(to_time))
    done = recorded(kafka, out, [t.strip() for t in topics.split(",")], limits)
    for topic, count in done.records.items():
        typer.echo(f"{topic}: {count:,} records")


def milliseconds(when: datetime | None) -> int | None:
    """A time, UTC where it has no zone, in ms."""
    return None if when is None else int(when.replace(tzinfo=when.tzinfo or UTC).timestamp() * 1000)


def recorded(kafka: KafkaSettings, out: Path, topics: list[str], limits: Range | None = None) -> Recorded:
    """Records topics, and tells how far it is and what was left out."""
    from stream.admin import check_topics, connect
    from stream.record import record as run

    check_topics(connect(kafka)[1])
    console = Console(stderr=True)
    with console.status("recording …") as status:
        done = run(kafka, out, topics, limits, lambda n: status.update(f"recording: {n:,} records read"))
    for topic, count in done.left_out.items():
        if count:
            console.print(f"{topic}: {count:,} values were left out: they are no records of this topic", style="yellow")
    return done
