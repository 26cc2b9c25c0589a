from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import UsageError
from stream.eventlog import TOPIC_TYPES, read_records
from stream.events import OrderCancelled, OrderPlaced, OrderReturned
from stream.imports import build_event_log, known_sets
from stream.imports.dataset import Imported, ImportReport
from stream.imports.online_retail import WAYS, import_online_retail, read_online_retail
from stream.imports.products import lead_time_days, readable

REAL = Path(__file__).parents[2] / "stream" / "demo" / "data" / "online_retail.parquet"
START = datetime(2010, 12, 1, 8, 26)
MINUTE = 60_000
START_MS = 1_291_191_960_000
COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
TYPES: dict[str, Any] = {
    "Description": pl.String,
    "CustomerID": pl.Int32,
    "Quantity": pl.Int32,
    "UnitPrice": pl.Float64,
}


def row(
    invoice: str,
    code: str,
    quantity: int,
    minute: int = 0,
    price: float = 2.5,
    customer: int | None = 17850,
    text: str | None = "RED MUG",
) -> tuple[Any, ...]:
    return invoice, code, text, quantity, START + timedelta(minutes=minute), price, customer, "France"


def imported(tmp_path: Path, *rows: tuple[Any, ...], orders: int | None = None) -> Imported:
    source = tmp_path / "retail.parquet"
    pl.DataFrame(list(rows), schema=list(COLUMNS), orient="row", schema_overrides=TYPES).write_parquet(source)
    return read_online_retail(source, orders)


def used(report: ImportReport) -> dict[str, int]:
    return {way: count for way, count in report.rows.items() if count}


def test_an_invoice_is_an_order_with_charges(tmp_path: Path) -> None:
    made = imported(
        tmp_path,
        row("536365", "85123a", 6),
        row("536365", "85123A", 2, minute=1),
        row("536365", "POST", 1, price=18.0, text="POSTAGE"),
    )
    (order,) = made.orders
    assert isinstance(order, OrderPlaced)
    assert (order.event_id, order.order_id, order.event_time_ms) == ("or-536365", "536365", START_MS)
    assert (order.customer_id, order.region, order.location) == ("17850", "France", "warehouse")
    assert [(line.sku, line.quantity, line.unit_price) for line in order.lines] == [
        ("85123A", 6.0, 2.5),
        ("85123A", 2.0, 2.5),
    ]
    assert [(charge.code, charge.amount, charge.description) for charge in order.charges] == [("POST", 18.0, "POSTAGE")]
    assert used(made.report) == {"order_placed_lines": 2, "order_placed_charges": 1}


def test_guests_have_no_customer_id(tmp_path: Path) -> None:
    (order,) = imported(tmp_path, row("1", "10001", 1, customer=None)).orders
    assert order.customer_id is None


def test_free_rows_without_customer_are_stock_corrections(tmp_path: Path) -> None:
    made = imported(
        tmp_path,
        row("1", "10001", -5, price=0.0, customer=None, text="thrown away"),
        row("2", "10002", 7, minute=2, price=0.0, customer=None, text=None),
        row("3", "10001", 1, price=0.0),
    )
    assert [(a.sku, a.quantity, a.reason, a.simulated, a.event_time_ms) for a in made.adjustments] == [
        ("10001", -5.0, "thrown away", False, START_MS),
        ("10002", 7.0, None, False, START_MS + 2 * MINUTE),
    ]
    assert len(made.orders) == 1, "a free product of a known customer is part of an order"
    assert used(made.report) == {"order_placed_lines": 1, "stock_corrections": 2}
    assert [(p.sku, p.name, p.unit_price) for p in made.catalog] == [("10001", "Red Mug", 0.0), ("10002", "10002", 0.0)]


def test_invoices_without_products_are_accounting(tmp_path: Path) -> None:
    made = imported(
        tmp_path,
        row("A1", "B", 1, price=-11062.06, customer=None),
        row("C2", "D", -1, price=5.0),
        row("3", "10001", 1),
    )
    assert [order.order_id for order in made.orders] == ["3"]
    assert used(made.report) == {"order_placed_lines": 1, "accounting_entries": 2}


