"""UCI Online Retail: every invoice line of a UK wholesaler of gifts, to `orders`, `catalog` and part of `inventory`.

Rules:

* Times have no zone in the source; they are taken as UTC. Stock codes are upper-cased. All goods are at "warehouse".
* A code that begins with five digits is a product; any other (POST, M, D, DOT, vouchers, DCGS…) is a charge of its
  order, with the amount as invoiced (negative on credit notes).
* An invoice without C on which no row has a customer or a price is no sale but a stock correction ("damaged",
  "found", …): `stock_adjusted`, with the description as reason. It is real, not simulated.
* What is left of an invoice without C is `order_placed`, at the time of its first line. No CustomerID: a guest.
* An invoice with C (a credit note) that undoes all product lines of one earlier order of the same customer, of which
  nothing was given back before, is `order_cancelled` (equal stock codes and quantities; the newest such order).
  Otherwise goods came back: `order_returned`, of the newest earlier order of that customer of which all of them can
  still be outstanding, if there is one. Quantities are positive in the event.
* An invoice without any product line is an accounting entry and makes no event.
* A product's name is the most frequent description of its sold lines, its price the median of theirs.

With `orders = N` the first N placed orders are taken, and all else up to the time of the N-th.

Source: Daqing Chen, Online Retail, UCI Machine Learning Repository, DOI 10.24432/C5BW33, CC BY 4.0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from stream.errors import UsageError
from stream.eventlog import Progress, write_topic
from stream.events import Charge, OrderCancelled, OrderEvent, OrderLine, OrderPlaced, OrderReturned, StockAdjusted
from stream.events.base import LIMIT
from stream.imports.credit_notes import OpenOrders
from stream.imports.dataset import Imported, ImportReport, KnownSet
from stream.imports.products import products_of
from stream.imports.source import Kind, read_columns

LOCATION = "warehouse"

#: What a row can become: the keys of the report's `rows`.
WAYS = (
    "order_placed_lines",
    "order_placed_charges",
    "order_cancelled_lines",
    "order_cancelled_charges",
    "order_returned_lines",
    "order_returned_charges",
    "stock_corrections",
    "accounting_entries",
    "rejected",
    "after_the_last_order",
)

_COLUMNS: dict[str, Kind] = {
    "InvoiceNo": pl.String,
    "StockCode": pl.String,
    "Description": pl.String,
    "Quantity": pl.Int64,
    "InvoiceDate": pl.Datetime("ms"),
    "UnitPrice": pl.Float64,
    "CustomerID": pl.Int64,
    "Country": pl.String,
}


class _Row(msgspec.Struct, frozen=True, gc=False):
    invoice: str
    code: str
    description: str | None
    quantity: float
    time_ms: int
    price: float
    customer_id: str | None
    country: str | None
    way: str


def import_online_retail(
    source: Path, out: Path, orders: int | None = None, seed: int = 7, progress: Progress | None = None
) -> ImportReport:
    """Makes the real part of an event log: `orders`, `catalog`, and the stock corrections of `inventory`.

    Args:
        source: the data set as parquet.
        out: directory for the topics' files and `import_report.json`.
        orders: take only the first so many placed orders; None takes all.
        seed: for what the catalog lacks (`lead_time_days`), which is marked as simulated.
        progress: told about each step.

    Returns:
        The report; its row counts add up to the rows of the source.

    Raises:
        UsageError: the source is missing or is another table.
    """
    imported = read_online_retail(source, orders, seed, progress)
    write_topic(out, "catalog", imported.catalog)
    write_topic(out, "orders", imported.orders)
    write_topic(out, "inventory", imported.adjustments)
    (out / "import_report.json").write_bytes(msgspec.json.format(msgspec.json.encode(imported.report)))
    return imported.report


def read_online_retail(
    source: Path, orders: int | None = None, seed: int = 7, progress: Progress | None = None
) -> Imported:
    """Reads the data set into records; arguments as for `import_online_retail`."""
    tell = progress or (lambda step, share: None)
    tell("reading invoices", 0.0)
    table = read_columns(source, _COLUMNS, "the Online Retail table", "the Online Retail file")
    taken, left_out = _cut(_sorted_by_way(table), orders)
    tell("making orders", 0.3)
    events, adjustments, rows = _events(taken)
    rows["after_the_last_order"] += left_out
    tell("making the catalog", 0.8)
    catalog = products_of(taken, seed)
    made = Counter(str(event.__struct_config__.tag) for event in (*catalog, *events, *adjustments))
    report = ImportReport(
        rows_read=table.height, rows={way: rows[way] for way in WAYS}, events=dict(sorted(made.items()))
    )
    tell("read", 1.0)
    return Imported(events, adjustments, catalog, report)


def _sorted_by_way(table: pl.DataFrame) -> pl.DataFrame:
    """Rows in order of their invoices, with `way`: what the row alone and its invoice make of it."""
    quantity, price, invoice = pl.col("Quantity"), pl.col("UnitPrice"), pl.col("InvoiceNo")
    product = pl.col("StockCode").str.contains(r"^\d{5}")
    credit = invoice.str.starts_with("C")
    unpaid = (pl.col("CustomerID").is_null() & (price == 0)).all().over(invoice)
    correction = ~credit & product & unpaid & (quantity != 0)
    right_sign = pl.when(credit).then(quantity < 0).otherwise(quantity > 0)
    readable = pl.all_horizontal(pl.col("InvoiceNo", "StockCode", "InvoiceDate").is_not_null())
    readable &= (price.abs() <= LIMIT) & quantity.is_not_null()
    line = product & right_sign & (price >= 0)
    way = (
        pl.when(~readable.fill_null(False)).then(pl.lit("rejected"))
        .when(correction).then(pl.lit("stock_corrections"))
        .when(line).then(pl.lit("lines"))
        .when(product).then(pl.lit("rejected"))
        .otherwise(pl.lit("charges"))
    )  # fmt: skip
    return (
        table.with_row_index("position")
        .with_columns(pl.col("StockCode").str.to_uppercase(), way=way)
        .with_columns(
            order_time=pl.col("InvoiceDate").min().over("InvoiceNo"),
            lines=(pl.col("way") == "lines").any().over("InvoiceNo"),
            position=pl.col("position").min().over("InvoiceNo"),
        )
        .with_columns(
            way=pl.when(~pl.col("lines") & (pl.col("way") == "charges"))
            .then(pl.lit("accounting_entries"))
            .otherwise("way")
        )
        .sort("order_time", "position", maintain_order=True)
    )


def _cut(table: pl.DataFrame, orders: int | None) -> tuple[pl.DataFrame, int]:
    """The rows up to the time of the N-th order, without the orders after it; and how many rows that leaves out."""
    if orders is None:
        return table, 0
    if orders < 1:
        raise UsageError(f"orders is {orders}; give 1 or more, or leave it out for all")
    placed = table.filter(pl.col("lines") & ~pl.col("InvoiceNo").str.starts_with("C"))
    wanted = placed.unique("InvoiceNo", keep="first", maintain_order=True).head(orders)
    if wanted.is_empty():
        return table, 0
    later = placed.select(pl.col("InvoiceNo").unique()).join(wanted, on="InvoiceNo", how="anti")
    until = wanted["order_time"].max() if wanted.height == orders else table["order_time"].max()
    taken = table.filter(pl.col("order_time") <= until).join(later, on="InvoiceNo", how="anti", maintain_order="left")
    return taken, table.height - taken.height


def _rows(table: pl.DataFrame) -> Iterator[_Row]:
    columns = table.select(
        "InvoiceNo", "StockCode", pl.col("Description").str.strip_chars().str.slice(0, 1024),
        pl.col("Quantity").cast(pl.Float64),
        pl.col("InvoiceDate").dt.epoch("ms"), "UnitPrice", pl.col("CustomerID").cast(pl.String), "Country", "way",
    )  # fmt: skip
    return map(_Row, *(column.to_list() for column in columns.iter_columns()))


def _events(table: pl.DataFrame) -> tuple[list[OrderEvent], list[StockAdjusted], Counter[str]]:
    events: list[OrderEvent] = []
    adjustments: list[StockAdjusted] = []
    ways: Counter[str] = Counter()
    open_orders = OpenOrders()
    for _, group in groupby(_rows(table), key=attrgetter("invoice")):
        rows = list(group)
        adjustments += [_adjusted(n, row) for n, row in enumerate(rows) if row.way == "stock_corrections"]
        event = _order_event(rows, open_orders)
        if event is not None:
            events.append(event)
        kind = "" if event is None else f"{event.__struct_config__.tag}_"
        ways.update(kind + row.way if row.way in ("lines", "charges") else row.way for row in rows)
    adjustments.sort(key=attrgetter("event_time_ms"))
    return events, adjustments, ways


def _adjusted(number: int, row: _Row) -> StockAdjusted:
    return StockAdjusted(
        event_id=f"or-{row.invoice}-{number}",
        event_time_ms=row.time_ms,
        location=LOCATION,
        sku=row.code,
        quantity=row.quantity,
        reason=row.description,
    )


def _order_event(rows: list[_Row], open_orders: OpenOrders) -> OrderEvent | None:
    lines = [
        OrderLine(sku=row.code, quantity=abs(row.quantity), unit_price=row.price) for row in rows if row.way == "lines"
    ]
    if not lines:
        return None
    first = rows[0]
    common: dict[str, Any] = {
        "event_id": f"or-{first.invoice}",
        "event_time_ms": min(row.time_ms for row in rows),
        "order_id": first.invoice,
        "location": LOCATION,
        "lines": lines,
        "charges": [_charge(row) for row in rows if row.way == "charges"],
        "customer_id": first.customer_id,
        "region": first.country,
    }
    if not first.invoice.startswith("C"):
        open_orders.placed(first.customer_id, first.invoice, lines)
        return OrderPlaced(**common)
    if cancelled := open_orders.cancel(first.customer_id, lines):
        return OrderCancelled(**common, cancels_order_id=cancelled)
    return OrderReturned(**common, returns_order_id=open_orders.give_back(first.customer_id, lines))


def _charge(row: _Row) -> Charge:
    amount = round(row.quantity * row.price, 2)
    return Charge(code=row.code, amount=amount, description=row.description)


DATASET = KnownSet(
    name="online-retail",
    title="Online Retail: a year of invoices of a UK wholesaler of gifts",
    attribution="Daqing Chen, UCI Machine Learning Repository, DOI 10.24432/C5BW33, CC BY 4.0",
    read=read_online_retail,
)
