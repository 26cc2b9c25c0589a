"""Output: the answers of all shards beside the spine's own columns, in the spine's order, as parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.history.asked import HistoryError, Progress, partial_of
from features.history.spine import Spine

_GROUP_BYTES = 16_000_000
_GROUP_ROWS = 65_536


class Answers:
    """The answers for one kind of entity; those of a shard are in memory or in a file, in the spine's order.

    Args:
        kind: of `answer_type`.
        path: how the names of its files begin; None where there is one shard, which stays in memory.
    """

    def __init__(self, kind: np.dtype[np.void], path: Path | None) -> None:
        self.kind = kind
        self._base = path
        self._whole = np.empty(0, kind)
        self._rows: list[NDArray[np.int64]] = []

    def add(self, rows: NDArray[np.int64], answers: NDArray[np.void]) -> None:
        """Takes in the next shard's answers: for which spine rows, ascending, and what."""
        if self._base is None:
            self._whole = answers
        else:
            answers.tofile(self._path(len(self._rows)))
        self._rows.append(rows)

    def between(self, begin: int, end: int) -> NDArray[np.void]:
        """The answers for the spine rows from `begin` to before `end`."""
        if self._base is None:
            return self._whole[begin:end]
        out = np.empty(end - begin, self.kind)
        for shard, rows in enumerate(self._rows):
            low, high = np.searchsorted(rows, [begin, end]).tolist()
            if low < high:
                offset = low * self.kind.itemsize
                out[rows[low:high] - begin] = np.fromfile(self._path(shard), self.kind, high - low, offset=offset)
        return out

    def _path(self, shard: int) -> Path:
        assert self._base is not None
        return self._base.with_name(f"{self._base.name}-{shard}")


def _arrow(name: str, values: NDArray[Any]) -> Any:
    if values.ndim == 2:
        offsets = np.arange(0, values.size + 1, max(values.shape[1], 1), dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(values).ravel()))
    missing = values == 0 if name.endswith("__event_time_ms") else None
    return pa.array(np.ascontiguousarray(values), mask=missing)


def _field(name: str, kind: np.dtype[Any]) -> Any:
    item = pa.from_numpy_dtype(kind.base)
    return pa.field(name, pa.list_(item) if kind.shape else item)


def check_names(spine: Spine, kinds: Sequence[np.dtype[np.void]]) -> None:
    """No column of the spine may be named as one that is given.

    Raises:
        HistoryError: one is.
    """
    given = {name for kind in kinds for name in kind.names or ()}
    twice = [name for name in spine.schema.names if name in given]
    if twice:
        raise HistoryError(f"spine {spine.path} has a column {twice[0]!r}, which is to be filled; rename it")


def write(spine: Spine, answers: Sequence[Answers], out: Path, progress: Progress) -> None:
    """Writes the rows; the file appears only when it is complete."""
    fields = [_field(name, a.kind[name]) for a in answers for name in a.kind.names or ()]
    schema = pa.schema([*spine.schema, *fields])
    row_bytes = sum(a.kind.itemsize for a in answers)
    size = max(1024, min(_GROUP_ROWS, _GROUP_BYTES // max(row_bytes, 1)))
    partial = partial_of(out)
    done = 0
    try:
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for batch in spine.batches(size):
                columns = list(batch.columns)
                for found in (a.between(done, done + batch.num_rows) for a in answers):
                    columns += [_arrow(name, found[name]) for name in found.dtype.names or ()]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema), row_group_size=size)
                done += batch.num_rows
                progress("writing", done / len(spine))
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
