"""Any CSV or parquet table into a topic of an event log, by a small mapping file.

For a table with one row an order line:

    [topic]
    name = "orders"
    type = "order_placed"
    group_by = "Invoice"            # rows with one invoice are the lines of one order

    [fields]                        # field of the record = column
    order_id = "Invoice"
    event_time_ms = "Date"
    customer_id = "Customer"

    [lines]                         # field of a line = column
    sku = "Code"
    quantity = "Units"
    unit_price = "Price"

    [constants]                     # field of the record = value
    location = "warehouse"

    [time]
    format = "%d/%m/%Y %H:%M"       # or "iso" (the default), "ms", "s"
    zone = "Europe/London"          # of times that name none; UTC by default

The fields of a grouped record are those of its first row. Without an `event_id`, it is made of the topic and the
group or the row number. The record key follows from the fields (`customer_id`, `location:sku`, `sku`, `offer_id`).
Events are written in event-time order: a table does not say when its rows arrived.

Rows that do not fit go to `rejected.jsonl`, with the row number (from 1, without the header), the reason and the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import orjson
import polars as pl

from stream.errors import UsageError
from stream.eventlog import REFERENCE_TOPICS, write_topic
from stream.imports.mapping_file import TIME_FIELDS, TableMapping, is_text, line_type, load_mapping, record_fields

_ROW, _GROUP = "\0row", "\0group"
_Row = dict[str, Any]


class MappingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a table: `rows_used + rows_rejected == rows_read`.

    Args:
        rows_read: rows of the table.
        rows_used: rows that are in a record.
        rows_rejected: rows in `rejected.jsonl`.
        records: records written.
    """

    rows_read: int
    rows_used: int
    rows_rejected: int
    records: int


class _Rejected(msgspec.Struct, frozen=True):
    row: int
    reason: str


def import_table(mapping_file: Path, source: Path, out: Path) -> MappingReport:
    """Writes a topic of an event log from a table.

    Args:
        mapping_file: TOML, as above.
        source: a `.csv` or `.parquet` file.
        out: the event log's directory; the topic's file and `rejected.jsonl` are written anew.

    Returns:
        How many rows became records, and how many did not fit.

    Raises:
        UsageError: the mapping or the table cannot be used at all; the message names the file and the key.
    """
    mapping = load_mapping(mapping_file)
    table = _read_table(source, mapping)
    if missing := [name for name in mapping.columns if name not in table.columns]:
        has = ", ".join(table.columns)
        raise UsageError(f"{mapping_file}: {source} has no column {missing[0]!r}; its columns are {has}")
    records: list[msgspec.Struct] = []
    rejected: list[_Rejected] = []
    for group in _groups(_typed(table, mapping), mapping):
        record, misfits = _record(group, mapping)
        rejected += misfits
        if record is not None:
            records.append(record)
    if mapping.topic.name not in REFERENCE_TOPICS:
        records.sort(key=lambda record: int(getattr(record, "event_time_ms", 0)))
    written = write_topic(out, mapping.topic.name, records)
    _write_rejected(out / "rejected.jsonl", rejected, table)
    return MappingReport(
        rows_read=table.height,
        rows_used=table.height - len(rejected),
        rows_rejected=len(rejected),
        records=written,
    )


def _read_table(source: Path, mapping: TableMapping) -> pl.DataFrame:
    if source.suffix not in (".csv", ".parquet"):
        raise UsageError(f"{source}: is neither .csv nor .parquet; give one of these")
    try:
        if source.suffix == ".parquet":
            return pl.read_parquet(source)
        return pl.read_csv(source, infer_schema=False, separator=mapping.separator)
    except (OSError, pl.exceptions.PolarsError) as problem:
        raise UsageError(f"{source}: cannot be read as a table: {problem}") from problem


def _typed(table: pl.DataFrame, mapping: TableMapping) -> pl.DataFrame:
    """Columns named by field ("f:" and "l:" in front), text as text and moments as ms."""
    record = record_fields(mapping.record_type)
    line = record_fields(line_type(mapping.record_type)) if mapping.lines else {}
    columns = [pl.int_range(1, pl.len() + 1).alias(_ROW)]
    for prefix, names, fields in (("f:", mapping.fields, record), ("l:", mapping.lines, line)):
        for name, column in names.items():
            if name in TIME_FIELDS:
                value = _moment(table[column], mapping)
            else:
                value = _text(table[column]) if is_text(fields[name]) else pl.col(column)
            columns.append(value.alias(prefix + name))
    if mapping.topic.group_by:
        columns.append(_text(table[mapping.topic.group_by]).alias(_GROUP))
    return table.select(columns)


def _text(column: pl.Series) -> pl.Expr:
    """As text. Numbers that are whole are written without a fraction: tables with nulls often hold ids as floats."""
    text = pl.col(column.name).cast(pl.String)
    return text.str.strip_suffix(".0") if column.dtype.is_float() else text


