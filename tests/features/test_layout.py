"""Records of another version of a view: what is kept by name, what begins anew, and that it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from features.aggregations import Count, Decayed, Recent, Span, Tiles
from features.aggregations.base import DAY_MS, Aggregation
from features.discovery import discover
from features.layout import Layout, Layouts, decode_layout, layout_of
from features.rows import ClickKind
from features.table import EntityTable
from features.view import View
from tests.features.streams import START_MS, Event, _arrivals, rows

SEEN = (ClickKind.PRODUCT_VIEW,)
COUNT = Count("views", "views", SEEN)
DECAYED = Decayed("recent", "views, decayed", SEEN, half_life_days=7)
TILES = Tiles("daily", "views", SEEN, windows=(1, 7), length=14)
RECENT = Recent("viewed", "viewed", SEEN, length=4)
OLD = View("v", "clicks", "as it was", (COUNT, DECAYED, TILES, RECENT), ttl_days=90)


def view(*aggregations: Aggregation) -> View:
    return replace(OLD, aggregations=aggregations)


class Registry:
    """The store's part."""

    def __init__(self, *views: View) -> None:
        self.known = {v.fingerprint: layout_of(v).encode() for v in views}
        self.asked: list[list[int]] = []

    def layouts(self, fingerprints: Sequence[int] | None = None) -> dict[int, bytes]:
        assert fingerprints is not None
        self.asked.append(list(fingerprints))
        return {f: self.known[f] for f in fingerprints if f in self.known}


def clicks(days: int = 10) -> list[Event]:
    return [Event(0, START_MS + d * DAY_MS, "e", {"product": 100 + d}) for d in range(days)]


def record(of: View, events: Sequence[Event]) -> bytes:
    table = EntityTable("customer", [of])
    slots = table.admit_new(["e"])
    table.fold(rows("clicks", events))
    return table.pack(of.name, slots)[0]


def read(of: View, blob: bytes, layouts: Layouts) -> dict[str, float]:
    table = EntityTable("customer", [of], layouts=layouts)
    slots = table.admit(["e"], {of.name: [blob]})
    columns = table.read(of.name, slots, np.array([START_MS + 9 * DAY_MS]))
    return {name: float(column[0]) for name, column in columns.items()}


def migrated(new: View) -> tuple[dict[str, float], Layouts]:
    layouts = Layouts(Registry(OLD))
    return read(new, record(OLD, clicks()), layouts), layouts


def fresh(of: View) -> dict[str, float]:
    """As if the new version had been there from the beginning."""
    return read(of, record(of, clicks()), Layouts())


def test_an_added_column_begins_anew_and_the_others_go_on() -> None:
    added = Span("first", "views", SEEN)
    new = view(COUNT, added, DECAYED, TILES, RECENT)
    found, layouts = migrated(new)
    whole = fresh(new)
    begun = {"first_first_age_days", "first_last_age_days"}
    assert {n: v for n, v in found.items() if n not in begun} == {n: v for n, v in whole.items() if n not in begun}
    assert all(np.isnan(found[n]) for n in begun)
    (told,) = layouts.told.values()
    assert (told.restarted, told.dropped) == (("first",), ())
    assert "kept views, recent, daily, viewed; begun anew first; dropped nothing" in str(told)


def test_a_removed_column_is_dropped() -> None:
    new = view(COUNT, RECENT)
    found, layouts = migrated(new)
    assert found == fresh(new)
    assert next(iter(layouts.told.values())).dropped == ("recent", "daily")


def test_a_renamed_column_is_kept_under_its_alias() -> None:
    new = view(replace(COUNT, name="pages", was=("views",)), DECAYED, TILES, RECENT)
    found, layouts = migrated(new)
    assert found == fresh(new)
    assert found["pages"] == 10
    assert next(iter(layouts.told.values())).restarted == ()


def test_an_older_version_knows_a_renamed_column_by_its_own_name() -> None:
    new = view(replace(COUNT, name="pages", was=("views",)), DECAYED, TILES, RECENT)
    layouts = Layouts(Registry(new))
    assert read(OLD, record(new, clicks()), layouts) == fresh(OLD)
    assert next(iter(layouts.told.values())).restarted == ()


def test_other_windows_read_the_same_tiles() -> None:
    new = view(COUNT, DECAYED, replace(TILES, windows=(3, 14)), RECENT)
    assert new.fingerprint == OLD.fingerprint, "the state is the same: nothing to migrate"
    assert read(new, record(OLD, clicks()), Layouts())["daily_3d"] == 3


def test_a_longer_ring_keeps_the_tiles_that_both_cover() -> None:
    new = view(COUNT, DECAYED, replace(TILES, length=28, windows=(1, 7, 28)), RECENT)
    found, layouts = migrated(new)
    assert new.fingerprint != OLD.fingerprint
    assert (found["daily_7d"], found["daily_28d"]) == (7, 10)
    assert next(iter(layouts.told.values())).restarted == ()


