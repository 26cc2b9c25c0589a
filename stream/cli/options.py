"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream.settings import Loaded, load

Config = Annotated[Path | None, typer.Option("--config", "-c", help="TOML settings file [default: tidecast.toml]")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="SECTION.NAME=VALUE", help="one setting; goes before environment and file"),
]
Bootstrap = Annotated[
    str | None, typer.Option("--bootstrap-servers", "-b", help="short for --set kafka.bootstrap_servers=…")
]
StoreUrl = Annotated[str | None, typer.Option("--store-url", help="short for --set store.url=…")]


def loaded(
    config: Path | None, flags: list[str] | None, bootstrap: str | None = None, store_url: str | None = None
) -> Loaded:
    """Settings from the options of a command."""
    given = list(flags or [])
    if bootstrap:
        given.append(f"kafka.bootstrap_servers={bootstrap}")
    if store_url:
        given.append(f"store.url={store_url}")
    return load(given, config)
