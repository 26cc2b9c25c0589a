"""`tidecast features size`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from stream.cli.options import Config, Set, StoreUrl, loaded

if TYPE_CHECKING:
    from features.store import Store
    from features.view import View


class Measured(msgspec.Struct, frozen=True):
    """What records of one kind cost.

    Args:
        kind: `features`, `latest score` or `alert state`.
        name: of the view or model.
        records: how many there are.
        sampled: how many of them were measured.
        bytes_each: their mean size in the store, key and overhead included.
        share: of the entities, how many have one.
        forecast_bytes: for the entities asked for; None where none were.
    """

    kind: str
    name: str
    records: int
    sampled: int
    bytes_each: float
    share: float
    forecast_bytes: float | None


class EntitySize(msgspec.Struct, frozen=True):
    """What customers or items cost.

    Args:
        entities: how many there are at least: the most records that any view has.
        bytes_each: of one that has everything.
        mean_bytes: of one on the average; that is what the forecast multiplies.
    """

    entity: str
    entities: int
    bytes_each: float
    mean_bytes: float
    forecast_bytes: float | None
    records: list[Measured]


class Sizes(msgspec.Struct, frozen=True):
    """A whole store.

    Args:
        entities: customers and items.
        forecast_entities: how many of each were forecast.
        rings_bytes: of event ids taken in lately, in all partitions and buckets; they do not grow with entities.
        fences: how many fences there are.
    """

    entities: list[EntitySize]
    forecast_entities: int | None
    rings_bytes: int
    fences: int


def measure(store: Store, views: Mapping[str, View], sample: int, forecast: int | None = None) -> Sizes:
    """What is in a store, and what `forecast` customers and as many items would take."""
    from stream.erase import SCORES

    kinds = sorted({view.entity for view in views.values()})
    fences = [fence for at in sorted(store.clock()) for fence in store.fences(*_partition(at))]
    return Sizes(
        entities=[_entity(store, entity, views, sample, forecast if entity in SCORES else None) for entity in kinds],
        forecast_entities=forecast,
        rings_bytes=sum(len(fence.seen) for fence in fences),
        fences=sum(fence.epoch > 0 for fence in fences),
    )


def _partition(at: str) -> tuple[str, int]:
    topic, _, partition = at.rpartition(":")
    return topic, int(partition)


def _entity(store: Store, entity: str, views: Mapping[str, View], sample: int, forecast: int | None) -> EntitySize:
    from stream.erase import KINDS, places_of

    usages = {at: store.usage(*at, sample) for at in places_of(entity, views)}
    entities = max(usage.records for usage in usages.values())
    records = []
    for (kind, name), usage in usages.items():
        share = usage.records / entities if entities else 0.0
        expected = None if forecast is None else usage.bytes_each * share * forecast
        records.append(Measured(KINDS[kind], name, usage.records, usage.sampled, usage.bytes_each, share, expected))
    return EntitySize(
        entity=entity,
        entities=entities,
        bytes_each=sum(m.bytes_each for m in records),
        mean_bytes=sum(m.bytes_each * m.share for m in records),
        forecast_bytes=None if forecast is None else sum(m.forecast_bytes or 0.0 for m in records),
        records=records,
    )


def size(
    sample: Annotated[int, typer.Option(min=1, help="records of each view to measure")] = 500,
    entities: Annotated[int | None, typer.Option(min=1, help="forecast this many customers and items")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    config: Config = None,
    flags: Set = None,
    store_url: StoreUrl = None,
) -> None:
    """Measure what features take in the store, by view, and forecast it for more entities.

    A record is measured as the server counts it (MEMORY USAGE: key, value and overhead). The forecast of a view is its
    mean bytes a record × the entities asked for × the share of today's entities that have the view.

    Examples:

        tidecast features size

        tidecast features size --entities 1000000 --json
    """
    from stream.cli.stores import known_views, opened

    with opened(loaded(config, flags, store_url=store_url).settings.store) as store:
        sizes = measure(store, known_views(), sample, entities)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(sizes)).decode())
        return
    console = Console()
    for one in sizes.entities:
        console.print(_table(one))
    console.print(_explained(sizes))


def _table(one: EntitySize) -> Table:
    table = Table(box=None, header_style="dim", title=f"{one.entity}: at least {one.entities:,}", title_justify="left")
    for title in ("", "", "records", "measured", "bytes each", "share"):
        table.add_column(title, justify="right" if title else "left")
    table.add_column("forecast", justify="right")
    for m in one.records:
        cells = (f"{m.records:,}", f"{m.sampled:,}", f"{m.bytes_each:,.0f}", f"{m.share:.0%}")
        table.add_row(m.name, m.kind, *cells, _amount(m.forecast_bytes))
    of_all = (f"{one.bytes_each:,.0f}", f"mean {one.mean_bytes:,.0f}", _amount(one.forecast_bytes))
    table.add_row("[bold]all[/]", "", "", "", *of_all)
    return table


def _amount(size_bytes: float | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / 2**20:,.1f} MiB"


def _explained(sizes: Sizes) -> str:
    rings = f"{sizes.fences:,} fences; rings of event ids taken in lately: {sizes.rings_bytes / 1024:,.0f} KiB in all"
    if sizes.forecast_entities is None:
        return f"{rings}. --entities N forecasts."
    return (
        f"Forecast for {sizes.forecast_entities:,} customers and as many items: mean bytes a record × entities × the "
        f"share of entities that have the view. Beside it, and not growing with entities: {rings}."
    )
