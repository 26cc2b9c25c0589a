"""K and R: what is folded, what is published, where a worker begins."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.rows import rows_of
from features.store import Fence, FenceMove, Guard
from stream.microbatch import Feed
from stream.ownership import Ownership

NONE = np.empty(0, np.int64)


def feed_of(
    entities: list[str], partition: list[int], offset: list[int], sources: list[tuple[int, int]] | None = None
) -> Feed:
    n = len(entities)
    if sources is None:
        rows = rows_of("clicks", entities, kind=[0] * n, event_time_ms=[1] * n, product=[1] * n, session=[0] * n)
        return Feed(rows, np.array(partition, np.int64), np.array(offset, np.int64), NONE, NONE)
    ones = {name: [1] * n for name in ("event_time_ms", "quantity", "value", "customer")}
    rows = rows_of("demand", entities, kind=[0] * n, **ones)
    s = np.array(sources, np.int64).reshape(n, 2)
    return Feed(rows, np.array(partition, np.int64), np.array(offset, np.int64), s[:, 0], s[:, 1])


def fence(r: int | None, epoch: int = 1, **sources: int) -> Fence:
    return Fence(r, epoch, {int(name[1:]): at for name, at in sources.items()})


@pytest.mark.parametrize(
    ("k", "fences", "begin"),
    [
        (0, [None], 0),
        (7, [None], 0),
        (7, [3], 3),
        (3, [7], 3),
        (5, [5], 5),
        (9, [9, 4, 8], 4),
        (9, [9, None], 0),
    ],
)
def test_a_partition_begins_at_the_smaller_of_k_and_every_r(k: int, fences: list[int | None], begin: int) -> None:
    ownership = Ownership(len(fences))
    owned = ownership.take(("orders", 0), k, [fence(r) for r in fences])
    assert owned.begin == begin
    assert ownership.owned == {("orders", 0): owned}


def test_a_record_is_published_at_or_past_k() -> None:
    ownership = Ownership(1)
    ownership.take(("orders", 0), 5, [fence(2)])
    assert [ownership.publishable("orders", 0, offset) for offset in (4, 5, 6)] == [False, True, True]


def test_a_row_is_folded_at_or_past_the_fence_of_its_bucket_and_partition() -> None:
    ownership = Ownership(2)
    ownership.take(("clicks", 0), 0, [fence(5), fence(None)])
    ownership.take(("clicks", 3), 0, [fence(1), fence(9)])
    feed = feed_of(list("abcdef"), [0, 0, 0, 3, 3, 3], [4, 5, 4, 0, 1, 8])
    bucket = np.array([0, 0, 1, 0, 0, 1])
    assert ownership.foldable("clicks", feed, bucket[:, None])[:, 0].tolist() == [False, True, True, False, True, False]


def test_a_source_position_is_folded_once_however_often_it_is_published() -> None:
    ownership = Ownership(1)
    ownership.take(("demand", 0), 0, [fence(None, s4=20)])
    sources = [(4, 20), (4, 21), (5, 3), (4, 21), (5, 2), (4, 22)]
    feed = feed_of(["a"] * 6, [0] * 6, list(range(6)), sources)
    assert ownership.foldable("demand", feed, np.zeros((6, 1), np.int64))[:, 0].tolist() == [
        False,
        True,
        True,
        False,
        False,
        True,
    ]
    assert ownership.owned["demand", 0].sources == [{4: 22, 5: 3}]


def test_rows_that_are_in_the_state_do_not_move_the_source_positions() -> None:
    ownership = Ownership(1)
    ownership.take(("demand", 0), 0, [fence(10)])
    feed = feed_of(["a", "a"], [0, 0], [9, 10], [(1, 50), (1, 7)])
    assert ownership.foldable("demand", feed, np.zeros((2, 1), np.int64))[:, 0].tolist() == [False, True]
    assert ownership.owned["demand", 0].sources == [{1: 7}]


def test_all_entities_of_a_record_see_it_as_new_even_in_one_bucket() -> None:
    ownership = Ownership(2)
    ownership.take(("demand", 0), 0, [fence(None), fence(None, s0=1)])
    feed = feed_of(["a"] * 3, [0] * 3, [0, 1, 2], [(0, 1), (0, 1), (0, 2)])
    bucket = np.array([[0, 0, 1], [0, 0, 1], [1, 0, 1]], np.int64)
    assert ownership.foldable("demand", feed, bucket).tolist() == [
        [True, True, False],
        [False, False, False],
        [True, True, True],
    ]
    assert ownership.owned["demand", 0].sources == [{0: 2}, {0: 2}]


@dataclass
class Naive:
    """What K, R and the source positions mean, one row after another."""

    folded: dict[tuple[int, int], int]
    newest: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def foldable(self, partition: int, bucket: int, offset: int, source: tuple[int, int] | None) -> bool:
        if offset < self.folded.get((partition, bucket), 0):
            return False
        if source is None:
            return True
        place = (partition, bucket, source[0])
        if source[1] <= self.newest.get(place, -1):
            return False
        self.newest[place] = source[1]
        return True


ROW = st.tuples(
    st.integers(0, 2), st.integers(0, 2), st.integers(0, 12), st.tuples(st.integers(0, 2), st.integers(0, 9))
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(ROW, max_size=40),
    st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.integers(0, 9)),
    st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), st.integers(0, 9)),
    st.booleans(),
    st.integers(0, 40),
)
@example([(0, 0, 0, (0, 0)), (0, 1, 0, (0, 0)), (1, 0, 0, (0, 0))], {}, {}, True, 1)
def test_foldable_agrees_with_a_naive_reading(
    rows: list[tuple[int, int, int, tuple[int, int]]],
    folded: dict[tuple[int, int], int],
    newest: dict[tuple[int, int, int], int],
    sourced: bool,
    cut: int,
) -> None:
    """Three partitions, three buckets, three source partitions; the rows come in two micro-batches."""
    ownership = Ownership(3)
    for p in range(3):
        fences = [
            Fence(folded.get((p, b)), 1, {s: at for (q, c, s), at in newest.items() if (q, c) == (p, b)})
            for b in range(3)
        ]
        ownership.take(("demand", p), 0, fences)
    naive = Naive(folded, dict(newest))
    for part in (rows[:cut], rows[cut:]):
        if not part:
            continue
        feed = feed_of(
            [str(i) for i in range(len(part))],
            [p for p, _, _, _ in part],
            [o for _, _, o, _ in part],
            [s for _, _, _, s in part] if sourced else None,
        )
        bucket = np.array([b for _, b, _, _ in part], np.int64)
        expected = [naive.foldable(p, b, o, s if sourced else None) for p, b, o, s in part]
        assert ownership.foldable("demand", feed, bucket[:, None])[:, 0].tolist() == expected
    found = {
        (p, b, s): at
        for p in range(3)
        for b, seen in enumerate(ownership.owned["demand", p].sources)
        for s, at in seen.items()
    }
    assert found == naive.newest


def test_taking_a_partition_does_not_share_positions_with_the_store() -> None:
    ownership = Ownership(1)
    kept = fence(None, s0=1)
    ownership.take(("demand", 0), 0, [kept])
    ownership.foldable("demand", feed_of(["a"], [0], [0], [(0, 5)]), np.zeros((1, 1), np.int64))
    assert kept.sources == {0: 1}


def test_moves_are_compare_and_sets_that_never_go_back() -> None:
    ownership = Ownership(2)
    ownership.take(("orders", 0), 0, [fence(5, epoch=3), fence(None, epoch=4)])
    ownership.take(("clicks", 1), 0, [fence(2, epoch=1), fence(2, epoch=1)])
    following = {("orders", 0): 4, ("clicks", 1): 6}
    assert ownership.moves(following, 0) == [
        FenceMove("clicks", 1, 1, 2, 6, {}),
        FenceMove("orders", 0, 3, 5, 5, {}),
    ]
    second = ownership.moves(following, 1)
    assert second[1] == FenceMove("orders", 0, 4, None, 4, {})
    ownership.moved(second, 1)
    assert ownership.owned["orders", 0].folded_to == [5, 4]


def test_what_was_found_between_k_and_r_is_in_doubt() -> None:
    """In the state, but nobody knows whether its alerts were published. What we fold ourselves is not in doubt."""
    ownership = Ownership(1)
    ownership.take(("demand", 0), 3, [fence(6)])
    ownership.moved(ownership.moves({("demand", 0): 9}, 0), 0)
    assert [offset for offset in range(10) if ownership.between("demand", 0, offset, 0)] == [3, 4, 5]
    assert not ownership.between("demand", 1, 4, 0), "of another worker"
    ownership.stated.add("w:A")
    ownership.take(("demand", 0), 3, [fence(9)])
    assert ownership.stated == set()
    assert [offset for offset in range(10) if ownership.between("demand", 0, offset, 0)] == [3, 4, 5, 6, 7, 8]


def test_guards_are_of_all_that_an_entity_is_folded_from() -> None:
    ownership = Ownership(2)
    for partition in (("orders", 0), ("clicks", 0), ("orders", 1), ("demand", 0)):
        ownership.take(partition, 0, [fence(5, epoch=3), fence(None, epoch=4)])
    assert ownership.guards([("orders", 0)], {1}) == [Guard("orders", 0, 1, 4, None), Guard("clicks", 0, 1, 4, None)]


def test_a_revoked_partition_is_forgotten() -> None:
    ownership = Ownership(1)
    ownership.take(("orders", 0), 0, [fence(None)])
    ownership.take(("orders", 1), 0, [fence(None)])
    ownership.drop([("orders", 0), ("clicks", 9)])
    assert ownership.owned.keys() == {("orders", 1)}
