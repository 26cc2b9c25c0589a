from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import UsageError
from stream.eventlog import TOPIC_TYPES, read_records
from stream.imports.mapping import import_table

ORDERS = """
[topic]
name = "orders"
type = "order_placed"
group_by = "Invoice"
[fields]
order_id = "Invoice"
event_time_ms = "Date"
customer_id = "Customer"
[lines]
sku = "Code"
quantity = "Units"
unit_price = "Price"
[constants]
location = "shop-1"
[time]
format = "%d/%m/%Y %H:%M"
zone = "Europe/London"
"""
CSV = """Invoice,Code,Units,Price,Date,Customer
7,A,2,1.50,01/07/2024 10:00,42
8,A,1,1.50,30/06/2024 09:00,
7,B,1,3,01/07/2024 10:00,42
"""


def run(tmp_path: Path, mapping: str, table: str | pl.DataFrame) -> tuple[Any, list[Any], list[dict[str, Any]]]:
    """The report, the decoded records, and the rejected rows."""
    toml = tmp_path / "map.toml"
    toml.write_text(mapping)
    if isinstance(table, str):
        source = tmp_path / "table.csv"
        source.write_text(table)
    else:
        source = tmp_path / "table.parquet"
        table.write_parquet(source)
    report = import_table(toml, source, tmp_path / "log")
    records = [msgspec.json.decode(r.value, type=TOPIC_TYPES[r.topic]) for r in read_records(tmp_path / "log")]
    lines = (tmp_path / "log" / "rejected.jsonl").read_text().splitlines()
    assert report.rows_used + report.rows_rejected == report.rows_read
    assert report.rows_rejected == len(lines)
    assert report.records == len(records)
    return report, records, [json.loads(line) for line in lines]


def test_rows_of_a_group_are_the_lines_of_an_order(tmp_path: Path) -> None:
    report, (guest, order), rejected = run(tmp_path, ORDERS, CSV)
    assert not rejected
    assert (report.rows_read, report.records) == (3, 2)
    assert (guest.order_id, guest.customer_id) == ("8", None)
    assert (order.event_id, order.customer_id, order.location) == ("orders-7", "42", "shop-1")
    assert [(line.sku, line.quantity, line.unit_price) for line in order.lines] == [("A", 2.0, 1.5), ("B", 1.0, 3.0)]
    assert order.event_time_ms == 1_719_824_400_000, "10:00 in a London summer is 09:00 UTC"


def test_rows_that_do_not_fit_are_kept_with_reasons(tmp_path: Path) -> None:
    bad = CSV + (
        "7,C,-1,3,01/07/2024 10:00,42\n"
        "9,A,1,2,yesterday,42\n"
        "9,B,x,2,yesterday,42\n"
        ",A,1,2,01/07/2024 10:00,42\n"
        "10,A,nan,2,01/07/2024 10:00,42\n"
    )
    report, _, rejected = run(tmp_path, ORDERS, bad)
    assert (report.rows_read, report.rows_rejected, report.records) == (8, 5, 2)
    assert [each["row"] for each in rejected] == [4, 5, 6, 7, 8]
    assert rejected[0]["reason"] == "line: Expected `float` > 0.0 - at `$.quantity`"
    assert rejected[0]["values"]["Code"] == "C"
    assert rejected[1]["reason"] == (
        "Object missing required field `event_time_ms` (empty, or not in [time] format '%d/%m/%Y %H:%M',"
        " or an hour that clocks in Europe/London skipped)"
    )
    assert rejected[1]["values"]["Date"] == "yesterday"
    assert rejected[2]["reason"] == "line: Expected `float`, got `str` - at `$.quantity`"
    assert rejected[3]["reason"] == "Invoice is empty"
    assert "quantity" in rejected[4]["reason"]


def test_an_hour_that_clocks_skip_is_among_the_reasons(tmp_path: Path) -> None:
    skipped = "9,A,1,2,31/03/2024 01:30,42\n"
    _, _, rejected = run(tmp_path, ORDERS, CSV + skipped)
    assert "or an hour that clocks in Europe/London skipped" in rejected[-1]["reason"]
    (tmp_path / "utc").mkdir()
    _, _, rejected = run(
        tmp_path / "utc", ORDERS.replace("Europe/London", "UTC"), CSV + skipped + "10,A,1,2,yesterday,42\n"
    )
    assert [each["row"] for each in rejected] == [5]
    assert "skipped" not in rejected[0]["reason"]


INVENTORY = """
[topic]
name = "inventory"
type = "purchase_order_placed"
[fields]
event_time_ms = "at"
expected_at_ms = "due"
sku = "item"
quantity = "n"
purchase_order_id = "po"
[constants]
location = "w"
"""


def test_parquet_with_real_times_and_float_ids(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "at": pl.Series([1_000, 500], dtype=pl.Int64).cast(pl.Datetime("ms")),
            "due": pl.Series([9_000, 9_000], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
            "item": [17.0, 18.0],
            "n": [3, 4],
            "po": ["a", "b"],
        }
    )
    _, records, rejected = run(tmp_path, INVENTORY, table)
    assert not rejected
    assert [(r.event_time_ms, r.sku, r.event_id) for r in records] == [
        (500, "18", "inventory-2"),
        (1_000, "17", "inventory-1"),
    ]
    assert records[0].expected_at_ms == 9


