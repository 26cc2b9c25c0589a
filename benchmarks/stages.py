"""CPU time an event of each stage of the worker, without broker or store: `python benchmarks/stages.py [--json FILE]`.

Takes real orders with simulated clicks and stock through decode, micro-batch, fold, assemble, score, repartition and
pack in batches of 4,096, several times, and tells the best round (the machine is shared). Poll, encode, produce and the
store's round trip are not in it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson
from rich.console import Console
from rich.table import Table

from features.store import MemoryStore
from stream.decode import Decoder
from stream.demo.run import DATA
from stream.eventlog import LogRecord, read_records
from stream.fold import State
from stream.imports import build_event_log
from stream.metrics import Metrics
from stream.ownership import Ownership
from stream.reference import Reference
from stream.repartition import demand_of
from stream.score import Scoring, load_models
from stream.settings import load

T = TypeVar("T")
BATCH = 4_096


class Record:
    """A record as the binding gives it."""

    def __init__(self, record: LogRecord, offset: int) -> None:
        self._record, self._offset = record, offset

    def topic(self) -> str:
        return self._record.topic

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._record.key

    def value(self) -> bytes | None:
        return self._record.value

    def headers(self) -> list[tuple[str, bytes]] | None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 2, 2_000_000_000_000


def timed(cost: dict[str, float], stage: str, call: Callable[[], T]) -> T:
    begun = time.process_time()
    answer = call()
    cost[stage] = cost.get(stage, 0.0) + time.process_time() - begun
    return answer


def run(events: Path) -> tuple[dict[str, float], int]:
    """Seconds of CPU by stage, and how many events."""
    settings = load(environ={}).settings
    metrics = Metrics()
    state = State(MemoryStore(), settings.worker.max_entities, metrics)
    ownership = Ownership(1)
    for topic in ("orders", "clicks", "inventory"):
        ownership.take((topic, 0), 0, state.store.claim(topic, 0))
    reference = Reference(state.ids)
    scoring = Scoring(load_models(settings.models), reference, settings.models, metrics)
    decoder = Decoder(settings.worker.max_future_skew_ms, settings.worker.max_record_bytes)
    cost: dict[str, float] = {}
    batch: list[Any] = []
    total = 0

    def flush() -> None:
        decoded = timed(cost, "decode", lambda: decoder.decode(batch, 2_000_000_000_000))
        folded = timed(cost, "micro-batch and fold", lambda: state.fold(decoded, ownership))
        timed(cost, "assemble and score", lambda: scoring.score(decoded, folded, ownership, state))
        if "orders" in decoded.topics:
            timed(cost, "repartition", lambda: list(demand_of(decoded.topics["orders"])))
        for entity, table in state.tables.items():
            for view in table.views.values():
                if view.entity == entity and view.name in folded.changed:
                    keys = list(folded.changed[view.name])
                    timed(cost, "pack", lambda v=view, k=keys, t=table: t.pack(v.name, t.slots_of(k)))  # type: ignore[misc]
        batch.clear()

    for record in read_records(events):
        if record.topic in ("catalog", "offers"):
            reference.apply(Record(record, 0))
            continue
        batch.append(Record(record, total))
        total += 1
        if len(batch) == BATCH:
            flush()
    flush()
    return cost, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures")
    parser.add_argument("--orders", type=int, default=3_000, help="placed orders to take")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    events = Path(".tidecast") / "bench" / f"online-retail-{options.orders}"
    build_event_log("online-retail", DATA, events, orders=options.orders)
    rounds = [run(events) for _ in range(options.rounds)]
    total = rounds[0][1]
    best = {stage: min(cost[stage] for cost, _ in rounds) / total * 1e6 for stage in rounds[0][0]}
    table = Table(title=f"{total:,} events, µs of CPU an event, best of {options.rounds}", box=None)
    table.add_column("stage")
    table.add_column("µs", justify="right")
    for stage in ("decode", "micro-batch and fold", "assemble and score", "repartition", "pack"):
        table.add_row(stage, f"{best[stage]:.2f}")
    Console().print(table)
    if options.json is not None:
        options.json.write_bytes(orjson.dumps({"events": total, "us_per_event": best}, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()
