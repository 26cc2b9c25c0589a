"""What must hold in every run, checked from outside against the input and against a run that nothing disturbed."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stream.provenance import ID
from stream.topology import CONSUMED, DEAD_LETTERS, DEMAND, FEATURE_LOG, SUPPLY_ALERTS
from tests.faults.numbers import differs
from tests.faults.outcome import Outcome, Seen
from tests.faults.poison import Wire
from tests.support import differing

Kind = Literal["lost", "duplicated", "state", "score", "alert", "dead letter", "input", "hang", "crash", "broker"]
Partition = tuple[str, int]
_SCORES = ("reorder-scores", "next-best-offers", "stockout-scores")
#: Where a record lies depends on the run; what it says does not.
_PLACES = {"source", "source_partition", "source_offset"}


@dataclass(frozen=True)
class Problem:
    """Something that does not hold; `count` times, with examples for people."""

    kind: Kind
    what: str
    count: int = 1


@dataclass(frozen=True)
class Expected:
    """What the input alone decides.

    Args:
        lines: ids of the order lines.
        poison: records that must be dead letters.
        acknowledged: what the broker has taken of the input: (offset, key, value) by partition.
        lost: whether the store may have lost something.
    """

    lines: frozenset[str]
    poison: Sequence[Wire]
    acknowledged: Mapping[Partition, Sequence[tuple[int, bytes | None, bytes | None]]]
    lost: bool = False


def check(outcome: Outcome, expected: Expected, reference: Outcome | None) -> list[Problem]:
    """Every problem of a run; `reference` is None for the reference itself."""
    found = [*_input(outcome, expected), *_demand(outcome, expected), *_dead_letters(outcome, expected)]
    found += [*_doubles(outcome), *_alert_chains(outcome, expected.lost)]
    if reference is not None:
        found += [*_states(outcome, reference), *_scores(outcome, reference), *_alerts(outcome, reference)]
    return found


def _some(keys: Any) -> str:
    """A few of them, for a message."""
    every = sorted(map(str, keys))
    return ", ".join(every[:3]) + (" …" if len(every) > 3 else "")


def _input(outcome: Outcome, expected: Expected) -> Iterator[Problem]:
    """Nothing acknowledged was lost."""
    there = {(s.topic, s.partition, s.offset): (s.key, s.value) for t in CONSUMED for s in outcome.records[t.name]}
    taken = {(*at, offset): (k, v) for at, records in expected.acknowledged.items() for offset, k, v in records}
    lost = [at for at, content in taken.items() if there.get(at) != content]
    if lost:
        yield Problem("lost", f"acknowledged input is not there: {_some(lost)}", len(lost))
    inputs = {t.name for t in CONSUMED} - {DEMAND.name}
    if more := [at for at in there if at[0] in inputs and at not in taken]:
        yield Problem("input", f"the input has records that nobody sent: {_some(more)}", len(more))


def _demand(outcome: Outcome, expected: Expected) -> Iterator[Problem]:
    """Each order line gives exactly one record."""
    bad = {r.value for r in expected.poison if r.topic == DEMAND.name}
    ids = Counter(
        json.loads(s.value)["event_id"] for s in outcome.records[DEMAND.name] if s.value not in bad and s.value
    )
    if lost := expected.lines - ids.keys():
        yield Problem("lost", f"order lines without demand: {_some(lost)}", len(lost))
    if more := [i for i, n in ids.items() if n > 1]:
        yield Problem("duplicated", f"order lines with more than one demand record: {_some(more)}", len(more))
    if strange := ids.keys() - expected.lines:
        yield Problem("duplicated", f"demand of no order line: {_some(strange)}", len(strange))


def _dead_letters(outcome: Outcome, expected: Expected) -> Iterator[Problem]:
    """Exactly the poison."""
    letters = outcome.records[DEAD_LETTERS.name]
    found = Counter((s.headers.get("tidecast-topic", b"").decode(), s.key, s.value) for s in letters)
    wanted = Counter((r.topic, r.key, r.value) for r in expected.poison)
    for what, odd in (("missing", wanted - found), ("not of poison, or twice", found - wanted)):
        if odd:
            some = _some(f"{topic} {(value or b'')[:40]!r}" for topic, _, value in odd)
            yield Problem("dead letter", f"dead letters {what}: {some}", sum(odd.values()))


def _origin(seen: Seen) -> list[Any]:
    """What a record was made of: each of them may be published of an entity once."""
    if seen.topic == DEAD_LETTERS.name:
        return [tuple(seen.headers.get(f"tidecast-{part}") for part in ("topic", "partition", "offset"))]
    ids = [seen.headers[ID]] if ID in seen.headers else []
    if seen.topic not in (*_SCORES, SUPPLY_ALERTS.name):
        return ids
    record = json.loads(seen.value or b"{}")
    if seen.topic == SUPPLY_ALERTS.name:
        return [record["sequence"]]
    return [*ids, *((s["topic"], s["partition"], s["offset"]) for s in record["source"])]


def _doubles(outcome: Outcome) -> Iterator[Problem]:
    """No (entity, source offset) twice on an output topic, and no idempotency key."""
    for topic in (*_SCORES, DEMAND.name, FEATURE_LOG.name, SUPPLY_ALERTS.name, DEAD_LETTERS.name):
        seen = Counter((s.key, origin) for s in outcome.records[topic] for origin in _origin(s))
        if more := [at for at, n in seen.items() if n > 1]:
            yield Problem("duplicated", f"{topic}: published more than once: {_some(more)}", len(more))


def _states(outcome: Outcome, reference: Outcome) -> Iterator[Problem]:
    """The feature state of every entity, bit for bit."""
    for view, odd in differing(outcome.features, reference.features).items():
        yield Problem("state", f"{view}: other state: {_some(odd)}", len(odd))


def _last(records: Sequence[Seen]) -> dict[str, Any]:
    """The last record of each key."""
    return {(s.key or b"").decode(): json.loads(s.value or b"null") for s in records}


def _content(record: Any) -> Any:
    """What does not depend on the run. The reasons beside a list are those of its first entry."""
    leave = _PLACES | ({"reasons"} if {"products", "offers"} & record.keys() else set())
    return {name: value for name, value in record.items() if name not in leave}


def _scores(outcome: Outcome, reference: Outcome) -> Iterator[Problem]:
    """The last score of every entity, published and in the store."""
    for topic in _SCORES:
        yield from _compare(topic, _last(outcome.records[topic]), _last(reference.records[topic]))
    for model, latest in reference.latest.items():
        ours, theirs = ({k: json.loads(v) for k, v in found.items()} for found in (outcome.latest[model], latest))
        yield from _compare(f"{model} in the store", ours, theirs)


def _compare(where: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Problem]:
    odd = {}
    for key in ours.keys() | theirs.keys():
        if key not in ours or key not in theirs:
            odd[key] = "missing" if key not in ours else "not in the reference"
        elif where_ := differs(_content(ours[key]), _content(theirs[key])):
            odd[key] = where_
    if odd:
        yield Problem("score", f"{where}: other last scores: {_some(f'{k} ({v})' for k, v in odd.items())}", len(odd))


def _alert_chains(outcome: Outcome, lost: bool) -> Iterator[Problem]:
    """Each raise has its resolve, unless the alert is still open; what is published last is what the store has.

    Changes of which nothing had been published when a worker died may be told as the one that they come to. What a
    store has lost is folded again, and its topics may come in between otherwise: then an open alert that becomes more
    or less severe may have another time at which it was raised.
    """
    chains: dict[str, list[Any]] = {}
    for seen in outcome.records[SUPPLY_ALERTS.name]:
        chains.setdefault((seen.key or b"").decode(), []).append(json.loads(seen.value or b"{}"))
    broken = {item for item, chain in chains.items() if not _is_whole(chain, lost)}
    stored = {item: json.loads(state) for item, state in outcome.alerts.items()}
    other = {i for i, state in stored.items() if state["sequence"] and _severity(chains.get(i)) != state["severity"]}
    other |= {i for i in chains if i not in stored}
    if broken:
        what = _some(f"{item}: {_told(chains[item])}" for item in broken)
        yield Problem("alert", f"a raise without its resolve, or changes out of order: {what}", len(broken))
    if other:
        yield Problem("alert", f"the last alert is not the state in the store: {_some(other)}", len(other))


def _told(chain: Sequence[Any]) -> str:
    return " → ".join(f"{a['sequence']} {a['status']} {a['severity']} {a['raised_at_ms']}" for a in chain)


def _is_whole(chain: Sequence[Any], lost: bool = False) -> bool:
    for before, after in itertools.pairwise(chain):
        ended_unseen = before["severity"] != "none" and after["raised_at_ms"] != before["raised_at_ms"]
        if lost and before["severity"] != after["severity"]:
            ended_unseen = False
        if after["sequence"] <= before["sequence"] or ended_unseen:
            return False
    return all((alert["status"] == "resolved") == (alert["severity"] == "none") for alert in chain)


def _severity(chain: Sequence[Any] | None) -> str:
    return chain[-1]["severity"] if chain else "none"


def _alerts(outcome: Outcome, reference: Outcome) -> Iterator[Problem]:
    """The alert state of every item is the same at the end."""
    ours, theirs = (
        {item: json.loads(state)["severity"] for item, state in found.alerts.items()} for found in (outcome, reference)
    )
    odd = {i for i in ours.keys() | theirs.keys() if ours.get(i, "none") != theirs.get(i, "none")}
    if odd:
        yield Problem("alert", f"other alert states: {_some(odd)}", len(odd))
