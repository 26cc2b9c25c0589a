"""`tidecast config`."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stream.cli.options import Config, Set, loaded

config = typer.Typer(help="Settings and where they come from.", no_args_is_help=True)

_SECRET = ("password", "secret", "key")


@config.callback()
def _config() -> None:
    """Settings and where they come from."""


@config.command()
def show(
    config: Config = None,
    flags: Set = None,
    json: Annotated[bool, typer.Option("--json", help="for scripts")] = False,
) -> None:
    """Show every setting, its value, and where it came from.

    Flags go before environment variables, which go before the TOML file, which goes before the defaults.

    Examples:

        tidecast config show

        TIDECAST_KAFKA__BOOTSTRAP_SERVERS=broker:9092 tidecast config show --set worker.commit_interval_ms=500
    """
    found = loaded(config, flags)
    rows = []
    for section, fields in found.settings.model_dump(mode="json").items():
        model = getattr(found.settings, section)
        for name, value in fields.items():
            path = f"{section}.{name}"
            doc = type(model).model_fields[name].description or ""
            rows.append((path, _told(value), found.origins.get(path, "default"), doc))
    if json:
        told = [dict(zip(("setting", "value", "origin", "doc"), row, strict=True)) for row in rows]
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return
    table = Table(box=None, header_style="dim")
    for title in ("setting", "value", "from", ""):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def _told(value: object) -> str:
    """The value, without secrets."""
    if isinstance(value, dict):
        safe = {k: "***" if any(s in k.lower() for s in _SECRET) else v for k, v in value.items()}
        return orjson.dumps(safe).decode()
    from features.store.redis import without_password

    return without_password("" if value is None else str(value))
