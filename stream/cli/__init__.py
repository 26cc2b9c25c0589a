"""The command line: `tidecast --help`. One file a command; every one ends in one clear message and an exit code.

Exit codes: 0 done, 1 failed while running, 2 something that the caller must put right, 3 another worker took over.
"""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from features.errors import ViewError
from stream.cli.config import config
from stream.cli.deadletters import dead_letters
from stream.cli.demo import demo
from stream.cli.features import features
from stream.cli.importing import import_
from stream.cli.lag import lag
from stream.cli.models import models
from stream.cli.parity import parity
from stream.cli.record import record
from stream.cli.replay import replay
from stream.cli.run import run
from stream.cli.topics import topics
from stream.cli.up import up
from stream.cli.watch import watch
from stream.errors import UsageError

app = typer.Typer(
    name="tidecast",
    help="Real-time scoring for commerce: Kafka in, features in Redis, ONNX models, Kafka out.",
    epilog="Begin with `tidecast demo`. Settings: `tidecast config show`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(up)
app.command()(run)
app.command()(replay)
app.command()(record)
app.command("import")(import_)
app.command()(watch)
app.command()(parity)
app.command()(lag)
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(topics, name="topics")
app.add_typer(features, name="features")
app.add_typer(models, name="models")
app.add_typer(config, name="config")


def main() -> None:
    """Entry point of `tidecast`."""
    try:
        app(standalone_mode=True)
    except (UsageError, ViewError) as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {_plain(str(error))}", highlight=False)
        sys.exit(2)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
