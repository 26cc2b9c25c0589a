"""`tidecast up`."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer
from rich.console import Console


def up(
    partitions: Annotated[int, typer.Option(min=1, max=64, help="of each topic that is made")] = 4,
    topics: Annotated[bool, typer.Option(help="make the topics, too")] = True,
) -> None:
    """Start the embedded broker and store, print their addresses, and run until Ctrl-C.

    Both keep everything in memory and listen on free loopback ports. The lines that begin with `export` can be pasted
    into another terminal:

        tidecast up

        tidecast replay EVENTS --speed 86400

        tidecast run
    """
    from stream.admin import create_topics
    from stream.embedded import Embedded
    from stream.settings import load

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Embedded() as services:
        environment = services.environment()
        if topics:
            create_topics(load(environ=environment).settings.kafka, partitions)
        console = Console()
        console.print(f"broker  {services.bootstrap_servers}")
        console.print(f"store   {services.store_url}")
        for name, value in environment.items():
            typer.echo(f"export {name}={value}")
        console.print("[dim]Ctrl-C stops both; nothing is kept[/]")
        stop.wait()
