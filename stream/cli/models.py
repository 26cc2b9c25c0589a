"""`tidecast models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stream.errors import UsageError

models = typer.Typer(help="Look at released models.", no_args_is_help=True)

Directory = Annotated[Path | None, typer.Option("--directory", "-d", help="registry [default: the shipped models]")]


@models.command("list")
def list_(directory: Directory = None) -> None:
    """List the released models, and whether they fit the features that the engine has.

    Example:

        tidecast models list
    """
    from features.vectors import contract
    from models.manifest import ManifestError, all_versions
    from models.registry import SHIPPED, check_features, holder, load, names

    registry = directory or SHIPPED
    table = Table(box=None, header_style="dim")
    for title in ("model", "version", "fits", "trained until", "data", "metrics"):
        table.add_column(title, overflow="fold")
    found = [(name, version) for name in names(registry) for version in all_versions(registry, name)]
    if not found:
        raise UsageError(f"there is no released model in {registry}; release one with `tidecast-export release`")
    for name, version in found:
        try:
            manifest = load(registry, name, version).manifest
            wanted = contract(manifest.vector)
            check_features(manifest, wanted.features, wanted.reads, wanted.heads)
            fits = "[green]yes[/]"
        except ManifestError as error:
            table.add_row(name, version, f"[red]no[/]: {escape(str(error))}", "", "", "")
            continue
        metrics = ", ".join(f"{m.name} {m.value:.3f}" for m in manifest.metrics[:4])
        table.add_row(name, version, fits, manifest.training.trained_until, escape(manifest.training.data), metrics)
    Console().print(table)
    if missing := [name for name in names(SHIPPED) if holder(registry, name) != registry]:
        typer.echo(f"not in {registry}, so the shipped ones score: {', '.join(missing)}")


@models.command()
def show(
    name: Annotated[str, typer.Argument(help="such as reorder")],
    version: Annotated[str | None, typer.Option(help="[default: the newest]")] = None,
    directory: Directory = None,
) -> None:
    """Show a model's card.

    Example:

        tidecast models show reorder
    """
    from rich.markdown import Markdown

    from models.manifest import ManifestError
    from models.registry import SHIPPED, load

    try:
        model = load(directory or SHIPPED, name, version)
    except ManifestError as error:
        raise UsageError(str(error)) from error
    Console().print(Markdown((model.directory / "card.md").read_text()))
