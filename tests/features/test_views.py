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
from features.aggregations.base import DAY_MS
from features.rows import STREAMS, OrderKind
from features.discovery import discover, views_of
from features.view import REPARTITIONED, View
from tests.features.oracles import oracle_of
from tests.features.streams import (
    Event,
    alone,
    assert_close,
    folded,
    newest_ms,
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


@every_view
@given(st.data())
@seeded
def test_batch_cuts_never_matter(view: View, data: st.DataObject) -> None:
    events = data.draw(streams(view.stream, ["a", "b", "c"]))
    cuts = data.draw(st.lists(st.integers(0, len(events)), max_size=8))
    assert packed(view, events, cuts) == packed(view, events)


@every_view
@given(st.data())
@seeded
def test_entities_do_not_touch_each_other(view: View, data: st.DataObject) -> None:
    """However a partition interleaves entities, and whatever worker has the others, a record is the same."""
    events = data.draw(streams(view.stream, ["a", "b", "c"]))
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
    events = data.draw(streams(view.stream, ["a", "b"]))
    as_of = newest_ms(events) + data.draw(st.integers(0, 400 * 24)) * DAY_MS // 24
    names, records = folded(view, events)
    columns = view.read(records, np.arange(len(names)), np.full(len(names), as_of))
    for i, name in enumerate(names):
        expected = oracle_of(part)(part, [e for e in events if e.entity == name], as_of)
        assert list(expected) == list(part.describe())
        assert_close({column: float(columns[column][i]) for column in expected}, expected)


@every_view
@given(st.data())
@seeded
def test_reading_later_ages_slides_and_decays_without_events(view: View, data: st.DataObject) -> None:
    events = data.draw(streams(view.stream))
    _, records = folded(view, events)
    before = records.tobytes()
    slots, now = np.zeros(2, np.int64), newest_ms(events)
    columns = view.read(records, slots, np.array([now, now + 1000 * DAY_MS]))
    for name, (at_once, later) in columns.items():
        if name.endswith("_age_days"):
            np.testing.assert_allclose(later - at_once, np.nan if np.isnan(at_once) else 1000, rtol=1e-12)
        elif re.search(r"_\d+[dh]$", name):
            assert later == 0, name
        elif name.startswith("recent_"):
            assert later <= at_once / 1000, name
        else:
            np.testing.assert_array_equal(later, at_once, err_msg=name)
    assert records.tobytes() == before


@every_view
def test_an_entity_without_events_reads_as_nothing_or_unknown(view: View) -> None:
    columns = view.read(view.empty(1), np.zeros(1, np.int64), np.array([newest_ms([Event(0, DAY_MS)])]))
    assert all(np.isnan(column[0]) or column[0] == 0 for column in columns.values())


@every_view
def test_each_column_is_described_and_float64(view: View) -> None:
    columns = view.read(view.empty(3), np.arange(3), np.full(3, DAY_MS))
    assert list(columns) == list(view.describe())
    assert len(columns) == sum(len(a.describe()) for a in view.aggregations), "two columns have one name"
    assert {(c.dtype, c.shape) for c in columns.values()} == {(np.dtype(np.float64), (3,))}
    assert all(view.describe().values())


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


@pytest.mark.parametrize(("entity", "limit_bytes"), [("customer", 2048), ("item", 1024)])
def test_packed_records_fit_the_memory_budget(entity: str, limit_bytes: int) -> None:
    assert sum(view.dtype.itemsize for view in views_of(entity)) <= limit_bytes


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
                {"windows": (1, 8)},
                {"length": 29},
                {"tile_ms": 3_600_000},
            )
        ],
        replace(view, aggregations=(tiles, Count("n", "", (OrderKind.PLACED,)))),
    ]
    assert len({view.fingerprint, *(o.fingerprint for o in others)}) == 1 + len(others)
    reworded = replace(view, doc="other words", ttl_days=9, aggregations=(replace(tiles, doc="other words"),))
    assert reworded.fingerprint == view.fingerprint


def test_shipped_layouts_are_those_that_models_were_trained_on() -> None:
    """A changed layout starts every record anew and refuses every model: never change one by accident."""
    assert {view.name: f"{view.fingerprint:016x}" for view in VIEWS} == {
        "customer_clicks": "1f46ec542dbb5d9d",
        "customer_orders": "f745bb25bf09cff9",
        "customer_repertoire": "ee292a31753d56c7",
        "item_demand": "90aa42603e6252ab",
        "item_stock": "f694aad6f42870f4",
    }


def test_every_stream_has_a_view_and_every_entity_is_known() -> None:
    assert {view.stream for view in VIEWS} == set(STREAMS)
    assert {view.entity for view in VIEWS} == {"customer", "item"}


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
    assert not any(records.tobytes())