def test_undoing_all_lines_cancels_the_newest_untouched_order(tmp_path: Path) -> None:
    made = imported(
        tmp_path,
        *(row(i, code, n, minute=m) for m, i in enumerate(("1", "2")) for code, n in (("10001", 3), ("10002", 1))),
        row("C3", "10002", -1, minute=5),
        row("C3", "10001", -3, minute=5),
        row("C4", "10001", -3, minute=6),
        row("C4", "10002", -1, minute=6),
        row("C5", "10001", -3, minute=7),
        row("C5", "10002", -1, minute=7),
    )
    first, second, third = made.orders[2:]
    assert isinstance(first, OrderCancelled)
    assert isinstance(second, OrderCancelled)
    assert (first.cancels_order_id, second.cancels_order_id) == ("2", "1")
    assert sorted((line.sku, line.quantity) for line in first.lines) == [("10001", 3.0), ("10002", 1.0)]
    assert isinstance(third, OrderReturned), "there is nothing left to cancel"
    assert third.returns_order_id is None


def test_a_part_is_returned_of_the_newest_order_that_has_it_out(tmp_path: Path) -> None:
    made = imported(
        tmp_path,
        row("1", "10001", 5),
        row("2", "10001", 2, minute=1),
        row("2", "10002", 2, minute=1),
        row("C3", "10001", -2, minute=2),
        row("C4", "10001", -2, minute=3),
        row("C5", "10001", -4, minute=4),
        row("C6", "10002", -1, minute=5, customer=99),
        row("C7", "10002", -2, minute=6, customer=None),
    )
    returns = [order for order in made.orders if isinstance(order, OrderReturned)]
    assert [order.returns_order_id for order in returns] == ["2", "1", None, None, None]


def test_what_was_touched_is_returned_not_cancelled(tmp_path: Path) -> None:
    made = imported(
        tmp_path,
        row("1", "10001", 5),
        row("C2", "10001", -1, minute=1),
        row("C3", "10001", -5, minute=2),
    )
    assert [type(order) for order in made.orders] == [OrderPlaced, OrderReturned, OrderReturned]


def test_an_order_cannot_be_cancelled_before_it_was_placed(tmp_path: Path) -> None:
    made = imported(tmp_path, row("C1", "10001", -5), row("2", "10001", 5, minute=1))
    assert [type(order) for order in made.orders] == [OrderReturned, OrderPlaced]


def test_rows_that_make_no_sense_are_counted_as_rejected(tmp_path: Path) -> None:
    made = imported(
        tmp_path,
        row("1", "10001", 1),
        row("1", "10001", 0),
        row("1", "10001", -1),
        row("1", "10001", 1, price=-1.0),
        row("1", "10001", 1, price=float("nan")),
        row("C2", "10001", 1),
    )
    assert used(made.report) == {"order_placed_lines": 1, "rejected": 5}


def test_interleaved_invoices_stay_whole(tmp_path: Path) -> None:
    made = imported(tmp_path, row("1", "10001", 1), row("2", "10001", 2), row("1", "10002", 3))
    assert [(order.order_id, len(order.lines)) for order in made.orders] == [("1", 2), ("2", 1)]


def test_the_catalog_takes_the_most_frequent_name_and_the_median_price(tmp_path: Path) -> None:
    made = imported(
        tmp_path,
        row("1", "10001", 1, price=1.0, text="RED MUG"),
        row("1", "10001", 1, price=2.0, text=" RED MUG "),
        row("1", "10001", 1, price=9.0, text="MUG RED"),
        row("C2", "10002", -1, minute=1, price=4.0, text="LOST SPOON"),
    )
    mug, spoon = made.catalog
    assert (mug.name, mug.unit_price, mug.category, mug.simulated) == ("Red Mug", 2.0, None, ["lead_time_days"])
    assert (spoon.name, spoon.unit_price) == ("Lost Spoon", 4.0)