def test_counts_that_move_to_small_tiles_are_kept() -> None:
    found, _ = migrated(view(COUNT, DECAYED, replace(TILES, small=True), RECENT))
    assert (found["daily_1d"], found["daily_7d"]) == (1.0, 7.0)


def test_a_count_that_a_small_tile_cannot_hold_becomes_the_largest() -> None:
    old, new = (
        View("v", "clicks", "", (TILES,), ttl_days=90),
        View("v", "clicks", "", (replace(TILES, small=True),), 90),
    )
    written = old.empty(1)
    assert not old.fold(written, np.zeros(1, np.int64), rows("clicks", clicks(1)))
    written["daily.ring"][0, START_MS // DAY_MS % 14] = 40_000
    blob = written.tobytes()
    migrated_record = Layouts(Registry(old))
    migrated_record.learn([old.fingerprint])
    table = EntityTable("customer", [new], layouts=migrated_record)
    slots = table.admit(["e"], {"v": [blob]})
    assert table.read("v", slots, np.array([START_MS]))["daily_1d"].tolist() == [32_767]


@pytest.mark.parametrize(
    "changed",
    [
        replace(DECAYED, half_life_days=14),
        replace(DECAYED, where=(ClickKind.SEARCH,)),
        Count("recent", "another thing of that name", SEEN),
    ],
)
def test_what_means_something_else_now_begins_anew(changed: Aggregation) -> None:
    new = view(COUNT, changed, TILES, RECENT)
    found, layouts = migrated(new)
    assert found["recent"] == 0
    assert found["views"] == 10
    told = next(iter(layouts.told.values()))
    assert (told.restarted, told.dropped) == (("recent",), ("recent",))


def test_a_layout_that_nobody_registered_begins_anew_and_is_told() -> None:
    new, layouts = view(COUNT), Layouts(Registry())
    assert read(new, record(OLD, clicks()), layouts) == {"views": 0}
    assert next(iter(layouts.told.values())).restarted == ("views",)


def test_a_layout_is_asked_for_once() -> None:
    registry = Registry(OLD)
    layouts, new, blob = Layouts(registry), view(COUNT), record(OLD, clicks())
    for _ in range(3):
        read(new, blob, layouts)
    assert registry.asked == [[OLD.fingerprint]]
    assert layouts.counts == {("v", OLD.fingerprint): 3}


def test_what_was_unknown_is_asked_for_again_after_forgetting() -> None:
    registry = Registry()
    layouts, new, blob = Layouts(registry), view(COUNT), record(OLD, clicks())
    read(new, blob, layouts)
    registry.known = Registry(OLD).known
    layouts.forget_unknown()
    assert read(new, blob, layouts) == {"views": 10}


def test_a_cut_off_record_begins_anew_instead_of_being_misread() -> None:
    blob = record(OLD, clicks())
    assert read(view(COUNT), blob[:-8], Layouts(Registry(OLD))) == {"views": 0}
    assert read(OLD, blob[:-8], Layouts(Registry(OLD)))["views"] == 0


def test_the_header_goes_on() -> None:
    blob = record(OLD, clicks())
    moved = Layouts(Registry(OLD)).migrate(view(COUNT), blob)
    assert int(moved["layout"][0]) == view(COUNT).fingerprint
    assert int(moved["event_time_ms"][0]) == START_MS + 9 * DAY_MS
    assert int(moved["version"][0]) == 10


@pytest.mark.parametrize("name", sorted(discover()))
def test_layouts_of_shipped_views_survive_the_store(name: str) -> None:
    layout = layout_of(discover()[name])
    again = decode_layout(layout.encode())
    assert isinstance(again, Layout)
    assert again == layout
    assert int(layout.fingerprint, 16) == discover()[name].fingerprint


@pytest.mark.parametrize("name", sorted(discover()))
def test_a_shipped_view_that_gains_a_column_keeps_all_it_had(name: str) -> None:
    old = discover()[name]
    extra = Count("brand_new", "a column", old.aggregations[0].where)
    new = replace(old, aggregations=(extra, *old.aggregations))
    table = EntityTable(old.entity, [old])
    slots = table.admit_new(["e"])
    table.fold(rows(old.stream, _arrivals(old.stream, ["e"], "anyhow", 200, seed=5)))
    blob = table.pack(name, slots)[0]
    layouts = Layouts(Registry(old))
    moved = layouts.migrate(new, blob)
    for aggregation in old.aggregations:
        for field in aggregation.fields():
            at = f"{aggregation.name}.{field.name}"
            np.testing.assert_array_equal(moved[at], table.records[name][at][slots], err_msg=at)
    assert next(iter(layouts.told.values())).restarted == ("brand_new",)
