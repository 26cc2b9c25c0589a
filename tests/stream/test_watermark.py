from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.watermark import Watermarks


def test_partitions_have_watermarks_of_their_own() -> None:
    marks = Watermarks(late_after_ms=10)
    assert marks.advance("orders", [0, 1, 0, 1], np.array([100, 50, 85, 39])) == 2
    assert marks.newest == {("orders", 0): 100, ("orders", 1): 50}
    assert marks.advance("clicks", [0], np.array([1])) == 0, "topics, too"


def test_an_event_is_late_only_beyond_the_limit() -> None:
    marks = Watermarks(late_after_ms=10)
    assert marks.advance("orders", [0, 0, 0], np.array([100, 90, 89])) == 1


def test_the_watermark_goes_on_across_micro_batches() -> None:
    marks = Watermarks(late_after_ms=10)
    marks.advance("orders", [0], np.array([100]))
    assert marks.advance("orders", [0], np.array([80])) == 1
    assert marks.newest["orders", 0] == 100, "never back"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 60)), max_size=30), st.integers(0, 30), st.integers(0, 20))
def test_lateness_does_not_depend_on_where_batches_are_cut(
    events: list[tuple[int, int]], cut: int, late_after: int
) -> None:
    newest: dict[int, int] = {}
    expected = 0
    for partition, at in events:
        before = newest.get(partition, 0)
        expected += at < before - late_after
        newest[partition] = max(before, at)
    marks = Watermarks(late_after)
    late = 0
    for part in (events[:cut], events[cut:]):
        late += marks.advance("t", [p for p, _ in part], np.array([at for _, at in part], np.int64))
    assert late == expected
    assert marks.newest == {("t", p): at for p, at in newest.items()}
