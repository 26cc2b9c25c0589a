"""What a graph costs: CPU time a row at several batch sizes, and how long the slowest calls take."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import numpy as np

from export.verify import InputsOf
from models.session import Session

BATCHES = (1, 16, 256, 1024, 4096)
_LEAST_CALLS, _LEAST_S = 20, 0.4


class Cost(msgspec.Struct, frozen=True):
    """Of one batch size.

    Args:
        rows: of a call.
        us_per_row: mean CPU time, of one core.
        p50_ms, p99_ms: of whole calls, by the wall clock.
    """

    rows: int
    us_per_row: float
    p50_ms: float
    p99_ms: float


def benchmark(
    session: Session, inputs_of: InputsOf, shared: frozenset[str], batches: Sequence[int] = BATCHES
) -> list[Cost]:
    """Runs batches of real rows again and again, in this thread alone, as a worker does."""
    return [_cost(session, inputs_of, shared, rows) for rows in batches]


def _cost(session: Session, inputs_of: InputsOf, shared: frozenset[str], rows: int) -> Cost:
    inputs = inputs_of(rows, rows)
    session.run(inputs, rows=rows, shared=shared)  # memory is planned at the first call of a shape
    walls: list[float] = []
    cpu, until = time.thread_time(), time.monotonic() + _LEAST_S
    while len(walls) < _LEAST_CALLS or time.monotonic() < until:
        begun = time.perf_counter()
        session.run(inputs, rows=rows, shared=shared)
        walls.append(time.perf_counter() - begun)
    us = (time.thread_time() - cpu) / (len(walls) * rows) * 1e6
    p50, p99 = np.percentile(walls, [50, 99]).tolist()
    return Cost(rows, round(us, 3), round(p50 * 1000, 3), round(p99 * 1000, 3))


def told(costs: Sequence[Cost]) -> list[str]:
    """As a Markdown table.

    >>> told([Cost(1, 20.0, 0.02, 0.03)])[-1]
    '| 1 | 20.0 | 0.02 | 0.03 |'
    """
    lines = ["| rows a call | CPU µs a row | p50 ms a call | p99 ms a call |", "| --- | --- | --- | --- |"]
    return [*lines, *(f"| {c.rows:,} | {c.us_per_row} | {c.p50_ms} | {c.p99_ms} |" for c in costs)]
