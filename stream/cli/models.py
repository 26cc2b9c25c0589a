"""`tidecast models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
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
    from models.manifest import ManifestError, versions
    from models.registry import SHIPPED, SHOPS, check_features, load, names

    registry = directory or SHIPPED
    registries = [registry, *(registry / shop for shop in SHOPS)]
    table = Table(box=None, header_style="dim")
    for title in ("model", "version", "fits", "trained until", "data", "metrics"):
        table.add_column(title, overflow="fold")
    found = [(at, name, version) for at in registries for name in names(at) for version in versions(at, name)]
    if not found:
        raise UsageError(f"there is no released model in {registry}; release one with `tidecast-export release`")
    for at, name, version in found:
        said = name if at == registry else f"{at.name}/{name}"
        try:
            manifest = load(at, name, version).manifest
            wanted = contract(manifest.vector)
            check_features(manifest, wanted.features, wanted.reads, wanted.heads)
            fits = "[green]yes[/]"
        except ManifestError as error:
            table.add_row(said, version, f"[red]no[/]: {error}", "", "", "")
            continue
        metrics = ", ".join(f"{m.name} {m.value:.3f}" for m in manifest.metrics[:4])
        table.add_row(said, version, fits, manifest.training.trained_until, manifest.training.data, metrics)
    Console().print(table)


@models.command()
def show(
    name: Annotated[str, typer.Argument(help="such as reorder, or households/reorder")],
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
        shop, _, of = name.rpartition("/")
        model = load((directory or SHIPPED) / shop, of, version)
    except ManifestError as error:
        raise UsageError(str(error)) from error
    Console().print(Markdown((model.directory / "card.md").read_text()))
