"""The state after the first k rows, for many ks at once, is what folding just those rows gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.discovery import discover
from features.pointintime import blocks, count_before, grouped, snapshots
from features.rows import Rows
from features.view import View
from tests.features.streams import Event, rows, seeded, streams

VIEWS = sorted(discover().values(), key=lambda view: view.name)
NAMES = ["a", "b", "c", "d"]
every_view = pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])


def naive(view: View, events: Sequence[Event], name: str, k: int) -> bytes:
    """One record, one row after another."""
    record = view.empty(1)
    for event in [e for e in events if e.entity == name][:k]:
        view.fold(record, np.zeros(1, np.int64), rows(view.stream, [event]))
    return record.tobytes()


@every_view
@given(st.data())
@seeded
def test_each_state_is_that_of_just_its_rows(view: View, data: st.DataObject) -> None:
    events = data.draw(streams(view.stream, NAMES[:3]))
    has = [sum(e.entity == name for e in events) for name in NAMES]
    asked = data.draw(st.lists(st.integers(0, 3).flatmap(lambda e: st.tuples(st.just(e), st.integers(0, has[e])))))
    entity = np.array([NAMES.index(e.entity) for e in events], np.int64)
    who, seen = (np.array([pair[i] for pair in asked], np.int64) for i in range(2))
    columns = rows(view.stream, events).columns
    expected = [naive(view, events, NAMES[e], k) for e, k in asked]
    assert [record.tobytes() for record in snapshots(view, columns, entity, who, seen)] == expected
    size = data.draw(st.integers(1, 5))
    found: dict[int, bytes] = {}
    for index, records in blocks(view, columns, *grouped(entity, len(NAMES)), who, seen, size):
        assert 0 < len(index) <= size
        assert not found.keys() & set(index.tolist()), "each once"
        found |= {i: record.tobytes() for i, record in zip(index.tolist(), records, strict=True)}
    assert [found[i] for i in range(len(asked))] == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9))), st.lists(st.tuples(st.integers(0, 3), st.integers())))
@seeded
def test_counting_before_a_key(held: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    held = sorted(held, key=lambda pair: pair[1])
    order, first = grouped(np.array([e for e, _ in held], np.int64), 4)
    keys = np.array([key for _, key in held], np.int64)[order]
    asked = [(e, key % 11 - 1) for e, key in asked]
    who, wanted = (np.array([pair[i] for pair in asked], np.int64) for i in range(2))
    before = [sum(e == of and key < limit for e, key in held) for of, limit in asked]
    until = [sum(e == of and key <= limit for e, key in held) for of, limit in asked]
    assert count_before(keys, first, who, wanted, equal=False).tolist() == before
    assert count_before(keys, first, who, wanted, equal=True).tolist() == until


def test_entities_that_nobody_asks_for_are_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    folded: list[int] = []
    fold = View.fold

    def counted(view: View, records: Any, slots: Any, part: Rows) -> int:
        folded.append(len(slots))
        return fold(view, records, slots, part)

    monkeypatch.setattr(View, "fold", counted)
    events = [Event(0, 5 + i, NAMES[i % 4]) for i in range(20)]
    columns = rows("orders", events).columns
    entity = np.arange(20, dtype=np.int64) % 4
    snapshots(discover()["customer_orders"], columns, entity, np.array([2, 2]), np.array([3, 1]))
    assert folded == [1, 2], "one fold a level, of the rows between"


@pytest.mark.parametrize(("k", "message"), [(3, "spine row 1 sees 3 rows of its entity, which has 2"), (-1, "sees -1")])
def test_more_rows_than_there_are_is_a_clear_error(k: int, message: str) -> None:
    columns = rows("orders", [Event(0, 5, "a"), Event(0, 6, "a")]).columns
    with pytest.raises(ValueError, match=message):
        snapshots(
            discover()["customer_orders"], columns, np.zeros(2, np.int64), np.zeros(2, np.int64), np.array([0, k])
        )
