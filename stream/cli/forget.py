"""`tidecast features forget`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stream.cli.options import Bootstrap, Config, Set, StoreUrl, loaded
from stream.errors import UsageError

if TYPE_CHECKING:
    from stream.erase import Proof
    from stream.settings import KafkaSettings
    from stream.sink import Sink


def forget(
    entity: Annotated[Literal["customer", "item"], typer.Argument(help="customer or item")],
    key: Annotated[str, typer.Argument(help="customer_id, or location:sku")],
    view: Annotated[
        list[str] | None,
        typer.Option(help="a further view, which neither this installation nor the store knows; may be repeated"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    no_topics: Annotated[bool, typer.Option("--no-topics", help="only in the store: publish no tombstones")] = False,
    config: Config = None,
    flags: Set = None,
    bootstrap: Bootstrap = None,
    store_url: StoreUrl = None,
) -> None:
    """Erase a customer or an item in the store and in the topics that keep its last record, and look again.

    Features of all views, latest scores and alert state are removed at once; no running worker can write them back.
    Tombstones go to the compacted topics: feature-log, and supply-alerts for an item. Then every key is looked at
    again: the exit code is 0 only when nothing is left.

    Not erased: the input topics and dead letters, which are your own records; demand and the score topics, which keep
    records as long as their retention says; and what consumers have copied. The next event of the entity begins it
    anew.

    Examples:

        tidecast features forget customer 17850

        tidecast features forget item warehouse:85123A --yes --no-topics
    """
    from stream.cli.stores import known_views, opened, shown
    from stream.erase import forget as erase
    from stream.erase import indexes_of, places_of, registered_views
    from stream.sink import SinkFailed

    settings = loaded(config, flags, bootstrap, store_url).settings
    _confirm(f"erase {entity} {key!r} in {shown(settings.store)} (namespace {settings.store.namespace!r})", yes)
    sink = None if no_topics else _sink(settings.kafka, entity)
    console = Console()
    try:
        with opened(settings.store) as store:
            places = places_of(entity, known_views(), [*(view or ()), *registered_views(store, entity)])
            proof = erase(store, sink, entity, key, places, indexes_of(store, entity))
    except SinkFailed as error:
        console.print(
            f"[bold red]not proven[/]: the store's records are removed, but a tombstone was not acknowledged "
            f"({escape(str(error))}); run this again"
        )
        raise typer.Exit(1) from error
    console.print(_table(proof))
    console.print(_told(proof, no_topics), highlight=False)
    if proof.left:
        raise typer.Exit(1)


def _confirm(what: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"this would {what}; say --yes, since there is no terminal to ask at")
    typer.confirm(f"{what}?", abort=True)


def _sink(kafka: KafkaSettings, entity: str) -> Sink:
    """A producer, once the broker has the topics: a tombstone must not make one."""
    from stream.admin import connect
    from stream.erase import topics_of
    from stream.sink import Sink

    _, have = connect(kafka)
    missing = [topic.name for topic in topics_of(entity) if topic.name not in have]
    if missing:
        raise UsageError(
            f"missing topics: {', '.join(missing)}; make them with `tidecast topics create`, or say --no-topics"
        )
    return Sink(kafka)


def _table(proof: Proof) -> Table:
    from stream.erase import KINDS

    table = Table(box=None, header_style="dim")
    for title in ("looked at", "", "before", "now"):
        table.add_column(title)
    for place in proof.places:
        now = "nothing" if place.after_bytes is None else f"[bold red]{place.after_bytes:,} bytes[/]"
        before = "nothing" if place.before_bytes is None else f"{place.before_bytes:,} bytes"
        table.add_row(place.name, KINDS[place.kind], before, now)
    for topic in proof.tombstones:
        table.add_row(topic, "topic", "", "tombstone acknowledged")
    return table


def _told(proof: Proof, no_topics: bool) -> str:
    who = f"{proof.entity} {escape(repr(proof.key))}"
    if proof.left:
        names = ", ".join(place.name for place in proof.left)
        return (
            f"[bold red]not erased[/]: {who} has {names} again; an event has come since. Stop them and run this again."
        )
    topics = "; topics were left alone (--no-topics)" if no_topics else ""
    if proof.removed == 0:
        return f"there was nothing of {who} in the store{topics}"
    return f"{who} is erased: {proof.removed} records removed, nothing left in the store{topics}"
