"""The command `tidecast-export`: from an event log to released models."""

from __future__ import annotations

import sys

import typer

from export import pathcommands, shelfcommand, wholecommands
from export.errors import UsageError
from export.terminal import fail
from models.manifest import ManifestError

app = typer.Typer(
    name="tidecast-export",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="""Trains Tidecast's models on an event log and releases them as ONNX.

The steps, in order: **dataset → train → evaluate → convert → verify → quantize → benchmark → release**.
Each leaves its result in a work directory. A model that was trained elsewhere: **import-model**. What a model says of
every shelf: **shelves**.

Examples:

- `tidecast import online-retail --out events` then `tidecast-export all --events events`: everything, all models
- `tidecast-export dataset reorder --events events`
- `tidecast-export train reorder --events events --epochs 4`
- `tidecast-export release reorder --events events --into my-models --version 1.0.0`
""",
)

for command in (
    pathcommands.dataset,
    pathcommands.train,
    pathcommands.evaluate,
    pathcommands.convert,
    pathcommands.verify,
    pathcommands.quantize,
    pathcommands.benchmark,
    pathcommands.release,
    wholecommands.drift,
    wholecommands.report,
    wholecommands.shipped,
    shelfcommand.shelves,
):
    app.command()(command)
app.command(name="all")(wholecommands.everything)
app.command(name="import-model")(wholecommands.import_model)


def main() -> None:
    """Runs the command; a usage error or a broken model is one message and exit code 2."""
    try:
        app()
    except (UsageError, ManifestError) as error:
        fail(error)
        sys.exit(2)