@pytest.mark.parametrize(
    ("form", "cell", "wanted"),
    [
        ("iso", "2024-07-01T10:00:00", 1_719_828_000_000),
        ("iso", "2024-07-01 10:00:00", 1_719_828_000_000),
        ("iso", "2024-07-01T10:00:00+02:00", 1_719_820_800_000),
        ("ms", "1719828000000", 1_719_828_000_000),
        ("s", "1719828000.5", 1_719_828_000_500),
    ],
)
def test_time_formats(tmp_path: Path, form: str, cell: str, wanted: int) -> None:
    mapping = INVENTORY + f'[time]\nformat = "{form}"\n'
    _, (record,), _ = run(tmp_path, mapping, f"at,due,item,n,po\n{cell},{cell},A,1,p\n")
    assert (record.event_time_ms, record.expected_at_ms) == (wanted, wanted)


def test_hours_that_never_were_do_not_fit_and_double_ones_are_the_first(tmp_path: Path) -> None:
    mapping = INVENTORY + '[time]\nzone = "Europe/London"\n'
    rows = "2024-03-31T01:30:00,2024-10-27T01:30:00,A,1,p\n2024-10-27T01:30:00,2024-10-27T01:30:00,A,1,p\n"
    _, (record,), (rejected,) = run(tmp_path, mapping, "at,due,item,n,po\n" + rows)
    assert rejected["row"] == 1
    assert record.event_time_ms == 1_729_989_000_000


def test_reference_topics_need_no_type(tmp_path: Path) -> None:
    mapping = '[topic]\nname = "catalog"\n[fields]\nsku = "a"\nname = "b"\nunit_price = "c"\n'
    _, (record,), _ = run(tmp_path, mapping, "a,b,c\nX,Bowl,1.5\n")
    assert (record.sku, record.name, record.unit_price, record.lead_time_days) == ("X", "Bowl", 1.5, 7.0)


def test_separator(tmp_path: Path) -> None:
    mapping = 'separator = ";"\n[topic]\nname = "catalog"\n[fields]\nsku = "a"\nname = "b"\nunit_price = "c"\n'
    _, (record,), _ = run(tmp_path, mapping, "a;b;c\nX;Bowl, red;1.5\n")
    assert record.name == "Bowl, red"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('name = "orders"', 'name = "sales"'), "[topic] name: no topic 'sales'; topics are catalog, offers, orders"),
        (('type = "order_placed"', 'type = "sold"'), "[topic] type: no type 'sold'; topic 'orders' has order_placed"),
        (('type = "order_placed"', ""), "[topic] type: missing; topic 'orders' has order_placed, order_cancelled"),
        (('order_id = "Invoice"', ""), "[fields] lacks order_id; name a column, or a value in [constants]"),
        (('customer_id = "', 'custmer = "'), "[fields] custmer: no such field; fields are event_id, "),
        (('sku = "Code"', 'skew = "Code"'), "[lines] skew: no such field; fields are sku, quantity"),
        (('location = "shop-1"', 'location = "shop-1"\norder_id = "x"'), "order_id is in [fields] and in [constants]"),
        (('zone = "Europe/London"', 'zone = "London"'), "[time] zone: 'London' is no time zone"),
        (('format = "', 'formt = "'), "Object contains unknown field `formt`"),
        (('= "Units"', '= "Menge"'), "has no column 'Menge'; its columns are Invoice, Code"),
        (("[constants]", "[constants"), "map.toml:"),
    ],
)
def test_a_wrong_mapping_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in ORDERS
    with pytest.raises(UsageError) as error:
        run(tmp_path, ORDERS.replace(*change, 1), CSV)
    assert message in str(error.value)
    assert "map.toml" in str(error.value)


def test_lines_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\[lines\]: a purchase_order_placed record has no lines"):
        run(tmp_path, INVENTORY + '[lines]\nsku = "item"\n', "at\n1\n")
    with pytest.raises(UsageError, match=r"\[topic\] group_by makes one record of several rows; say in \[lines\]"):
        run(tmp_path, INVENTORY.replace("[fields]", 'group_by = "po"\n[fields]'), "at\n1\n")


def test_sources_that_are_no_tables(tmp_path: Path) -> None:
    toml = tmp_path / "map.toml"
    toml.write_text(ORDERS)
    with pytest.raises(UsageError, match=r"gone\.csv: cannot be read"):
        import_table(toml, tmp_path / "gone.csv", tmp_path)
    with pytest.raises(UsageError, match=r"a\.xlsx: is neither \.csv nor \.parquet"):
        import_table(toml, tmp_path / "a.xlsx", tmp_path)
    with pytest.raises(UsageError, match=r"none\.toml: cannot be read"):
        import_table(tmp_path / "none.toml", tmp_path / "gone.csv", tmp_path)


cells = st.sampled_from(["", "1", "0", "-2", "1e3", "nan", "inf", "x", "01/07/2024 10:00", "7", "8"])


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(cells, cells, cells, cells, cells, cells), min_size=1, max_size=12))
def test_no_row_is_ever_lost(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]]) -> None:
    header, *_ = CSV.splitlines()
    table = pl.DataFrame(rows, schema=header.split(","), orient="row").with_columns(pl.all().replace("", None))
    report, records, rejected = run(tmp_path_factory.mktemp("m"), ORDERS, table)
    assert sum(len(record.lines) for record in records) == report.rows_used
    assert len({each["row"] for each in rejected}) == len(rejected)
