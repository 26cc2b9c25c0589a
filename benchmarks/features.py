"""What features cost: `python benchmarks/features.py [--json FILE] [--entities 1000,100000,2000000]`.

Prints the fold's cost by view, a record's cost in Valkey by view, history's throughput and memory, and the worker's
cost an event with few and with many entities. What is in the store comes from real orders with simulated clicks and
stock (UCI Online Retail); all other events are made up, and called so.

CPU time is of this process; ratios are of rounds taken in turn in one run, since the machine is shared.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# This script's folder comes first on the path, and it has the name of a package of ours.
sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != Path(__file__).resolve().parent]

import msgspec  # noqa: E402
import numpy as np  # noqa: E402
import orjson  # noqa: E402
import polars as pl  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from features.discovery import discover  # noqa: E402
from features.rows import STREAMS, Rows, rows_of  # noqa: E402
from features.store import Wanted, Write  # noqa: E402
from features.store.redis import RedisStore  # noqa: E402
from features.view import View  # noqa: E402
from stream.commit import Commit  # noqa: E402
from stream.decode import Decoded, DecodedBatch, Decoder  # noqa: E402
from stream.demo.run import DATA  # noqa: E402
from stream.duplicates import drop_duplicates  # noqa: E402
from stream.embedded import Embedded  # noqa: E402
from stream.eventlog import read_records  # noqa: E402
from stream.fold import State  # noqa: E402
from stream.imports import build_event_log  # noqa: E402
from stream.metrics import Metrics  # noqa: E402
from stream.ownership import Ownership  # noqa: E402
from stream.repartition import demand_of  # noqa: E402

BATCH = 4_096
DAY_MS = 86_400_000
START_MS = 1_300_060_800_000
#: Clicks of a customer in one micro-batch: a micro-batch touches as many customers however many there are.
CLICKS_TOGETHER = 8


def table_of(title: str, *columns: str) -> Table:
    table = Table(title=title, box=None, title_justify="left", header_style="dim")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    return table


# --- the fold alone ---------------------------------------------------------------------------------------------------


def made_up_rows(stream: str, n: int, seed: int) -> tuple[Rows, np.ndarray[Any, np.dtype[np.int64]]]:
    """Rows of 512 entities in time order, and their slots."""
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for name, dtype in STREAMS[stream][1].items():
        high = 200 if name in ("product", "reference", "session", "customer") else 50_000
        columns[name] = random.integers(1, high, n).astype(dtype)
    if "simulated" in columns:
        columns["simulated"] = np.zeros(n, np.int64)
    times = START_MS + np.sort(random.integers(0, DAY_MS, n)) + seed * DAY_MS
    rows = rows_of(stream, [""] * n, kind=random.integers(0, 3, n), event_time_ms=times, **columns)
    return rows, random.integers(0, 512, n)


def fold_cost(view: View, rounds: int = 7, batches: int = 20) -> float:
    """µs of CPU a row, the best round."""
    best = float("inf")
    made = [made_up_rows(view.stream, BATCH, seed) for seed in range(batches)]
    for _ in range(rounds):
        records = view.empty(512)
        begun = time.process_time()
        for rows, slots in made:
            view.fold(records, slots, rows)
        best = min(best, time.process_time() - begun)
    return best / (batches * BATCH) * 1e6


def folds(console: Console) -> dict[str, float]:
    costs = {name: fold_cost(view) for name, view in sorted(discover().items())}
    table = table_of("fold: µs of CPU an event and view (512 made-up entities, batches of 4,096)", "view", "µs")
    for name, cost in costs.items():
        table.add_row(name, f"{cost:.3f}")
    console.print(table)
    return costs


# --- the store --------------------------------------------------------------------------------------------------------


def stored(console: Console, orders: int) -> dict[str, Any]:
    """Real orders with simulated clicks and stock, folded and written; then measured with MEMORY USAGE."""
    events = event_log(orders)
    with Embedded(broker=False) as services:
        store = RedisStore(services.store_url)
        worker = Worker(store)
        for records in batches_of(events):
            worker.process(records)
        table = table_of("store: bytes an entity, all in (MEMORY USAGE on Valkey)", "view", "records", "bytes")
        found: dict[str, Any] = {}
        for name, view in sorted(discover().items()):
            usage = store.usage("f", name, 1_000)
            found[name] = {"records": usage.records, "bytes_each": usage.bytes_each, "packed": view.dtype.itemsize}
            table.add_row(name, f"{usage.records:,}", f"{usage.bytes_each:,.0f}")
        for entity in ("customer", "item"):
            total = sum(found[v.name]["bytes_each"] for v in discover().values() if v.entity == entity)
            found[f"all of a {entity}"] = {"bytes_each": total}
            table.add_row(f"all views of a {entity}", "", f"{total:,.0f}")
        store.close()
    console.print(table)
    return found


# --- many entities ----------------------------------------------------------------------------------------------------


class Record:
    """A record as the binding gives it."""

    def __init__(self, topic: str, key: bytes | None, value: bytes, offset: int) -> None:
        self._at = topic, key, value, offset

    def topic(self) -> str:
        return self._at[0]

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._at[3]

    def key(self) -> bytes | None:
        return self._at[1]

    def value(self) -> bytes | None:
        return self._at[2]

    def headers(self) -> list[tuple[str, bytes]] | None:
        return None


class Worker:
    """The worker's steps without Kafka and models: decode, duplicates, micro-batch, fold, pack, write."""

    def __init__(self, store: RedisStore, max_entities: int = 200_000) -> None:
        self.store, self.metrics = store, Metrics()
        self.state = State(store, max_entities, self.metrics)
        self.ownership = Ownership(store.buckets, 8_192)
        for topic in ("orders", "clicks", "demand", "inventory"):
            self.ownership.take((topic, 0), 0, store.claim(topic, 0))
        self.decoder = Decoder(2**61, 10**6)
        self._grace_ms, self._demand, self.reads = 600_000, 0, 0

    @property
    def _state(self) -> State:
        return self.state

    def process(self, records: list[Any]) -> None:
        batch = drop_duplicates(self.decoder.decode(records, 0), self.ownership, self.metrics)
        self._take_in(batch)
        if "orders" in batch.topics:
            lines = [event for *_, event in demand_of(batch.topics["orders"])]
            places = list(range(self._demand, self._demand + len(lines)))
            self._demand += len(lines)
            decoded = Decoded("demand", lines, [0] * len(lines), places)
            self._take_in(DecodedBatch({"demand": decoded}, [], {("demand", 0): self._demand}))

    def _take_in(self, batch: DecodedBatch) -> None:
        held = len(self.state.tables["customer"])
        folded = self.state.fold(batch, self.ownership)
        self.reads += len(self.state.tables["customer"]) != held
        written = Commit._changed(self, folded)  # type: ignore[arg-type]  # step 5 without scores
        self.state.register()
        moves = self.ownership.moves(batch.next_offsets, 0)
        self.store.commit([Write(0, moves, written, self.ownership.erasures.get(0))])
        self.ownership.moved(moves, 0)