def test_lead_times_depend_on_seed_and_product_alone() -> None:
    times = [lead_time_days(str(sku), 7) for sku in range(500)]
    assert set(times) == {float(day) for day in range(3, 22)}
    assert times != [lead_time_days(str(sku), 8) for sku in range(500)]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("WHITE HANGING HEART T-LIGHT HOLDER", "White Hanging Heart T-Light Holder"),
        ("POPPY'S PLAYHOUSE  BEDROOM ", "Poppy's Playhouse Bedroom"),
        ("60 TEATIME FAIRY CAKE CASES", "60 Teatime Fairy Cake Cases"),
        ("THE KING GIFT BAG 25X24X12CM", "The King Gift Bag 25X24X12CM"),
        ("SET OF 3 LED LIGHTS", "Set of 3 LED Lights"),
        ("Voile Pointed Cap", "Voile Pointed Cap"),
    ],
)
def test_names_are_readable(given: str, wanted: str) -> None:
    assert readable(given) == wanted


def test_orders_cuts_at_the_time_of_the_nth_order(tmp_path: Path) -> None:
    rows = [
        row("1", "10001", 1),
        row("C2", "10001", -1, minute=1),
        row("3", "10001", 1, minute=2),
        row("4", "10001", 1, minute=2),
        row("5", "10009", -1, minute=2, price=0.0, customer=None),
        row("6", "10001", 1, minute=3),
        row("7", "10009", -1, minute=3, price=0.0, customer=None),
    ]
    made = imported(tmp_path, *rows, orders=2)
    assert [order.order_id for order in made.orders] == ["1", "C2", "3"]
    assert [adjusted.event_id for adjusted in made.adjustments] == ["or-5-0"]
    assert made.report.rows["after_the_last_order"] == 3
    everything = imported(tmp_path, *rows, orders=99)
    assert everything.report == imported(tmp_path, *rows).report
    with pytest.raises(UsageError, match="orders is 0"):
        imported(tmp_path, *rows, orders=0)


