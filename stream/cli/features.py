"""`tidecast features`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from stream.cli.options import Config, Set, StoreUrl, loaded
from stream.errors import UsageError

features = typer.Typer(help="Look at feature views and stored features.", no_args_is_help=True)


@features.command()
def describe() -> None:
    """List the feature views and their columns.

    Example:

        tidecast features describe
    """
    from features.view import discover

    console = Console()
    for view in discover().values():
        console.print(f"[bold]{view.name}[/] ({view.entity}, {view.dtype.itemsize} bytes, TTL {view.ttl_days} days)")
        console.print(f"  {view.doc}", style="dim")
        for name, doc in view.describe().items():
            console.print(f"  {name:32} {doc}")


@features.command()
def show(
    entity: Annotated[Literal["customer", "item"], typer.Argument(help="customer or item")],
    key: Annotated[str, typer.Argument(help="customer_id, or location:sku")],
    as_of: Annotated[datetime | None, typer.Option(help="event time to read at [default: the record's own]")] = None,
    config: Config = None,
    flags: Set = None,
    store_url: StoreUrl = None,
) -> None:
    """Show the stored features of a customer or an item: names, values, ages, and its latest scores.

    Examples:

        tidecast features show customer 17850

        tidecast features show item warehouse:85123A --as-of 2011-06-01
    """
    from features.store import StoreUnavailable
    from features.store.redis import RedisStore, without_password
    from features.table import EntityTable
    from features.view import views_of

    stored = loaded(config, flags, store_url=store_url).settings.store
    table = EntityTable(entity, views_of(entity))
    try:
        store = RedisStore(stored.url, stored.namespace, stored.buckets, stored.timeout_s)
        packed = {view: store.load("f", view, [key]) for view in table.views}
    except (StoreUnavailable, ValueError) as error:
        raise UsageError(
            f"no Redis or Valkey server answers at {without_password(stored.url)} ({error}); set store.url"
        ) from error
    if all(blobs[0] is None for blobs in packed.values()):
        raise UsageError(
            f"there are no features of {entity} {key!r} in {without_password(stored.url)} "
            f"(namespace {stored.namespace!r})"
        )
    slots = table.admit([key], packed)
    newest = int(table.event_time_ms(slots)[0])
    at = newest if as_of is None else int(as_of.replace(tzinfo=as_of.tzinfo or UTC).timestamp() * 1000)
    console = Console()
    for name, view in table.views.items():
        stamp = int(table.records[name]["event_time_ms"][slots[0]])
        _print_view(console, name, stamp, at, view.read(table.records[name], slots, np.array([at])), view.describe())
    for model in ("reorder", "next-best-offer", "stockout"):
        blob = store.load("s", model, [key])[0]
        if blob is not None:
            console.print(f"[bold]latest score of {model}[/]")
            console.print_json(blob.decode())


def _print_view(
    console: Console, name: str, stamp: int, at: int, values: dict[str, np.ndarray], docs: dict[str, str]
) -> None:
    if stamp == 0:
        console.print(f"[bold]{name}[/]: nothing yet", style="dim")
        return
    when = datetime.fromtimestamp(stamp / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    table = Table(box=None, header_style="dim", title_justify="left")
    table.title = f"{name}: newest event {when} UTC, {(at - stamp) / 86_400_000:.1f} days before"
    for title in ("feature", "value", ""):
        table.add_column(title)
    for column, value in values.items():
        number = float(value[0])
        table.add_row(column, "–" if np.isnan(number) else f"{number:,.3f}".rstrip("0").rstrip("."), docs[column])
    console.print(table)
