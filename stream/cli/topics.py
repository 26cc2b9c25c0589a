"""`tidecast topics`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stream.cli.options import Bootstrap, Config, Set, loaded

topics = typer.Typer(help="Make and describe the topics.", no_args_is_help=True)


@topics.command()
def create(
    partitions: Annotated[
        int, typer.Option("--partitions", "-p", min=1, help="of each topic; reference topics have 1")
    ] = 8,
    replication: Annotated[int, typer.Option("--replication", "-r", min=1, help="copies of each partition")] = 1,
    config: Config = None,
    flags: Set = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Make the topics that are missing; those that are there stay as they are.

    Example:

        tidecast topics create --partitions 12 --replication 3 -b broker:9092
    """
    from stream.admin import check_topics, connect, create_topics

    kafka = loaded(config, flags, bootstrap).settings.kafka
    made = create_topics(kafka, partitions, replication)
    for name, n in made.items():
        typer.echo(f"made {name} with {n} partition{'s' if n > 1 else ''}")
    if not made:
        typer.echo("all topics are there")
    check_topics({**connect(kafka)[1], **made})


@topics.command()
def describe(config: Config = None, flags: Set = None, bootstrap: Bootstrap = None) -> None:
    """Show the topology, and whether the broker has it.

    Example:

        tidecast topics describe -b broker:9092
    """
    from stream.admin import check_topics, connect
    from stream.topology import TOPICS

    _, have = connect(loaded(config, flags, bootstrap).settings.kafka)
    table = Table(box=None, header_style="dim")
    for title in ("topic", "direction", "key", "partitions", "models", ""):
        table.add_column(title, overflow="fold")
    for topic in TOPICS.values():
        n = str(have[topic.name]) if topic.name in have else "[red]missing[/]"
        table.add_row(topic.name, topic.direction, topic.key, n, ", ".join(topic.models), topic.doc)
    Console().print(table)
    check_topics(have)
