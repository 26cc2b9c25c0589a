"""The checks find what they are there for: faults are planted in what a run has left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checks import Expected, Problem, check
from tests.faults.outcome import Outcome, Seen
from tests.faults.poison import Wire

POISON = Wire("clicks", b"1", b"{not json")
ORDER = (0, b"1", b'{"event_id":"o"}')
CLICK = (0, b"1", POISON.value)


def seen(topic: str, offset: int, key: bytes, record: Any) -> Seen:
    return Seen(topic, 0, offset, key, json.dumps(record).encode())


def score(offset: int, p: float, source: int = 0) -> Seen:
    sources = [{"topic": "orders", "partition": 0, "offset": source}]
    products = [{"sku": "A", "p_30d": p}]
    return seen("reorder-scores", offset, b"1", {"products": products, "source": sources})


def alert(offset: int, sequence: int, severity: str, status: str) -> Seen:
    record = {"sequence": sequence, "severity": severity, "status": status, "raised_at_ms": (sequence + 1) // 2}
    return seen("supply-alerts", offset, b"w:A", record)


def letter(offset: int, of: int = 0) -> Seen:
    headers = {"tidecast-topic": b"clicks", "tidecast-partition": b"0", "tidecast-offset": b"%d" % of}
    return Seen("dead-letters", 0, offset, POISON.key, POISON.value, headers)


def outcome() -> Outcome:
    topics = ("inventory", "next-best-offers", "stockout-scores", "feature-log")
    return Outcome(
        records={
            **{topic: [] for topic in topics},
            "orders": [Seen("orders", 0, *ORDER)],
            "clicks": [Seen("clicks", 0, *CLICK)],
            "demand": [seen("demand", n, b"w:A", {"event_id": f"o:{n}"}) for n in range(2)],
            "reorder-scores": [score(0, 0.1), score(1, 0.2, source=1)],
            "supply-alerts": [alert(0, 1, "warning", "raised"), alert(1, 2, "none", "resolved")],
            "dead-letters": [letter(0)],
        },
        features={"view": {"1": b"state", "2": b"other"}},
        latest={"reorder": {"1": b'{"products":[{"sku":"A","p_30d":0.2}],"source":[]}'}},
        alerts={"w:A": b'{"severity":"none","sequence":2}'},
    )


def expected() -> Expected:
    return Expected(
        lines=frozenset({"o:0", "o:1"}),
        poison=[POISON],
        acknowledged={("orders", 0): [ORDER], ("clicks", 0): [CLICK]},
    )


def problems(changed: Outcome) -> list[Problem]:
    return check(changed, expected(), outcome())


def with_records(topic: str, change: Callable[[list[Seen]], list[Seen]]) -> Outcome:
    whole = outcome()
    return replace(whole, records={**whole.records, topic: change(list(whole.records[topic]))})


def test_a_run_as_if_nothing_had_happened_has_no_problem() -> None:
    assert problems(outcome()) == []
    assert check(outcome(), expected(), None) == []


def test_places_and_roundings_are_no_problem() -> None:
    elsewhere = with_records("reorder-scores", lambda records: [records[0], score(7, 0.2000000001, source=9)])
    assert problems(elsewhere) == []


def test_changes_that_nobody_had_seen_may_be_told_as_one() -> None:
    assert problems(with_records("supply-alerts", lambda records: records[1:])) == []


@pytest.mark.parametrize(
    ("topic", "change", "kind"),
    [
        ("demand", lambda records: records[1:], "lost"),
        ("demand", lambda records: [*records, records[0]], "duplicated"),
        ("demand", lambda records: [*records, seen("demand", 2, b"w:A", {"event_id": "nobody:0"})], "duplicated"),
        ("orders", lambda _records: [], "lost"),
        ("orders", lambda records: [replace(records[0], value=b"{}")], "lost"),
        ("orders", lambda records: [*records, replace(records[0], offset=1)], "input"),
        ("dead-letters", lambda _records: [], "dead letter"),
        ("dead-letters", lambda records: [*records, letter(1, of=5)], "dead letter"),
        ("dead-letters", lambda records: [replace(records[0], value=b"other")], "dead letter"),
        ("reorder-scores", lambda records: [*records, score(2, 0.2, source=1)], "duplicated"),
        ("reorder-scores", lambda records: [records[0], score(1, 0.3, source=1)], "score"),
        ("reorder-scores", lambda _records: [], "score"),
        ("supply-alerts", lambda records: records[:1], "alert"),
        ("supply-alerts", lambda records: [*records, alert(2, 3, "warning", "raised")], "alert"),
        ("supply-alerts", lambda records: [records[0], alert(1, 5, "warning", "raised"), records[1]], "alert"),
        ("supply-alerts", lambda records: records[::-1], "alert"),
        ("supply-alerts", lambda records: [records[0], *records], "duplicated"),
        ("supply-alerts", lambda records: [*records, alert(2, 3, "critical", "raised")], "alert"),
    ],
)
def test_what_is_wrong_with_records_is_found(topic: str, change: Callable[[list[Seen]], list[Seen]], kind: str) -> None:
    assert kind in {problem.kind for problem in problems(with_records(topic, change))}


@pytest.mark.parametrize(
    ("part", "value", "kind"),
    [
        ("features", {"view": {"1": b"State", "2": b"other"}}, "state"),
        ("features", {"view": {"1": b"state"}}, "state"),
        ("features", {"view": {"1": b"state", "2": b"other", "3": b"more"}}, "state"),
        ("latest", {"reorder": {}}, "score"),
        ("latest", {"reorder": {"1": b'{"products":[{"sku":"A","p_30d":0.1}],"source":[]}'}}, "score"),
        ("alerts", {"w:A": b'{"severity":"warning","sequence":3}'}, "alert"),
        ("alerts", {}, "alert"),
    ],
)
def test_what_is_wrong_in_the_store_is_found(part: str, value: Any, kind: str) -> None:
    changed = replace(outcome(), **{part: value})
    assert kind in {problem.kind for problem in problems(changed)}


def test_problems_are_counted() -> None:
    (lost,) = problems(with_records("demand", lambda _records: []))
    assert (lost.kind, lost.count) == ("lost", 2)


@pytest.mark.parametrize(
    ("severity", "lost", "whole"), [("critical", True, True), ("warning", True, False), ("critical", False, False)]
)
def test_an_open_alert_may_have_another_beginning_only_after_a_lost_store(
    severity: str, lost: bool, whole: bool
) -> None:
    """It becomes more severe: it has not ended. One that is raised once more has ended, and nobody was told."""
    first, second = alert(0, 1, "warning", "raised"), alert(1, 3, severity, "escalated")
    found = outcome()
    found = replace(
        found,
        records={**found.records, "supply-alerts": [first, second]},
        alerts={"w:A": json.dumps({"severity": severity, "sequence": 3}).encode()},
    )
    problems = check(found, replace(expected(), lost=lost), None)
    assert [p.kind for p in problems] == ([] if whole else ["alert"])
