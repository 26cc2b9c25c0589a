"""The ring of event ids against a list of all that was ever taken in, with restarts anywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.duplicates import Seen, event_ids
from features.store.base import Patch
from tests.features.streams import seeded


def firsts(ids: Sequence[int], horizon: int) -> list[bool]:
    """Which events are no duplicates: their id is not among the last `horizon` that were none either."""
    taken: list[int] = []
    out = []
    for event_id in ids:
        out.append(event_id not in taken[-horizon:])
        if out[-1]:
            taken.append(event_id)
    return out


def patched(blob: bytes, patches: Sequence[Patch], anew: bool) -> bytes:
    """As a store does it."""
    ring = bytearray(b"" if anew else blob)
    for at, data in patches:
        ring.extend(bytes(max(at + len(data) - len(ring), 0)))
        ring[at : at + len(data)] = data
    return bytes(ring)


@given(st.data())
@seeded
def test_cuts_and_restarts_never_matter(data: st.DataObject) -> None:
    horizon = data.draw(st.sampled_from([1, 2, 3, 8]))
    ids = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=120))
    expected = firsts(ids, horizon)
    blob, folded_to, at = b"", 0, 0
    seen = Seen(horizon, blob)
    while at < len(ids):
        end = min(len(ids), at + data.draw(st.integers(1, 12)))
        offsets = np.arange(at, end)
        assert seen.take_in_all(np.array(ids[at:end], np.uint64), offsets, folded_to).tolist() == expected[at:end]
        if end >= folded_to:
            blob, folded_to = patched(blob, seen.patches(), seen.anew), end
            seen.written()
        at = end
        if data.draw(st.booleans()):
            # No further back than the ring reaches: within the last `horizon` events that were taken in.
            taken = [o for o in range(folded_to) if expected[o]]
            lowest = taken[-horizon:][0] if taken else 0
            seen, at = Seen(horizon, blob), data.draw(st.integers(lowest, folded_to))
    assert len(blob) <= 2 * horizon * 16, "what it costs is bounded"


@pytest.mark.parametrize(("before", "after"), [(4, 16), (16, 4), (4, 5)])
def test_another_horizon_takes_over_what_it_can(before: int, after: int) -> None:
    old = Seen(before)
    assert all(old.take_in(i, i, 0) for i in range(1, 30))
    blob = patched(b"", old.patches(), old.anew)
    new = Seen(after, blob)
    known = min(2 * before, after)
    assert [new.take_in(i, 100 + i, 30) for i in range(30 - known, 30)] == [False] * known
    assert new.take_in(99, 200, 30)
    grown = patched(blob, new.patches(), new.anew)
    assert not Seen(after, grown).take_in(99, 201, 201)


def test_an_id_beyond_the_horizon_is_new() -> None:
    seen = Seen(horizon=3)
    assert [seen.take_in(i, o, 0) for o, i in enumerate([1, 2, 3, 1, 4, 1])] == [True, True, True, False, True, True]


def test_a_record_further_back_than_the_ring_is_taken_for_the_first() -> None:
    seen = Seen(2)
    for i in range(1, 20):
        seen.take_in(i, i, 0)
    again = Seen(2, patched(b"", seen.patches(), seen.anew))
    assert again.take_in(5, 5, folded_to=20)


def test_many_ids_and_few_free_places_for_them() -> None:
    """Ids that are looked for in the same place first, far more of them than the ring holds."""
    ids = np.arange(1, 2_000, dtype=np.uint64) << np.uint64(32)
    seen = Seen(horizon=7)
    assert seen.take_in_all(ids, np.arange(len(ids)), 0).all()
    again = seen.take_in_all(ids[-20:], np.arange(len(ids), len(ids) + 20), 0)
    assert again.tolist() == [True] * 20, "each of them moves the horizon on"
    assert not seen.take_in_all(ids[-7:], np.arange(5_000, 5_007), 0).any()


def test_turned_off_it_keeps_nothing() -> None:
    seen = Seen(0)
    assert [seen.take_in(7, o, 0) for o in range(3)] == [True] * 3
    assert seen.patches() == ()


def test_event_ids_are_stable_and_never_0() -> None:
    one, two, again = event_ids(["e1", "e2", "e1"]).tolist()
    assert one == again != two
    assert event_ids(["e2"]).tolist() == [two]
    assert 0 not in event_ids(["", "a"])
