"""`tidecast features`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stream.cli.forget import forget
from stream.cli.history import history
from stream.cli.options import Config, Set, StoreUrl, loaded
from stream.cli.size import size
from stream.errors import UsageError

if TYPE_CHECKING:
    from features.answers import EntityFeatures, ViewFeatures
    from features.pages import ViewFacts
    from features.store import Store

features = typer.Typer(help="Look at feature views and stored features; erase them.", no_args_is_help=True)
features.command()(size)
features.command()(forget)
features.command()(history)

Json = Annotated[bool, typer.Option("--json", help="as JSON")]
#: How many entries of a sequence column are printed.
_ENTRIES = 8


@features.command()
def describe(
    view: Annotated[str | None, typer.Argument(help="one view, with its state; all of them where left out")] = None,
    as_json: Json = False,
) -> None:
    """List the feature views: columns, time to live, and what cancellations do to each aggregation.

    Examples:

        tidecast features describe

        tidecast features describe customer_orders --json
    """
    from features.pages import facts
    from stream.cli.stores import known_views

    views = known_views()
    if view is not None and view not in views:
        raise UsageError(f"there is no view {view!r}; there are {', '.join(sorted(views))}")
    told = [facts(v) for name, v in sorted(views.items()) if view in (None, name)]
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
        return
    console = Console()
    for one in told:
        _describe(console, one, whole=view is not None)


def _describe(console: Console, view: ViewFacts, whole: bool) -> None:
    order = "rows in any order" if view.order_free else "rows in order of arrival"
    console.print(
        f"[bold]{view.name}[/] ({view.entity}; stream {view.stream}; {order}; {view.packed_bytes} bytes; "
        f"TTL {view.ttl_days:g} days, stale after {view.stale_after_days:g})"
    )
    console.print(f"  {escape(view.doc)}", style="dim")
    for name, doc in (view.columns | view.lists).items():
        formula = f" ({view.derived[name]})" if name in view.derived else ""
        console.print(f"  {name:32} {escape(doc + formula)}")
    for part in view.aggregations if whole else ():
        order = "any order" if part.order_free else "order of arrival"
        late = "too late rows are counted" if part.counts_late else "no row is too late"
        parameters = ", ".join(f"{name}: {value}" for name, value in part.parameters.items())
        console.print(f"\n  [bold]{part.name}[/]: {part.kind}; {order}; {late}\n    {escape(parameters)}")
        console.print(f"    {escape(part.undone)}", style="dim")


@features.command()
def show(
    entity: Annotated[Literal["customer", "item", "product", "region"], typer.Argument(help="whose features")],
    key: Annotated[str, typer.Argument(help="customer_id, location:sku, sku (* is all products) or region:sku")],
    as_of: Annotated[
        datetime | None, typer.Option(help="event time to read at [default: now on the stream's clock]")
    ] = None,
    as_json: Json = False,
    config: Config = None,
    flags: Set = None,
    store_url: StoreUrl = None,
) -> None:
    """Show the stored features of a customer, an item or a product: status, ages, values, and its latest scores.

    Examples:

        tidecast features show customer 17850

        tidecast features show item warehouse:85123A --as-of 2011-06-01 --json
    """
    from features.client import FeatureClient
    from stream.cli.stores import known_views, opened, shown
    from stream.erase import SCORES

    stored = loaded(config, flags, store_url=store_url).settings.store
    at = None if as_of is None else int(as_of.replace(tzinfo=as_of.tzinfo or UTC).timestamp() * 1000)
    with opened(stored) as store:
        found = FeatureClient(store=store, views=known_views()).get(entity, key, as_of_ms=at)
        scores = {model: store.load("s", model, [key])[0] for model in SCORES.get(entity, ())}
        names = _names(store, found)
    if all(view.layout is None for view in found.views.values()):
        raise UsageError(
            f"there are no features of {entity} {key!r} in {shown(stored)} (namespace {stored.namespace!r})"
        )
    known = {model: json.loads(blob) for model, blob in scores.items() if blob is not None}
    if as_json:
        typer.echo(json.dumps(_as_json(found, names, known), indent=2))
        return
    console = Console()
    for view in found.views.values():
        _print_view(console, view, names)
    for model, score in known.items():
        console.print(f"[bold]latest score of {model}[/]")
        console.print_json(data=score)


def _names(store: Store, found: EntityFeatures) -> dict[int, str]:
    """The strings behind the ids in sequence columns."""
    lists = [values for view in found.views.values() for values in view.lists.values() if values.dtype == np.uint64]
    return store.names(sorted({int(i) for values in lists for i in values if i}))


def _as_json(found: EntityFeatures, names: Mapping[int, str], scores: Mapping[str, Any]) -> dict[str, Any]:
    views = {
        name: {
            "status": view.status,
            "event_time_ms": view.event_time_ms,
            "age_days": view.age_days,
            "ttl_days": view.ttl_days,
            "ttl_share": view.ttl_share,
            "version": view.version,
            "layout": view.layout,
            "migrated": None if view.migrated is None else str(view.migrated),
            "values": {column: _known(value) for column, value in view.values.items()},
            "lists": {column: _entries(values, names) for column, values in view.lists.items()},
        }
        for name, view in found.views.items()
    }
    return {"entity": found.entity, "key": found.key, "as_of_ms": found.as_of_ms, "views": views, "scores": scores}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _entries(values: np.ndarray[Any, Any], names: Mapping[int, str]) -> list[Any]:
    """Ids as their strings (as hexadecimal digits where nobody knows them), None for what is not there."""
    if values.dtype == np.uint64:
        return [names.get(i, f"{i:016x}") if i else None for i in values.tolist()]
    return [_known(value) for value in values.tolist()]


def _print_view(console: Console, view: ViewFeatures, names: Mapping[int, str]) -> None:
    if view.migrated is not None:
        console.print(escape(str(view.migrated)), style="yellow")
    if view.event_time_ms is None or view.age_days is None or view.ttl_share is None:
        console.print(f"[bold]{view.view}[/]: missing", style="dim")
        return
    when = datetime.fromtimestamp(view.event_time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    console.print(
        f"[bold]{view.view}[/]: {view.status}; newest event {when} UTC, {view.age_days:.1f} days before, "
        f"{view.ttl_share:.0%} of its TTL; {view.version} rows"
    )
    if not view.values:
        return
    table = Table(box=None, header_style="dim")
    for title in ("feature", "value", ""):
        table.add_column(title)
    docs = _docs(view.view)
    for column, value in view.values.items():
        table.add_row(column, _number(value), escape(docs[column]))
    for column, values in view.lists.items():
        table.add_row(column, escape(_shortened(_entries(values, names))), escape(docs[column]))
    console.print(table)


def _docs(view: str) -> dict[str, str]:
    from features.discovery import discover

    return discover()[view].describe() | discover()[view].describe_lists()


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:,.3f}".rstrip("0").rstrip(".")


def _shortened(entries: list[Any]) -> str:
    held = [entry for entry in entries if entry is not None]
    shown = [entry if isinstance(entry, str) else _number(entry) for entry in held[:_ENTRIES]]
    more = [f"… {len(held) - _ENTRIES} more"] if len(held) > _ENTRIES else []
    return ", ".join([*shown, *more]) or "–"
