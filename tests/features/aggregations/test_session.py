from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import Session
from features.aggregations.base import DAY_MS
from features.rows import ClickKind
from tests.features.streams import (
    START_MS,
    Event,
    alone,
    assert_close,
    folded,
    newest_ms,
    read,
    rows,
    seeded,
    streams,
)

VIEW, CART = ClickKind.PRODUCT_VIEW, ClickKind.ADD_TO_CART
SESSION = Session("session", "sessions", tuple(ClickKind), viewed=(VIEW,), carted=(CART,))


@dataclass
class Visit:
    """A session as the list of its events."""

    start_s: int
    ids: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)


def visits(session: Session, events: Sequence[Event]) -> tuple[list[Visit], int, int]:
    """All sessions, the newest second, and how many events came too late."""
    found: list[Visit] = []
    newest = late = 0
    for event in (e for e in events if e.kind in session.where):
        now = event.time_ms // 1000
        known = next((i for i in reversed(found[-1].ids) if i), 0) if found else 0
        other = bool(event["session"] and known and event["session"] != known)
        if found and now < newest:
            if other or now < found[-1].start_s:
                late += 1
                continue
        elif not found or other or now - newest > session.gap_minutes * 60:
            found.append(Visit(now))
        newest = max(newest, now)
        found[-1].ids.append(event["session"])
        found[-1].kinds.append(event.kind)
    return found, newest, late


def oracle(session: Session, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    found, newest, _ = visits(session, events)
    kinds = found[-1].kinds if found else []

    def age(second: int) -> float:
        return max(as_of_ms - second * 1000, 0) / DAY_MS if found else math.nan

    return {
        f"{session.name}_count": float(len(found)),
        f"{session.name}_open": float(bool(found) and as_of_ms // 1000 - newest <= session.gap_minutes * 60),
        f"{session.name}_events": float(len(kinds)),
        f"{session.name}_products": float(sum(k in session.viewed for k in kinds)),
        f"{session.name}_carts": float(sum(k in session.carted for k in kinds)),
        f"{session.name}_start_age_days": age(found[-1].start_s if found else 0),
        f"{session.name}_last_age_days": age(newest),
    }


@given(streams("clicks", max_size=120), st.integers(-100, 100))
@seeded
def test_equals_the_oracle(events: list[Event], minutes: int) -> None:
    as_of = newest_ms(events) + minutes * 60_000
    view = alone(SESSION, "clicks")
    assert_close(read(view, events, as_of), oracle(SESSION, events, as_of))
    late = view.fold(view.empty(1), np.zeros(len(events), np.int64), rows("clicks", events))
    assert late == visits(SESSION, events)[2]


def click(minute: float, session: int = 0, kind: ClickKind = VIEW) -> Event:
    return Event(kind, START_MS + int(minute * 60_000), values={"session": session, "product": 1})


def found(events: Sequence[Event], minute: float = 0) -> dict[str, float]:
    return read(alone(SESSION, "clicks"), events, START_MS + int(minute * 60_000))


def figures(events: Sequence[Event]) -> tuple[float, float]:
    columns = found(events)
    return columns["session_count"], columns["session_events"]


def test_a_pause_longer_than_the_gap_begins_a_session() -> None:
    assert figures([click(0), click(30)]) == (1, 2)
    assert figures([click(0), click(30 + 1 / 60)]) == (2, 1)
    assert figures([click(minute) for minute in range(0, 300, 30)]) == (1, 10)


def test_another_id_begins_a_session_and_an_event_without_one_goes_on() -> None:
    assert figures([click(0, 5), click(1, 6), click(2, 6)]) == (2, 2)
    assert figures([click(0, 5), click(1), click(2, 5)]) == (1, 3)
    assert figures([click(0), click(1, 5), click(2, 5)]) == (1, 3)
    assert figures([click(0, 5), click(0, 6)]) == (2, 1)


def test_a_pause_ends_a_session_also_where_the_id_stays() -> None:
    assert figures([click(0, 5), click(40, 5)]) == (2, 1)
    assert figures([click(0, 5), click(40), click(41, 6)]) == (2, 2), "the id of the session before is forgotten"


def test_products_and_carts_are_those_of_the_latest_session() -> None:
    events = [
        click(0),
        click(1, kind=CART),
        click(60),
        click(61),
        click(62, kind=CART),
        click(63, kind=ClickKind.SEARCH),
    ]
    columns = found(events)
    assert (columns["session_products"], columns["session_carts"], columns["session_events"]) == (2, 1, 4)


def test_a_late_event_counts_in_the_session_at_hand_and_moves_no_time() -> None:
    in_time = [click(0, 5), click(20, 5)]
    columns = found([*in_time, click(10, 5), click(10)], 30)
    assert (columns["session_count"], columns["session_events"]) == (1, 4)
    assert columns["session_start_age_days"] == 30 / 1440
    assert columns["session_last_age_days"] == 10 / 1440


def test_a_late_event_of_an_earlier_session_is_too_late() -> None:
    view = alone(SESSION, "clicks")
    _, records = folded(view, [click(0, 5), click(60, 6), click(70, 6)])
    before = view.raw(records, "session")["events"].tolist()
    late = [click(1, 5), click(65, 5), click(59)]
    assert view.fold(records, np.zeros(3, np.int64), rows("clicks", late)) == 3
    assert view.raw(records, "session")["events"].tolist() == before == [2]


def test_a_session_is_over_once_the_gap_has_passed_without_events() -> None:
    assert [found([click(0)], minute)["session_open"] for minute in (0, 30, 31, 10_000)] == [1, 1, 0, 0]


def test_counts_end_at_what_two_bytes_hold() -> None:
    columns = found([click(0)] * 65_600)
    assert columns["session_events"] == columns["session_products"] == 65_535