codes = st.sampled_from(["10001", "10001a", "10002", "POST", "D", "gift_1"])
tables = st.lists(
    st.builds(
        row,
        invoice=st.sampled_from(["1", "2", "3", "C4", "C5", "A6"]),
        code=codes,
        quantity=st.integers(-3, 3),
        minute=st.integers(0, 4),
        price=st.sampled_from([0.0, 1.5, -2.0]),
        customer=st.sampled_from([None, 1, 2]),
        text=st.sampled_from([None, "RED MUG"]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(rows=tables, orders=st.none() | st.integers(1, 4))
def test_every_row_is_accounted_for_once(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], orders: int | None
) -> None:
    made = imported(tmp_path_factory.mktemp("t"), *rows, orders=orders)
    report = made.report
    assert report.rows_read == len(rows) == sum(report.rows.values())
    for kind in (OrderPlaced, OrderCancelled, OrderReturned):
        events = [order for order in made.orders if isinstance(order, kind)]
        tag = kind.__struct_config__.tag
        assert report.rows[f"{tag}_lines"] == sum(len(order.lines) for order in events)
        assert report.rows[f"{tag}_charges"] == sum(len(order.charges) for order in events)
    assert report.rows["stock_corrections"] == len(made.adjustments)
    for order in made.orders:
        assert msgspec.convert(msgspec.to_builtins(order), type=type(order)) == order


def test_a_report_that_loses_rows_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="3 rows were read, but 2 are accounted for"):
        ImportReport(rows_read=3, rows={"rejected": 2}, events={})


def test_another_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pl.DataFrame({"InvoiceNo": ["1"]}).write_parquet(path)
    with pytest.raises(UsageError, match=r"other\.parquet: has no column StockCode, .* not the Online Retail table"):
        read_online_retail(path)
    with pytest.raises(UsageError, match=r"gone\.parquet: cannot be read as parquet"):
        read_online_retail(tmp_path / "gone.parquet")


def test_the_real_file_reconciles(tmp_path: Path) -> None:
    report = import_online_retail(REAL, tmp_path, orders=300)
    assert report.rows_read == 516_384
    assert set(report.rows) == set(WAYS)
    assert report.events["order_placed"] == 300
    assert json.loads((tmp_path / "import_report.json").read_bytes()) == msgspec.to_builtins(report)
    records = list(read_records(tmp_path))
    events = [msgspec.json.decode(record.value, type=TOPIC_TYPES[record.topic]) for record in records]
    kinds = Counter(event.__struct_config__.tag for event in events)
    assert kinds == report.events
    assert len({event.event_id for event in events if hasattr(event, "event_id")}) == len(events) - kinds["product"]

    # An independent count of the product lines, from the file itself.
    end = max(record.event_time_ms for record in records if record.topic == "orders")
    table = pl.read_parquet(REAL).filter(pl.col("InvoiceDate").dt.epoch("ms") <= end)
    sold = table.filter(
        ~pl.col("InvoiceNo").str.starts_with("C"),
        pl.col("StockCode").str.contains(r"^\d{5}"),
        pl.col("Quantity") > 0,
        (pl.col("UnitPrice") > 0) | pl.col("CustomerID").is_not_null(),
    )
    placed = sold["InvoiceNo"].unique(maintain_order=True).head(300).to_list()
    wanted = sold.filter(pl.col("InvoiceNo").is_in(placed))
    got = [(e.order_id, line.sku, line.quantity) for e in events if isinstance(e, OrderPlaced) for line in e.lines]
    codes = wanted["StockCode"].str.to_uppercase()
    rows = zip(wanted["InvoiceNo"], codes, wanted["Quantity"], strict=True)
    assert Counter(got) == Counter(rows)


def test_the_year_begins_like_its_first_orders() -> None:
    part, more = read_online_retail(REAL, 100), read_online_retail(REAL, 200)
    assert more.orders[: len(part.orders)] == part.orders
    assert more.adjustments[: len(part.adjustments)] == part.adjustments


def test_an_event_log_is_made_once(tmp_path: Path) -> None:
    out = tmp_path / "logs" / "demo"
    steps: list[str] = []
    made = build_event_log("online-retail", REAL, out, orders=30, progress=lambda step, share: steps.append(step))
    assert steps
    assert made.records.keys() == {"catalog", "offers", "orders", "clicks", "inventory"}
    steps.clear()
    again = build_event_log("online-retail", REAL, out, orders=30, progress=lambda step, share: steps.append(step))
    assert again == made
    assert not steps
    assert [path.name for path in out.parent.iterdir()] == ["demo"]


def test_stale_and_half_written_logs_are_made_anew(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    build_event_log("online-retail", REAL, out, orders=20)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert build_event_log("online-retail", REAL, out, orders=10).orders == 10
    assert build_event_log("online-retail", REAL, out, orders=10, simulate=False).records.keys() == {
        "catalog",
        "orders",
        "inventory",
    }
    build_event_log("online-retail", REAL, out, orders=20)
    (out / "clicks.parquet").unlink()
    build_event_log("online-retail", REAL, out, orders=20)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    (out / "event_log.json").write_text("{")
    build_event_log("online-retail", REAL, out, orders=20)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_a_directory_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.tex, which is no part of an event log"):
        build_event_log("online-retail", REAL, tmp_path, orders=10)
    assert (tmp_path / "thesis.tex").exists()


def test_unknown_names_and_sources(tmp_path: Path) -> None:
    assert known_sets()["online-retail"].attribution.endswith("CC BY 4.0")
    with pytest.raises(
        UsageError, match="no data set is called 'online'; known sets are freshretailnet, online-retail"
    ):
        build_event_log("online", REAL, tmp_path / "x")
    with pytest.raises(UsageError, match=r"gone\.parquet: cannot be read"):
        build_event_log("online-retail", tmp_path / "gone.parquet", tmp_path / "x")
