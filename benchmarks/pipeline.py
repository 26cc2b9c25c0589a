"""What the whole job costs on Apache Kafka: µs of the worker's CPU an event, and its ratio to a floor.

    python benchmarks/pipeline.py                          # a made-up shop, both kinds of delivery, three rounds
    python benchmarks/pipeline.py --json pipeline.json     # and the figures in a file
    python benchmarks/pipeline.py --against ../tidecast    # and the worker of another checkout, in turn with this one's
    python benchmarks/pipeline.py --orders 5000 --rounds 1 --delivery exactly_once      # a quick look

Starts Apache Kafka (one broker) and Valkey, makes up a shop (benchmarks/workload.py: ten clicks an order; all of it is
simulated) and lets a real worker process take in the first tenth of it. Then the worker is stopped (SIGSTOP), the rest
is produced, and it goes on with all of that waiting. CPU time is that of the worker process, user and system, with
librdkafka's threads, from there to the moment when the group has committed everything; start-up is told apart.

The floor (benchmarks/floor.py) is a process that polls the same records with the same consumer settings, decodes them
into the same types, and produces the records that the worker has just produced, with the same producer settings and
in the same transactions: no features, no store, no models.

All runs of a round take turns, since the machine is shared; medians of the rounds are told. The profile by stage is of
one more run, with the worker's parts wrapped (benchmarks/stopwatch.py), so it costs a little more than the others.

Needs Linux (/proc), Java 17 and Maven (deploy/kafka).
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

# This script's folder comes first on the path, and it has files with the names of packages of ours.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [str(_HERE.parent), *(folder for folder in sys.path if Path(folder or ".").resolve() != _HERE)]

import orjson  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.bench import Bench, Run, Runner  # noqa: E402
from benchmarks.stopwatch import REST, STAGES, Profile  # noqa: E402
from benchmarks.workload import CLICKS, Shop  # noqa: E402
from stream.embedded import Embedded  # noqa: E402
from stream.localkafka import LocalKafka  # noqa: E402

TARGET_US, TARGET_RATIO = 8.0, 2.5
DELIVERIES = ("exactly_once", "at_least_once")


def measured(bench: Bench, options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, list[Run]]:
    """All runs by name, in turn."""
    found: dict[str, list[Run]] = {}
    for number in range(1, options.rounds + 1):
        for delivery in options.delivery:
            say(f"round {number}, {delivery.replace('_', ' ')}: worker")
            run, produced = bench.worker(delivery, keep=True)
            found.setdefault(f"{delivery} worker", []).append(run)
            for checkout in options.against:
                say(f"round {number}, {delivery.replace('_', ' ')}: worker of {checkout}")
                found.setdefault(f"{delivery} {checkout}", []).append(bench.worker(delivery, checkout)[0])
            say(f"round {number}, {delivery.replace('_', ' ')}: floor")
            found.setdefault(f"{delivery} floor", []).append(bench.floor(delivery, produced))
    return found


def us(runs: list[Run], part: Callable[[Run], float]) -> float:
    """The median of µs."""
    return median(part(run) for run in runs) * 1e6


def costs(found: dict[str, list[Run]], delivery: str) -> dict[str, dict[str, Any]]:
    """Figures by process: the ratio is the median of those of each round."""
    floors = found[f"{delivery} floor"]
    out = {}
    for name, runs in found.items():
        if not name.startswith(delivery):
            continue
        out[name.removeprefix(f"{delivery} ")] = {
            "us_per_event": us(runs, lambda r: r.cpu.total / r.inputs),
            "us_per_event_by_round": [r.cpu.total / r.inputs * 1e6 for r in runs],
            "us_per_record": us(runs, lambda r: r.cpu.total / r.records),
            "us_per_event_client_threads": us(runs, lambda r: r.cpu.client / r.inputs),
            "ratio_to_floor": median(r.cpu.total / f.cpu.total for r, f in zip(runs, floors, strict=True)),
            "events_per_s": median(r.inputs / r.wall_s for r in runs),
            "start_cpu_s": median(r.start.total for r in runs),
        }
    return out


def cost_table(console: Console, found: dict[str, list[Run]], delivery: str) -> dict[str, dict[str, Any]]:
    """Prints the figures of one kind of delivery."""
    figures = costs(found, delivery)
    rounds = len(found[f"{delivery} floor"])
    table = _table(f"{delivery.replace('_', ' ')}: µs of CPU, median of {rounds}")
    for column in ("process", "an event", "a record", "of it librdkafka", "× floor", "events/s", "start-up, s CPU"):
        table.add_column(column, justify="left" if column == "process" else "right")
    for name, cost in figures.items():
        table.add_row(
            name,
            f"{cost['us_per_event']:.2f}",
            f"{cost['us_per_record']:.2f}",
            f"{cost['us_per_event_client_threads']:.2f}",
            f"{cost['ratio_to_floor']:.2f}",
            f"{cost['events_per_s']:,.0f}",
            f"{cost['start_cpu_s']:.2f}",
        )
    console.print(table)
    return figures


def profile_table(console: Console, run: Run, profile: Profile) -> dict[str, float]:
    """Prints µs of CPU an event by stage."""
    stages = {name: profile.seconds.get(name, 0.0) / run.inputs * 1e6 for name in (*STAGES, REST)}
    own = sum(profile.entered.values()) * profile.entry_s / run.inputs * 1e6
    clients = run.cpu.client / run.inputs * 1e6
    table = _table(f"exactly once by stage: µs of CPU an event, one run with the stopwatch ({own:.2f} µs are its own)")
    table.add_column("stage")
    table.add_column("µs", justify="right")
    table.add_column("entered", justify="right")
    for name, cost in stages.items():
        table.add_row(name, f"{cost:.2f}", f"{profile.entered.get(name, 0):,}")
    table.add_row("librdkafka's threads", f"{clients:.2f}", "")
    table.add_row("the whole process", f"{run.cpu.total / run.inputs * 1e6:.2f}", "")
    console.print(table)
    return {**stages, "client threads": clients, "stopwatch": own, "whole": run.cpu.total / run.inputs * 1e6}


def _table(title: str) -> Table:
    return Table(title=title, box=None, title_justify="left", header_style="dim")


def told(shop: Shop, run: Run) -> str:
    """The workload and what the worker made of it."""
    scores = ", ".join(f"{name} {n / run.orders:.2f}" for name, n in sorted(run.scores.items()))
    return (
        f"workload (simulated): {shop.orders:,} orders of 1 to 5 lines by {shop.customers:,} customers, each after "
        f"{CLICKS} clicks; {shop.items:,} items at one location, counted and delivered weekly; {shop.offers} offers; "
        f"4 partitions; one worker\n"
        f"measured: {run.inputs:,} events and {run.records - run.inputs:,} demand records; {run.published:,} records "
        f"published; {run.records / max(run.batches, 1):,.0f} records a micro-batch; scores an order: {scores}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures")
    parser.add_argument(
        "--against",
        type=Path,
        action="append",
        default=[],
        help="a checkout of another version, whose worker is measured in turn; may be given several times",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delivery", choices=DELIVERIES, action="append", help="only this one")
    parser.add_argument("--no-profile", action="store_true", help="without the run by stage")
    Shop.add_to(parser)
    options = parser.parse_args()
    if not Path("/proc/self/schedstat").exists():
        parser.error("CPU time of the processes is read from /proc, which only Linux has")
    options.delivery = options.delivery or list(DELIVERIES)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process is left behind
    shop, console = Shop.of(options), Console(width=120)
    with LocalKafka() as kafka, Embedded(broker=False) as services, console.status("") as status:
        bench = Bench(Runner(kafka.bootstrap, services.store_url), shop)
        found = measured(bench, options, status.update)
        status.update("profile")
        profiled = None if options.no_profile else bench.profiled("exactly_once")
    worker = found[f"{options.delivery[0]} worker"][-1]
    console.print(told(shop, worker))
    figures: dict[str, Any] = {"workload": told(shop, worker)}
    for delivery in options.delivery:
        figures[delivery] = cost_table(console, found, delivery)
    if profiled is not None:
        figures["stages"] = profile_table(console, *profiled)
    console.print(f"targets: {TARGET_US:g} µs an event, {TARGET_RATIO:g} × floor")
    if options.json is not None:
        options.json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
