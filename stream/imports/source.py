"""The tables of known data sets: their columns as the imports want them, or why they are not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from stream.errors import UsageError

Kind = pl.DataType | type[pl.DataType]


def read_columns(
    path: Path, columns: Mapping[str, Kind], of: str, file: str, others: Mapping[str, str] | None = None
) -> pl.DataFrame:
    """Some columns of a parquet table, each as the kind that is wanted; dates may be text (ISO 8601).

    Args:
        path: the table.
        columns: their names, and what each is to hold.
        of: whose table it is, as errors call it.
        file: which file to give, as errors call it.
        others: of columns that are published by another name as well, that name.

    Raises:
        UsageError: it is no parquet, lacks a column, or a column holds something else.
    """
    try:
        there = pl.read_parquet_schema(path)
    except (OSError, pl.exceptions.PolarsError) as problem:
        raise UsageError(f"{path}: cannot be read as parquet ({problem}); give {file}") from problem
    named = {name: name if name in there else (others or {}).get(name, name) for name in columns}
    if missing := [name for name, own in named.items() if own not in there]:
        raise UsageError(f"{path}: has no column {', '.join(missing)}; this is not {of}")
    table = pl.read_parquet(path, columns=list(dict.fromkeys(named.values())))
    return pl.DataFrame(
        [
            _as(table[own], kind, path).alias(name)
            for (name, kind), own in zip(columns.items(), named.values(), strict=True)
        ]
    )


def _as(column: pl.Series, kind: Kind, path: Path) -> pl.Series:
    """A column as another kind; UsageError where a value is none."""
    try:
        if column.dtype == pl.String and kind == pl.Date:
            return column.str.to_date()
        if column.dtype == pl.String and isinstance(kind, pl.Datetime):
            return column.str.to_datetime(time_unit=kind.time_unit)
        return column.cast(kind)
    except pl.exceptions.PolarsError as problem:
        why = str(problem).partition("\n")[0]
        raise UsageError(f"{path}: column {column.name} holds {column.dtype}, not {kind}: {why}") from problem