def event_log(orders: int) -> Path:
    events = Path(".tidecast") / "bench" / f"online-retail-{orders}"
    build_event_log("online-retail", DATA, events, orders=orders)
    return events


def batches_of(events: Path) -> Any:
    """The events of a log in batches; offsets count by topic."""
    following: dict[str, int] = {}
    batch: list[Record] = []
    for r in read_records(events, ["orders", "clicks", "inventory"]):
        following[r.topic] = following.get(r.topic, -1) + 1
        batch.append(Record(r.topic, r.key, r.value, following[r.topic]))
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


def clicks(entities: int, batch: int, first: int) -> list[Record]:
    """A micro-batch of made-up clicks: 512 customers, drawn evenly, 8 clicks each."""
    random = np.random.default_rng(first)
    customers = np.repeat(random.integers(0, entities, batch // CLICKS_TOGETHER), CLICKS_TOGETHER)
    skus = random.integers(0, 3_000, batch)
    out = []
    for i, (customer, sku) in enumerate(zip(customers.tolist(), skus.tolist(), strict=True)):
        event = {
            "type": "product_view",
            "event_id": f"e{first + i}",
            "event_time_ms": START_MS + first + i,
            "customer_id": f"c{customer}",
            "session_id": f"s{customer}",
            "sku": f"P{sku:05d}",
        }
        out.append(Record("clicks", f"c{customer}".encode(), orjson.dumps(event), first + i))
    return out


def many(console: Console, sizes: list[int], rounds: int, hot: bool) -> dict[str, float]:
    """µs of CPU an event by number of entities, rounds taken in turn, the best of each.

    Args:
        hot: the table holds all entities; else it keeps one beside a batch's own, so that all are cold.
    """
    with Embedded(broker=False) as services:
        workers: dict[int, Worker] = {}
        for entities in sizes:
            store = RedisStore(services.store_url, namespace=f"n{entities}")
            workers[entities] = Worker(store, entities + 8_192 if hot else 1)
            fill(workers[entities], entities, in_store=not hot)
            if not hot:
                workers[entities].state.forget()
        gc.collect()
        best = dict.fromkeys(sizes, float("inf"))
        first = dict.fromkeys(sizes, 10_000_000)
        for _ in range(rounds):
            for entities, worker in workers.items():
                made = [clicks(entities, BATCH, first[entities] + k * BATCH) for k in range(6)]
                first[entities] += 6 * BATCH
                begun = time.process_time()
                for records in made:
                    worker.process(records)
                best[entities] = min(best[entities], (time.process_time() - begun) / (6 * BATCH) * 1e6)
        for worker in workers.values():
            assert hot or worker.reads >= 6 * rounds, "cold entities are read from the store"
            worker.store.close()
    where = "all in the table" if hot else "all cold: read from the store for each micro-batch"
    table = table_of(
        f"the worker's cost by number of entities ({where}); decode to write, no Kafka, no models",
        "entities",
        "µs",
        "×",
    )
    for entities in sizes:
        table.add_row(f"{entities:,}", f"{best[entities]:.2f}", f"{best[entities] / best[sizes[0]]:.2f}")
    console.print(table)
    return {str(n): cost for n, cost in best.items()}


def fill(worker: Worker, entities: int, in_store: bool) -> None:
    """Gives every entity a click, in the table or in the store, past the pipeline: it is not what is measured."""
    table = worker.state.tables["customer"]
    view = discover()["customer_clicks"]
    for at in range(0, entities, 65_536):
        keys = [f"c{i}" for i in range(at, min(at + 65_536, entities))]
        n = len(keys)
        table.next_batch()
        table.admit_new(table.missing(keys))
        columns = {name: np.zeros(n, dtype) for name, dtype in STREAMS["clicks"][1].items()}
        table.fold(rows_of("clicks", keys, kind=np.zeros(n), event_time_ms=np.full(n, START_MS), **columns))
        if in_store:
            from features.store import Record as Stored

            slots = table.slots_of(keys)
            blobs = {v.name: table.pack(v.name, slots) for v in table.views.values() if v.stream == view.stream}
            for name, some in blobs.items():
                for low in range(0, n, 4_096):
                    part = zip(keys[low : low + 4_096], some[low : low + 4_096], strict=True)
                    records = [Stored("f", name, k, blob, DAY_MS) for k, blob in part]
                    worker.store.commit([Write(0, [], records)])
            assert worker.store.load_all([Wanted("f", view.name, keys[:1])])[0][0] is not None


# --- history ----------------------------------------------------------------------------------------------------------


def history(console: Console, events: int) -> dict[str, Any]:
    """Point-in-time rows of the customer views on one core, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        log, spine, out = Path(folder) / "log", Path(folder) / "spine.parquet", Path(folder) / "rows.parquet"
        spine_rows = made_up_log(log, spine, events)
        command = [sys.executable, "-m", "stream.cli", "features", "history", str(log), "--as-of", str(spine)]
        for name, view in sorted(discover().items()):
            command += ["--view", name] if view.entity == "customer" else []
        pinned = {**os.environ, "POLARS_MAX_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        subprocess.run([*command, "--out", str(out)], check=True, env=pinned, capture_output=True)  # kernels are cached
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        subprocess.run([*command, "--out", str(out)], check=True, env=pinned, capture_output=True)
        wall = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = {
        "events": events,
        "spine_rows": spine_rows,
        "cpu_s": cpu,
        "wall_s": wall,
        "events_per_cpu_s": events / cpu,
        "peak_mb": after.ru_maxrss / 1024,
    }
    table = table_of("history of the customer views, one process, start included (made-up events)", "", "")
    for name, value in found.items():
        table.add_row(name, f"{value:,.1f}" if isinstance(value, float) else f"{value:,}")
    console.print(table)
    return found


def made_up_log(log: Path, spine: Path, events: int) -> int:
    """Clicks and orders, ten to one, of customers who come back; a spine row for each order."""
    log.mkdir(parents=True)
    random = np.random.default_rng(7)
    n_orders = events // 11
    n_clicks = events - n_orders
    customers = max(events // 100, 10)
    when = START_MS + np.sort(random.integers(0, 90 * DAY_MS, n_clicks))
    pl.DataFrame(
        {
            "type": random.choice(["product_view", "product_view", "product_view", "add_to_cart"], n_clicks),
            "event_id": pl.Series([f"c{i}" for i in range(n_clicks)]),
            "event_time_ms": when,
            "customer_id": pl.Series(random.integers(0, customers, n_clicks)).cast(pl.String),
            "session_id": pl.Series(random.integers(0, 10**6, n_clicks)).cast(pl.String),
            "simulated": pl.Series([True]).new_from_index(0, n_clicks),
            "sku": pl.Series(random.integers(10_000, 13_000, n_clicks)).cast(pl.String),
        }
    ).write_parquet(log / "clicks.parquet", row_group_size=65_536)
    buyers = pl.Series(random.integers(0, customers, n_orders)).cast(pl.String)
    times = START_MS + np.sort(random.integers(0, 90 * DAY_MS, n_orders))
    lines = [
        [{"sku": str(s), "quantity": 2.0, "unit_price": 1.5, "discount": 0.0} for s in row]
        for row in random.integers(10_000, 13_000, (n_orders, 3)).tolist()
    ]
    pl.DataFrame(
        {
            "type": pl.Series(["order_placed"]).new_from_index(0, n_orders),
            "event_id": pl.Series([f"o{i}" for i in range(n_orders)]),
            "event_time_ms": times,
            "order_id": pl.Series([f"o{i}" for i in range(n_orders)]),
            "location": pl.Series(["w"]).new_from_index(0, n_orders),
            "lines": pl.Series(lines),
            "customer_id": buyers,
        }
    ).write_parquet(log / "orders.parquet", row_group_size=16_384)
    pl.DataFrame({"customer": buyers, "as_of_ms": times}).write_parquet(spine)
    return n_orders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures")
    parser.add_argument("--entities", default="1000,100000,2000000", help="how many, ascending")
    parser.add_argument("--cold", default="10000,100000", help="how many where the table is far too small")
    parser.add_argument("--orders", type=int, default=1_000, help="placed orders for the store's figures")
    parser.add_argument("--events", type=int, default=2_000_000, help="for history")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    console = Console(width=110)
    found = {
        "fold_us": folds(console),
        "store": stored(console, options.orders),
        "history": history(console, options.events),
        "entities_us": many(console, [int(n) for n in options.entities.split(",")], options.rounds, hot=True),
        "cold_entities_us": many(console, [int(n) for n in options.cold.split(",")], options.rounds, hot=False),
    }
    if options.json is not None:
        options.json.write_bytes(orjson.dumps(msgspec.to_builtins(found), option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
