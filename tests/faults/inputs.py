"""Inputs: a handful of fixed streams of real orders, with poison, duplicates, late and disordered events mixed in."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from stream.demo.run import DATA
from stream.eventlog import REFERENCE_TOPICS, LogRecord, read_records
from stream.imports import build_event_log
from tests.faults.poison import Wire, poison, reference_poison

#: How many streams there are, and how many placed orders each is made of.
VARIANTS, ORDERS = 3, 60
#: Shares of the events that come a few places late, very late, and twice.
_DISORDERED, _LATE, _TWICE = 0.05, 0.02, 0.04
#: A duplicate comes within so many records of its original: less than a worker remembers.
_WITHIN = 400


@dataclass(frozen=True)
class Variant:
    """One stream.

    Args:
        number: which.
        reference: records of the catalog and the offers, poison among them.
        events: records in the order in which they are produced.
        poison: what cannot be taken in of all of them.
        lines: ids of the `demand` records that must come of it, once each.
        log: the same as an event log without poison and duplicates, to be folded without a broker.
    """

    number: int
    reference: Sequence[Wire]
    events: Sequence[Wire]
    poison: Sequence[Wire]
    lines: frozenset[str]
    log: Path


def make_variant(number: int, directory: Path, orders: int = ORDERS) -> Variant:
    """The stream of a number; its event logs are kept in the directory and found again.

    Args:
        number: also the seed of all that is drawn.
        directory: for event logs.
        orders: how many placed orders.
    """
    source = directory / f"orders-{orders}-seed-{number}"
    build_event_log("online-retail", DATA, source, orders=orders, seed=number)
    records = list(read_records(source))
    events = [r for r in records if r.topic not in REFERENCE_TOPICS]
    random = Random(number)
    _disorder(events, random)
    clean = [Wire(r.topic, r.key, r.value) for r in events]
    bad, strange = poison(random, int(time.time() * 1000)), reference_poison()
    reference = [Wire(r.topic, r.key, r.value) for r in records if r.topic in REFERENCE_TOPICS]
    middle = len(reference) // 2
    return Variant(
        number,
        [*reference[:middle], *strange, *reference[middle:]],
        _mixed(clean, bad, random),
        [*bad, *strange],
        frozenset(_lines(clean)),
        _write(clean, directory / f"variant-{orders}-{number}"),
    )


def _disorder(events: list[LogRecord], random: Random) -> None:
    """Moves events back: most by a few places, some by up to a third of the stream."""
    for share, places in ((_DISORDERED, 10), (_LATE, len(events) // 3)):
        for _ in range(int(share * len(events))):
            at = random.randrange(len(events))
            event = events.pop(at)
            events.insert(min(at + random.randint(1, places), len(events)), event)


def _mixed(clean: Sequence[Wire], bad: Sequence[Wire], random: Random) -> list[Wire]:
    """With duplicates behind their originals, and poison anywhere."""
    put: dict[int, list[Wire]] = {}
    for at in random.sample(range(len(clean)), int(_TWICE * len(clean))):
        put.setdefault(min(at + random.randint(0, _WITHIN), len(clean) - 1), []).append(clean[at])
    for record in bad:
        put.setdefault(random.randrange(len(clean)), []).append(record)
    return [r for at, record in enumerate(clean) for r in (record, *put.get(at, ()))]


def _lines(clean: Sequence[Wire]) -> Counter[str]:
    orders = [json.loads(r.value) for r in clean if r.topic == "orders" and r.value]
    lines = Counter(f"{order['event_id']}:{line}" for order in orders for line in range(len(order["lines"])))
    assert not lines or max(lines.values()) == 1, "order events have ids of their own"
    return lines


def _write(clean: Sequence[Wire], directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for topic in ("orders", "clicks", "inventory"):
        lines = [r.value for r in clean if r.topic == topic and r.value]
        (directory / f"{topic}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return directory
