"""Sessions: where they begin and end, what is left out, and what is said of a log that has none."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.datasets.prefixes import prefixes_of
from export.datasets.sessions import Rules, Sessions, default_from_ms, parted, read_sessions
from export.errors import UsageError

MINUTE_MS = 60_000
FIRST_MS = 1_300_000_000_000
ALL = Rules(least_views=1, least_seen=1)


def clicks(directory: Path, *views: tuple[str, float, str | None, str | None], kind: str = "product_view") -> Path:
    """Writes clicks.jsonl; a view is (customer, minutes, session, sku)."""
    lines: list[dict[str, Any]] = [
        {
            "type": kind,
            "event_id": f"e{i}",
            "event_time_ms": FIRST_MS + int(minutes * MINUTE_MS),
            "customer_id": customer,
            "session_id": session,
            "sku": sku,
        }
        for i, (customer, minutes, session, sku) in enumerate(views)
    ]
    (directory / "clicks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return directory


def told(sessions: Sessions) -> list[str]:
    names = [sessions.names[i] for i in sessions.item.tolist()]
    starts = sessions.starts.tolist()
    return ["".join(names[a:b]) for a, b in pairwise(starts)]


def test_views_without_a_session_are_cut_where_the_customer_paused(tmp_path: Path) -> None:
    log = clicks(
        tmp_path,
        ("x", 0, None, "a"),
        ("y", 1, None, "b"),
        ("x", 30, None, "c"),
        ("x", 61, None, "d"),
        ("y", 2, None, "a"),
    )
    assert told(read_sessions(log, ALL)) == ["ba", "ac", "d"]
    assert told(read_sessions(log, Rules(gap_minutes=60))) == ["ba", "acd"]


def test_a_named_session_stays_whole_and_is_one_customers(tmp_path: Path) -> None:
    log = clicks(tmp_path, ("x", 0, "1", "a"), ("x", 90, "1", "b"), ("x", 91, "2", "c"), ("y", 92, "2", "d"))
    assert told(read_sessions(log, ALL)) == ["ab", "c", "d"]


def test_views_are_in_order_of_time_and_then_of_the_log(tmp_path: Path) -> None:
    log = clicks(tmp_path, ("x", 2, "1", "c"), ("x", 1, "1", "a"), ("x", 1, "1", "b"), ("x", 2, "1", None))
    assert told(read_sessions(log, ALL)) == ["abc"]


def test_short_sessions_go_before_rare_products_and_after(tmp_path: Path) -> None:
    views = [("x", 0, "1", "a"), ("x", 1, "2", "a"), ("x", 2, "2", "b"), ("x", 3, "3", "a"), ("x", 4, "3", "c")]
    views += [("x", 5, "4", "a"), ("x", 6, "4", "b")]
    sessions = read_sessions(clicks(tmp_path, *views), ALL)
    # The lone a does not count; c was seen once, and its session is short without it.
    cleaned = sessions.cleaned(Rules(least_seen=2))
    assert told(cleaned) == ["ab", "ab"]
    assert cleaned.names == ["a", "b"]


def test_products_that_training_does_not_know_are_not_tested(tmp_path: Path) -> None:
    views = [("x", 0, "1", "a"), ("x", 1, "1", "b"), ("x", 10, "2", "a"), ("x", 11, "2", "z"), ("x", 12, "2", "b")]
    views += [("x", 20, "3", "z"), ("x", 21, "3", "b")]
    sessions = read_sessions(clicks(tmp_path, *views), ALL)
    before, after = parted(sessions, FIRST_MS + 5 * MINUTE_MS, Rules())
    assert (told(before), told(after)) == (["ab"], ["ab"])
    with pytest.raises(UsageError, match=r"of 3 sessions 3 end before the test begins and 0 of known products after"):
        parted(sessions, FIRST_MS + 50 * MINUTE_MS, Rules())


def test_the_last_seventh_of_a_short_log_is_the_test() -> None:
    day = 24 * 60 * MINUTE_MS
    for days, test in ((7, 1), (70, 7)):
        ends = np.array([0, days * day])
        assert default_from_ms(Sessions(["a"], np.zeros(2, np.int64), np.arange(3), ends)) == (days - test) * day


def test_every_view_but_the_first_is_asked_for() -> None:
    sessions = Sessions(["a", "b", "c"], np.array([0, 1, 2, 1, 0]), np.array([0, 3, 5]), np.array([1, 2]))
    rows = prefixes_of(sessions)
    assert rows.target.tolist() == [1, 2, 0]
    assert rows.session.tolist() == [0, 0, 1]
    assert rows.window(np.arange(3), 2).tolist() == [[0, 1], [1, 2], [0, 2]]
    assert rows.window(np.array([1]), 1).tolist() == [[2]]


def test_a_log_without_views_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"it has no clicks\.parquet"):
        read_sessions(tmp_path, ALL)
    with pytest.raises(UsageError, match=r"its clicks hold no product_view with a sku"):
        read_sessions(clicks(tmp_path, ("x", 0, "1", "a"), kind="add_to_cart"), ALL)