def _moment(column: pl.Series, mapping: TableMapping) -> pl.Expr:
    value, form = pl.col(column.name), mapping.time.format
    if form in ("ms", "s"):
        return (
            (value.cast(pl.Float64, strict=False) * (1000 if form == "s" else 1)).round().cast(pl.Int64, strict=False)
        )
    if column.dtype == pl.String:
        pattern = None if form == "iso" else form
        column = _parsed(column, pattern)
        value = pl.lit(column)
    if not column.dtype.is_temporal():
        raise UsageError(f'column {column.name!r} holds {column.dtype}, no times; set [time] format to "ms" or "s"')
    value = value.cast(pl.Datetime("ms", getattr(column.dtype, "time_zone", None)))
    if getattr(column.dtype, "time_zone", None) is None:
        # An hour that happens twice is taken as the first; one that never was does not fit.
        value = value.dt.replace_time_zone(mapping.time.zone, ambiguous="earliest", non_existent="null")
    return value.dt.epoch("ms")


def _parsed(column: pl.Series, pattern: str | None) -> pl.Series:
    try:
        return column.str.to_datetime(pattern, time_unit="ms", strict=False)
    except pl.exceptions.PolarsError as problem:
        raise UsageError(f"column {column.name!r} cannot be read as times: {problem}; set [time] format") from problem


def _groups(table: pl.DataFrame, mapping: TableMapping) -> Iterator[list[_Row]]:
    rows: Iterator[_Row] = table.iter_rows(named=True)
    if not mapping.topic.group_by:
        return ([row] for row in rows)
    order = table.with_columns(first=pl.col(_ROW).min().over(_GROUP)).sort("first", _ROW).drop("first")
    return (list(group) for _, group in groupby(order.iter_rows(named=True), key=lambda row: row[_GROUP]))


def _record(rows: list[_Row], mapping: TableMapping) -> tuple[msgspec.Struct | None, list[_Rejected]]:
    first = rows[0]
    if mapping.topic.group_by and first[_GROUP] is None:
        return None, [_Rejected(row[_ROW], f"{mapping.topic.group_by} is empty") for row in rows]
    made_id = f"{mapping.topic.name}-{first[_GROUP] if mapping.topic.group_by else first[_ROW]}"
    values: _Row = {"event_id": made_id} if "event_id" in record_fields(mapping.record_type) else {}
    values |= mapping.constants | _part(first, "f:")
    rejected: list[_Rejected] = []
    if mapping.lines:
        values["lines"], rejected = _lines(rows, mapping)
        if not values["lines"]:
            return None, rejected
    try:
        return msgspec.convert(values, type=mapping.record_type, strict=False), rejected
    except msgspec.ValidationError as problem:
        known = {misfit.row for misfit in rejected}
        rest = [_Rejected(row[_ROW], _reason(problem, mapping)) for row in rows if row[_ROW] not in known]
        return None, [*rejected, *rest]


def _lines(rows: list[_Row], mapping: TableMapping) -> tuple[list[_Row], list[_Rejected]]:
    """The rows that are lines, and those that are not."""
    kind = line_type(mapping.record_type)
    lines, rejected = [], []
    for row in rows:
        line = mapping.line_constants | _part(row, "l:")
        try:
            msgspec.convert(line, type=kind, strict=False)
        except msgspec.ValidationError as problem:
            rejected.append(_Rejected(row[_ROW], f"line: {problem}"))
        else:
            lines.append(line)
    return lines, rejected


def _part(row: _Row, prefix: str) -> _Row:
    """Fields of the record or of the line; an empty cell is a field that is not there."""
    start = len(prefix)
    return {name[start:]: value for name, value in row.items() if value is not None and name.startswith(prefix)}


def _reason(problem: msgspec.ValidationError, mapping: TableMapping) -> str:
    """An unreadable moment is a missing field by now: say what it was tried with."""
    unread = any(name in str(problem) for name in TIME_FIELDS)
    time = mapping.time
    local = time.zone != "UTC" and time.format not in ("ms", "s")
    skipped = f", or an hour that clocks in {time.zone} skipped" if local else ""
    return f"{problem} (empty, or not in [time] format {time.format!r}{skipped})" if unread else str(problem)


def _write_rejected(path: Path, rejected: list[_Rejected], table: pl.DataFrame) -> None:
    with path.open("wb") as file:
        for misfit in sorted(rejected, key=lambda each: each.row):
            values = {name: value for name, value in table.row(misfit.row - 1, named=True).items() if value is not None}
            row = {"row": misfit.row, "reason": misfit.reason, "values": values}
            file.write(orjson.dumps(row, default=str) + b"\n")
