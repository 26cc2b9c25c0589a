"""What a graph costs: CPU time a row at several batch sizes, and how long the slowest calls take."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from export.verify import InputsOf
from models.session import Session

Arrays = dict[str, NDArray[Any]]

BATCHES = (1, 16, 256, 1024, 4096)
_LEAST_CALLS, _LEAST_S = 20, 0.4


class Cost(msgspec.Struct, frozen=True):
    """Of one batch size.

    Args:
        rows: of a call.
        us_per_row: mean CPU time, of one core.
        p50_ms, p99_ms: of whole calls, by the wall clock.
        caller: who asks just so; empty where every input has rows.
    """

    rows: int
    us_per_row: float
    p50_ms: float
    p99_ms: float
    caller: str = ""


def benchmark(
    session: Session,
    inputs_of: InputsOf,
    shared: frozenset[str],
    batches: Sequence[int] = BATCHES,
    callers: Mapping[str, Collection[str]] | None = None,
) -> list[Cost]:
    """Runs batches of real rows again and again, in this thread alone, as a worker does.

    Args:
        session: of the graph.
        inputs_of: gives so many rows, by a seed.
        shared: inputs that are not a row each.
        batches: rows of a call.
        callers: of inputs with rows apart, which ones each caller sends; measured beside with the largest batch.
    """
    costs = [_cost(session, inputs_of(rows, rows), shared, rows) for rows in batches]
    apart = {name for names in (callers or {}).values() for name in names}
    for caller, names in (callers or {}).items():
        inputs = inputs_of(batches[-1], batches[-1])
        sent = {name: array for name, array in inputs.items() if name not in apart or name in names}
        costs.append(structs.replace(_cost(session, sent, shared, batches[-1]), caller=caller))
    return costs


def _cost(session: Session, inputs: Arrays, shared: frozenset[str], rows: int) -> Cost:
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
    >>> told([Cost(4096, 5.0, 20.0, 21.0, "as a worker asks")])[-1]
    '| 4,096, as a worker asks | 5.0 | 20.0 | 21.0 |'
    """
    lines = ["| rows a call | CPU µs a row | p50 ms a call | p99 ms a call |", "| --- | --- | --- | --- |"]
    who = [f"{c.rows:,}, {c.caller}" if c.caller else f"{c.rows:,}" for c in costs]
    return [*lines, *(f"| {w} | {c.us_per_row} | {c.p50_ms} | {c.p99_ms} |" for w, c in zip(who, costs, strict=True))]
