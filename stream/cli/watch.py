"""`tidecast watch`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from stream.cli.options import Bootstrap, Config, Set, loaded


def watch(
    topic: Annotated[str, typer.Argument(help="such as reorder-scores; see `tidecast topics describe`")],
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="stop after so many records")] = None,
    why: Annotated[bool, typer.Option("--why", help="scores and alerts as sentences, with their reasons")] = False,
    new: Annotated[bool, typer.Option("--new", help="only what comes from now on")] = False,
    config: Config = None,
    flags: Set = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Print the records of a topic, a line of JSON each, as they come.

    Examples:

        tidecast watch supply-alerts --new

        tidecast watch reorder-scores -n 10 | jq .products[0]

        tidecast watch supply-alerts --why
    """
    from stream.admin import connect
    from stream.reader import TopicReader
    from stream.words import sentence

    kafka = loaded(config, flags, bootstrap).settings.kafka
    connect(kafka)
    reader = TopicReader(kafka, [topic], from_end=new)
    seen = 0
    try:
        while True:
            for record in reader.poll(1_000, 0.1):
                value = record.value() or b"null"
                sys.stdout.write((sentence(value) if why else value.decode(errors="replace")) + "\n")
                seen += 1
                if count is not None and seen >= count:
                    return
            sys.stdout.flush()
    except KeyboardInterrupt:
        return
    finally:
        reader.close()
