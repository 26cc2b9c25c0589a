"""What holds for every view and every aggregation in one; a new view is found and tested without a line here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import Aggregation, Count, Gap, Tiles
from features.aggregations.base import DAY_MS, HOUR_MS
from features.discovery import discover
from features.rows import STREAMS, OrderKind
from features.view import REPARTITIONED, View
from tests.features.oracles import oracle_of, relative_error_of
from tests.features.streams import (
    START_MS,
    Event,
    alone,
    assert_close,
    folded,
    gapped_streams,
    living,
    newest_ms,
    read,
    rows,
    seeded,
    streams,
)

VIEWS = sorted(discover().values(), key=lambda view: view.name)
PARTS = [(view, aggregation) for view in VIEWS for aggregation in view.aggregations]
FREE = [(view, aggregation) for view, aggregation in PARTS if aggregation.order_free]
UNORDERED = [view for view in VIEWS if view.stream in REPARTITIONED]
every_view = pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])
every_part = pytest.mark.parametrize(("view", "part"), PARTS, ids=[f"{v.name}.{a.name}" for v, a in PARTS])


def packed(view: View, events: Sequence[Event], cuts: Sequence[int] = ()) -> dict[str, bytes]:
    names, records = folded(view, events, cuts)
    return {name: records[i].tobytes() for i, name in enumerate(names)}


def any_stream(view: View, entities: Sequence[str]) -> st.SearchStrategy[list[Event]]:
    """Streams with and without pauses in which records expire."""
    return st.one_of(streams(view.stream, entities), gapped_streams(view.stream, view.ttl_ms, entities))


@every_view
@given(st.data())
@seeded
def test_batch_cuts_never_matter(view: View, data: st.DataObject) -> None:
    events = data.draw(any_stream(view, ["a", "b", "c"]))
    cuts = data.draw(st.lists(st.integers(0, len(events)), max_size=8))
    assert packed(view, events, cuts) == packed(view, events)


@every_view
@given(st.data())
@seeded
def test_every_row_in_a_batch_of_its_own_gives_the_same(view: View, data: st.DataObject) -> None:
    events = data.draw(gapped_streams(view.stream, view.ttl_ms, ["a", "b"], max_size=30))
    assert packed(view, events, range(1, len(events))) == packed(view, events)


@every_view
@given(st.data())
@seeded
def test_entities_do_not_touch_each_other(view: View, data: st.DataObject) -> None:
    """However a partition interleaves entities, and whatever worker has the others, a record is the same."""
    events = data.draw(any_stream(view, ["a", "b", "c"]))
    whole = packed(view, events)
    for name in whole:
        assert packed(view, [e for e in events if e.entity == name]) == {name: whole[name]}


@pytest.mark.parametrize(("view", "part"), FREE, ids=[f"{v.name}.{a.name}" for v, a in FREE])
@given(st.data())
@seeded
def test_order_free_means_any_order(view: View, part: Aggregation, data: st.DataObject) -> None:
    events = data.draw(streams(view.stream))
    shuffled = data.draw(st.permutations(events))
    assert packed(alone(part, view.stream), shuffled) == packed(alone(part, view.stream), events)


@pytest.mark.parametrize("view", UNORDERED, ids=[view.name for view in UNORDERED])
@given(st.data())
@seeded
def test_views_of_repartitioned_streams_are_order_free_as_a_whole(view: View, data: st.DataObject) -> None:
    events = data.draw(streams(view.stream))
    assert packed(view, data.draw(st.permutations(events))) == packed(view, events)


@every_part
def test_a_repartitioned_stream_takes_only_what_is_order_free(view: View, part: Aggregation) -> None:
    if part.order_free:
        assert View("v", "demand", "", (part,), 1).aggregations == (part,)
        return
    with pytest.raises(ValueError, match=rf"view 'v': \['{part.name}'\] depend on the order.*'demand'.*order-free"):
        View("v", "demand", "", (Count("ok", "", (0,)), part), 1)


@every_part
@given(st.data())
@seeded
def test_every_column_equals_its_oracle(view: View, part: Aggregation, data: st.DataObject) -> None:
    """Of the events since the record began anew; of none once it has expired."""
    events = data.draw(any_stream(view, ["a", "b"]))
    as_of = newest_ms(events) + data.draw(st.integers(0, 400 * 24)) * HOUR_MS
    names, records = folded(view, events)
    columns = view.read(records, np.arange(len(names)), np.full(len(names), as_of))
    for i, name in enumerate(names):
        mine = living(view, [e for e in events if e.entity == name], as_of)
        expected = oracle_of(part)(part, mine, as_of)
        assert list(expected) == list(part.describe())
        found = {column: float(columns[column][i]) for column in expected}
        assert_close(found, expected, relative_error_of(part))


@every_view
@given(st.data())
@seeded
def test_reading_later_ages_slides_and_decays_without_events(view: View, data: st.DataObject) -> None:
    """Up to the last moment of its time to live."""
    events = data.draw(streams(view.stream))
    _, records = folded(view, events)
    before = records.tobytes()
    slots, now = np.zeros(2, np.int64), newest_ms(events)
    columns = view.read(records, slots, np.array([now, now + view.ttl_ms]))
    for name, (at_once, later) in columns.items():
        if name.endswith("_age_days"):
            expected = np.nan if np.isnan(at_once) else view.ttl_days
            np.testing.assert_allclose(later - at_once, expected, rtol=1e-12)
        elif re.search(r"_\d+[dhm]$|_open$", name):
            assert later == 0, name
        elif name.startswith("recent_"):
            assert later <= at_once / 100, name
        else:
            np.testing.assert_array_equal(later, at_once, err_msg=name)
    assert records.tobytes() == before


@every_view
@given(st.data())
@seeded
def test_a_record_past_its_time_to_live_reads_as_one_without_events(view: View, data: st.DataObject) -> None:
    events = data.draw(any_stream(view, ["e"]))
    _, records = folded(view, events)
    slots, as_of = np.zeros(1, np.int64), np.array([newest_ms(events) + view.ttl_ms + 1])
    for reading in (view.read, view.read_lists):
        found, blank = reading(records, slots, as_of), reading(view.empty(1), slots, as_of)
        assert found.keys() == blank.keys()
        for name in blank:
            np.testing.assert_array_equal(found[name], blank[name], err_msg=name)


def counted(view: View, times: Sequence[int]) -> float:
    return read(view, [Event(0, START_MS + t) for t in times], START_MS + max(times))["n"]


def test_an_event_later_than_the_time_to_live_begins_anew() -> None:
    view = View("v", "orders", "", (Count("n", "", (0,)),), ttl_days=2)
    ttl = 2 * DAY_MS
    assert counted(view, [0, 1, ttl + 1]) == 3
    assert counted(view, [0, 1, ttl + 2]) == 1
    assert counted(view, [0, ttl + 1, 2 * ttl + 1, 2 * ttl + 1]) == 3
    assert counted(view, [0, ttl + 1, 1]) == 2, "what comes late is not the newest: it counts in the record at hand"
    assert counted(view, [0, ttl + 1, 0, 1]) == 2, "but not if it is of an earlier life"
    assert counted(view, [0, ttl + 1, 2 * ttl + 2]) == 1


def test_rows_of_an_earlier_life_are_counted_as_too_late() -> None:
    view = View("v", "orders", "", (Count("n", "", (0,)),), ttl_days=2)
    records = view.empty(2)
    events = [Event(0, START_MS + t * DAY_MS) for t in (0, 5, 1, 9, 2, 9)]
    assert view.fold(records, np.array([0, 0, 0, 1, 1, 1]), rows("orders", events)) == 2
    assert records["n.n"].tolist() == [1, 2]
    assert records["version"].tolist() == [1, 2]


def test_a_returning_entity_costs_what_its_batch_has_not_what_the_table_has() -> None:
    """Only the records of the batch are looked at, however many others there are."""
    view = View("v", "orders", "", (Count("n", "", (0,)),), ttl_days=2)
    records = view.empty(100_000)
    records["event_time_ms"][1:] = -7  # nobody's business
    view.fold(records, np.array([0]), rows("orders", [Event(0, START_MS)]))
    view.fold(records, np.array([0]), rows("orders", [Event(0, START_MS + 9 * DAY_MS)]))
    assert records["n.n"][0] == 1
    assert (records["event_time_ms"][1:] == -7).all()


def test_records_of_a_repartitioned_stream_begin_anew_and_expire() -> None:
    view = View("v", "demand", "", (Count("n", "", (0,)),), ttl_days=2)
    assert counted(view, [0, 2 * DAY_MS + 1]) == 1
    assert read(view, [Event(0, START_MS)], START_MS + 2 * DAY_MS + 1)["n"] == 0


@pytest.mark.parametrize("stream", ["orders", "clicks"])
def test_the_living_events_are_those_since_the_last_pause(stream: str) -> None:
    view = View("v", stream, "", (Count("n", "", (0,)),), ttl_days=1)
    events = [Event(0, START_MS + day * DAY_MS) for day in (0, 1, 3, 2, 4)]
    assert living(view, events, START_MS + 5 * DAY_MS) == events[2:]
    assert living(view, events, START_MS + 5 * DAY_MS + 1) == []


@every_view
def test_an_entity_without_events_reads_as_nothing_or_unknown(view: View) -> None:
    columns = view.read(view.empty(1), np.zeros(1, np.int64), np.array([newest_ms([Event(0, DAY_MS)])]))
    assert all(np.isnan(column[0]) or column[0] == 0 for column in columns.values())


@every_view
def test_each_column_is_described_and_float64(view: View) -> None:
    columns = view.read(view.empty(3), np.arange(3), np.full(3, DAY_MS))
    assert list(columns) == list(view.describe())
    parts = sum(len(a.describe()) for a in view.aggregations)
    assert len(columns) == parts + len(view.derived), "two columns have one name"
    assert {(c.dtype, c.shape) for c in columns.values()} == {(np.dtype(np.float64), (3,))}
    assert all(view.describe().values())


@every_view
def test_each_list_is_described_and_has_a_row_an_entity(view: View) -> None:
    lists = view.read_lists(view.empty(3), np.arange(3), np.full(3, DAY_MS))
    assert list(lists) == list(view.describe_lists())
    assert all(column.shape[0] == 3 and column.ndim == 2 for column in lists.values())
    assert all(view.describe_lists().values())


@every_view
def test_a_view_says_when_it_is_stale_which_is_before_it_expires(view: View) -> None:
    assert 0 < view.stale_after_ms < view.ttl_ms


def test_reading_many_gives_each_its_own_bit_for_bit() -> None:
    """A vector must not depend on who is scored beside it."""
    for view in VIEWS:
        names, records = folded(
            view, [Event(0, START_MS + n * 977, f"e{n % 5}", {"product": n + 1}) for n in range(40)]
        )
        as_of = np.full(len(names), START_MS + DAY_MS)
        together = view.read(records, np.arange(len(names)), as_of)
        for i in range(len(names)):
            single = view.read(records, np.array([i]), as_of[:1])
            for name, column in single.items():
                assert column.tobytes() == together[name][i : i + 1].tobytes(), name


@every_view
def test_the_header_has_the_layout_and_the_newest_event_time(view: View) -> None:
    kind = view.aggregations[0].where[0]
    names, records = folded(view, [Event(kind, 3 * DAY_MS), Event(kind, DAY_MS)])
    assert names == ["e"]
    assert int(records["layout"][0]) == view.fingerprint
    assert int(records["event_time_ms"][0]) == 3 * DAY_MS


@every_view
def test_records_have_no_gaps_and_aligned_fields(view: View) -> None:
    fields = view.dtype.fields
    assert fields is not None
    covered = 0
    for dtype, offset, *_ in sorted(fields.values(), key=lambda entry: entry[1]):
        assert offset == covered, "an unnamed gap has undefined bytes"
        assert offset % dtype.base.itemsize == 0
        covered += dtype.itemsize
    assert covered == view.dtype.itemsize
    assert covered % 8 == 0


def test_the_fingerprint_changes_with_every_parameter_but_not_with_words() -> None:
    tiles = Tiles("units", "units", (OrderKind.PLACED,), "quantity", (OrderKind.CANCELLED,), (1, 7), 28)
    view = View("v", "demand", "", (tiles,), 1)
    others = [
        replace(view, name="w"),
        *[
            replace(view, aggregations=(replace(tiles, **change),))
            for change in (
                {"name": "lines"},
                {"where": (OrderKind.RETURNED,)},
                {"minus": ()},
                {"value": "value"},
                {"value": None},
                {"length": 29},
                {"tile_ms": 3_600_000},
            )
        ],
        replace(view, aggregations=(tiles, Count("n", "", (OrderKind.PLACED,)))),
    ]
    assert len({view.fingerprint, *(o.fingerprint for o in others)}) == 1 + len(others)
    reworded = replace(view, doc="other words", ttl_days=9, aggregations=(replace(tiles, doc="other words"),))
    assert reworded.fingerprint == view.fingerprint


def test_other_windows_change_what_is_read_but_not_what_is_kept() -> None:
    tiles = Tiles("units", "units", (OrderKind.PLACED,), "quantity", (OrderKind.CANCELLED,), (1, 7), 28)
    view = View("v", "demand", "", (tiles,), 1)
    other = replace(view, aggregations=(replace(tiles, windows=(1, 8)),))
    assert other.fingerprint == view.fingerprint
    assert other.column_fingerprint("units") != view.column_fingerprint("units")


def test_every_stream_has_a_view_and_every_entity_is_known() -> None:
    assert {view.stream for view in VIEWS} == set(STREAMS)
    assert {view.entity for view in VIEWS} == {"customer", "item", "product", "region"}


@pytest.mark.parametrize(
    ("stream", "aggregations", "message"),
    [
        ("returns", (), "view 'v': unknown stream 'returns'; there are"),
        ("orders", (Count("n", "", (0,)), Gap("n", "", (0,))), "view 'v': an aggregation name is used twice"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(
    stream: str, aggregations: tuple[Aggregation, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        View("v", stream, "", aggregations, 1)


def test_an_unknown_part_is_a_clear_error() -> None:
    view = discover()["item_stock"]
    with pytest.raises(KeyError, match="view 'item_stock' has no aggregation 'nothing'"):
        view.raw(view.empty(1), "nothing")


def test_an_empty_batch_changes_nothing() -> None:
    view = discover()["customer_orders"]
    records = view.empty(2)
    view.fold(records, np.empty(0, np.int64), rows("orders", []))
    assert records.tobytes() == view.empty(2).tobytes()
