"""The spine: for whom and as of when rows are asked for. Its other columns are passed through.

Of each row its time and the number of its entity are held in memory, 16 bytes; all else stays in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.history.asked import HistoryError
from features.logcolumns import ids_of, numbers
from features.logfile import first_null, flat, is_text

#: Names of the column that says who, by entity.
KEYS = {
    "customer": ("customer", "customer_id"),
    "item": ("item",),
    "product": ("product", "sku"),
    "region": ("region",),
}
_TIMES = ("as_of_ms", "as_of")
_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Asking:
    """The entities of one kind that a spine asks for.

    Args:
        keys: their ids (XXH3-64 of the key), ascending, each once, uint64.
        number: which of them each spine row asks for, int64 of shape (n,).
    """

    keys: NDArray[np.uint64]
    number: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spine:
    """A spine with n rows.

    Args:
        path: as the person who asked names it.
        file: the same as parquet.
        as_of_ms: int64 of shape (n,).
        asking: by entity.
    """

    path: Path
    file: Path
    as_of_ms: NDArray[np.int64]
    asking: dict[str, Asking]

    def __len__(self) -> int:
        return len(self.as_of_ms)

    @property
    def schema(self) -> Any:
        """Its columns, an Arrow schema."""
        return pq.read_schema(self.file).remove_metadata()

    def batches(self, rows: int) -> Iterator[Any]:
        """All its columns, in order, some rows at a time: Arrow record batches."""
        with pq.ParquetFile(self.file) as file:
            yield from file.iter_batches(batch_size=rows, use_threads=False)


def read_spine(path: Path, entities: list[str], scratch: Path, include_equal: bool = False) -> Spine:
    """Reads who and when.

    Args:
        path: parquet, or CSV or JSONL with that ending.
        entities: the kinds that must be there.
        scratch: a directory for a copy as parquet.

    Raises:
        HistoryError: a file that cannot be read, a column that is missing or of a wrong type, or a null in one.
    """
    file = _as_parquet(path, scratch)
    try:
        names = pq.read_schema(file).names
    except (pa.ArrowInvalid, OSError) as problem:
        raise HistoryError(f"{path} is no parquet file: {problem}") from problem
    when = _one_of(path, names, _TIMES, "the time")
    who = {entity: _one_of(path, names, KEYS[entity], f"the {entity}") for entity in entities}
    times: list[NDArray[np.int64]] = []
    ids: dict[str, list[NDArray[np.uint64]]] = {entity: [] for entity in entities}
    first = 0
    with pq.ParquetFile(file) as reader:
        for batch in reader.iter_batches(_BATCH_ROWS, columns=[when, *who.values()], use_threads=False):
            times.append(_milliseconds(path, when, batch.column(when), first, include_equal))
            for entity, column in who.items():
                ids[entity].append(ids_of(_texts(path, column, batch.column(column), first)))
            first += batch.num_rows
    asking = {entity: _asking(found) for entity, found in ids.items()}
    return Spine(path, file, np.concatenate([np.empty(0, np.int64), *times]), asking)


def _asking(ids: list[NDArray[np.uint64]]) -> Asking:
    keys, number = np.unique(np.concatenate([np.empty(0, np.uint64), *ids]), return_inverse=True)
    return Asking(keys, number.astype(np.int64))


def _as_parquet(path: Path, scratch: Path) -> Path:
    if not path.is_file():
        raise HistoryError(f"there is no spine {path}")
    if path.suffix not in (".csv", ".jsonl", ".ndjson"):
        return path
    target = scratch / "spine.parquet"
    # Keys stay text, so that a leading zero is kept.
    texts = {name: pl.String() for names in KEYS.values() for name in names}
    try:
        if path.suffix == ".csv":
            header = pl.scan_csv(path).collect_schema().names()
            found = {name: kind for name, kind in texts.items() if name in header}
            table = pl.scan_csv(path, schema_overrides=found, try_parse_dates=True)
        else:
            table = pl.scan_ndjson(path)
        table.sink_parquet(target)
    except (pl.exceptions.PolarsError, OSError) as problem:
        raise HistoryError(f"{path} cannot be read: {problem}") from problem
    return target


def _one_of(path: Path, names: list[str], wanted: tuple[str, ...], what: str) -> str:
    found = [name for name in wanted if name in names]
    if len(found) == 1:
        return found[0]
    said = " or ".join(repr(name) for name in wanted)
    if found:
        raise HistoryError(f"spine {path}: {what} is told twice, by {' and '.join(map(repr, found))}; keep one of them")
    raise HistoryError(f"spine {path} has no column {said} for {what}; it has {', '.join(names) or 'none'}")


def _whole(path: Path, name: str, values: Any, first: int) -> Any:
    values = flat(values)
    if values.null_count:
        raise HistoryError(f"spine {path}: row {first + first_null(values) + 1}: column {name!r} is null")
    return values


def _milliseconds(path: Path, name: str, values: Any, first: int, down: bool) -> NDArray[np.int64]:
    values = _whole(path, name, values, first)
    if name == "as_of" and is_text(values.type):
        values = _parsed(path, name, values, first)
    timed = pa.types.is_timestamp(values.type) or pa.types.is_date(values.type)
    if not (timed if name == "as_of" else pa.types.is_integer(values.type)):
        kind = "dates with times" if name == "as_of" else "whole milliseconds"
        raise HistoryError(f"spine {path}: column {name!r} holds {values.type}; it should hold {kind}")
    if not timed:
        return numbers(values, 0, np.int64)
    if pa.types.is_date(values.type):
        values = pc.cast(values, pa.timestamp("ms"))
    finer = {"s": 0.001, "ms": 1, "us": 1_000, "ns": 1_000_000}[values.type.unit]
    found = numbers(pc.cast(values, pa.int64()), 0, np.int64)
    if finer < 1:
        return found * 1_000
    # An event half a millisecond before a finer time is before it; one at the same millisecond is not after it.
    return found // int(finer) if down else -(-found // int(finer))


def _parsed(path: Path, name: str, values: Any, first: int) -> Any:
    texts = pl.Series(name, values.to_pylist(), pl.String)
    times = texts.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    if times.null_count():
        at = int(times.is_null().arg_max() or 0)
        raise HistoryError(f"spine {path}: row {first + at + 1}: column {name!r} holds {texts[at]!r}, which is no time")
    return times.to_arrow()


def _texts(path: Path, name: str, values: Any, first: int) -> Any:
    values = _whole(path, name, values, first)
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if not (is_text(kind) or pa.types.is_integer(kind)):
        raise HistoryError(f"spine {path}: column {name!r} holds {kind}; keys are texts or whole numbers")
    return flat(pc.cast(values, pa.string()))
