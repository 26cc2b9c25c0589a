"""What every known data set gives: real records, and a report that accounts for every row read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stream.eventlog import Progress
from stream.events import ClickEvent, InventoryEvent, Offer, OrderEvent, Product, StockAdjusted


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """Where every row of the source went: the counts in `rows` add up to `rows_read`.

    Args:
        rows_read: rows of the source table.
        rows: how many rows took each way; each row takes exactly one.
        events: how many records were made, by record type.
        beside: the same of other tables of the source, by their names.
    """

    rows_read: int
    rows: dict[str, int]
    events: dict[str, int]
    beside: dict[str, ImportReport] = {}

    def __post_init__(self) -> None:
        if sum(self.rows.values()) != self.rows_read:
            raise ValueError(f"{self.rows_read} rows were read, but {sum(self.rows.values())} are accounted for")


@dataclass(frozen=True, slots=True)
class Imported:
    """Real records of a data set, each list in event-time order.

    Args:
        orders: topic `orders`; a set without any makes no file.
        adjustments: the real part of topic `inventory`, where the rest of it is simulated.
        catalog: topic `catalog`.
        report: where every row went.
        inventory: topic `inventory`, of a set that has its own; taken once, so it may be made on the way.
        offers: the real part of topic `offers`, by the time they begin.
        clicks: the real part of topic `clicks`.
    """

    orders: list[OrderEvent]
    adjustments: list[StockAdjusted]
    catalog: list[Product]
    report: ImportReport
    inventory: Iterable[InventoryEvent] | None = None
    offers: Sequence[Offer] = ()
    clicks: Sequence[ClickEvent] = ()


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A data set that Tidecast can import by name.

    Args:
        name: what `tidecast import` calls it.
        title: what it is, for people.
        attribution: whose it is, where it comes from, its licence.
        read: makes records of the source file; takes (source, number of orders or None, seed, progress or None).
        beside: other files that it reads, in the source's directory.
        perhaps: more of them, which may be absent.
        default: where the source is if nobody says; raises UsageError where it is not.
        shipped: whether its file comes with Tidecast; of others, people give the path.
        simulate: whether clicks, stock and offers can be made up around it.
    """

    name: str
    title: str
    attribution: str
    read: Callable[[Path, int | None, int, Progress | None], Imported]
    beside: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    default: Callable[[], Path] | None = None
    shipped: bool = True
    simulate: bool = True
