"""What every store promises of indexes: entities by rank, written with the fence and the records, or not at all."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from features.store import Entry, FenceConflict, Record, Span, Store, Write
from features.store.base import MAX_RANK, bucket_of
from tests.contracts.build import KEYS, ODD_KEYS, TTL_MS, move, put, records_of

#: Ranks that a float of 32 bits would not tell apart.
LARGE = 1_700_000_000_000 * 2_048


def enter(store: Store, *entries: Entry) -> None:
    """Entries that no fence guards."""
    for entry in entries:
        store.commit([Write(bucket_of(entry.entity, store.buckets), [], [], entries=[entry])])


def span_of(store: Store, index: str, lowest: int = 0, highest: int = MAX_RANK, most: int = 1_000) -> list[str]:
    """The entities of all buckets, sorted."""
    wanted = [Span(index, bucket, lowest, highest, most) for bucket in range(store.buckets)]
    return sorted(entity for found in store.spans(wanted) for entity in found)


class IndexContract:
    """Tests that run on every implementation, with one bucket and with eight."""

    def test_an_index_that_nobody_wrote_is_empty(self, store: Store) -> None:
        assert store.spans([]) == []
        assert store.spans([Span("age:0", 0, 0, MAX_RANK, 10)]) == [[]]
        assert store.ranks(["age:0", "age:1"], "c0") == [None, None]
        assert store.ranks([], "c0") == []

    def test_entities_come_by_rank_and_then_by_their_bytes(self, store: Store) -> None:
        """The same order in every store and at any time: replays take the same ones."""
        chance = Random(3)
        ranks = {key: chance.randrange(5) for key in [*KEYS, *ODD_KEYS, "Z", "é", "\U0001f980"]}
        enter(store, *(Entry("age:0", key, rank) for key, rank in ranks.items()))
        for bucket in range(store.buckets):
            held = [k for k in ranks if bucket_of(k, store.buckets) == bucket]
            expected = sorted(held, key=lambda k: (ranks[k], k.encode()))
            pieces = [
                Span("age:0", bucket, 0, 4, 100),
                Span("age:0", bucket, 0, 4, 3),
                Span("age:0", bucket, 2, 3, 100),
            ]
            within = [k for k in expected if 2 <= ranks[k] <= 3]
            assert store.spans(pieces) == [expected, expected[:3], within]
            assert store.spans([Span("age:0", bucket, 0, 4, 0)]) == [[]]

    def test_ranks_are_kept_exactly(self, store: Store) -> None:
        enter(store, *(Entry("age:0", f"c{n}", LARGE + n) for n in range(3)), Entry("age:0", "last", MAX_RANK))
        assert [store.ranks(["age:0"], f"c{n}") for n in range(3)] == [[LARGE + n] for n in range(3)]
        assert store.ranks(["age:0"], "last") == [MAX_RANK]
        assert span_of(store, "age:0", LARGE + 1, LARGE + 1) == ["c1"]
        assert span_of(store, "age:0", LARGE + 3) == ["last"]

    @pytest.mark.parametrize("rank", [-1, MAX_RANK + 1])
    def test_a_rank_that_would_not_be_exact_refuses_the_whole_call(self, store: Store, rank: int) -> None:
        fence, bucket = store.claim("orders", 0)[0], bucket_of("c0", store.buckets)
        good = Write(0, [move(fence, 1)], records_of(store, 0))
        with pytest.raises(ValueError, match=rf"index age:0: c0 has rank {rank}; ranks are 0 to 2\*\*53"):
            store.commit([good, Write(bucket, [], [], entries=[Entry("age:0", "c0", rank)])])
        assert store.fences("orders", 0)[0] == fence
        assert store.scan("f", "view") == {}

    def test_an_entity_has_one_rank_in_an_index_and_can_be_taken_out(self, store: Store) -> None:
        enter(store, Entry("age:0", "k", 5), Entry("age:1", "k", 6), Entry("age:0", "k", 4))
        assert store.ranks(["age:1", "age:0", "never"], "k") == [6, 4, None]
        enter(store, Entry("age:0", "k", None), Entry("age:0", "never", None))
        assert store.ranks(["age:0", "age:1"], "k") == [None, 6]
        assert span_of(store, "age:0") == []

    def test_fence_records_and_entries_are_one_write(self, store: Store) -> None:
        bucket = bucket_of("k", store.buckets)
        fence = store.claim("orders", 0)[bucket]
        entries = [Entry("age:0", "k", 1), Entry("age:1", "k", 2), Entry("age:0", "k", 3)]
        write = Write(bucket, [move(fence, 1)], [Record("f", "view", "k", b"1", TTL_MS)], fence.erasures, entries)
        store.commit([write])
        assert store.ranks(["age:0", "age:1"], "k") == [3, 2], "in their order"
        assert store.load("f", "view", ["k"]) == [b"1"]
        assert store.fences("orders", 0)[bucket].next_offset == 1
        late = replace(write, entries=[Entry("age:0", "k", 9), Entry("age:1", "k", None)])
        with pytest.raises(FenceConflict):
            store.commit([late])
        assert store.ranks(["age:0", "age:1"], "k") == [3, 2]

    def test_an_erased_entity_is_in_no_index(self, store: Store) -> None:
        put(store, Record("f", "view", "k", b"1", TTL_MS))
        enter(store, *(Entry(index, key, 1) for index in ("age:0", "age:1", "other") for key in ("k", "k2")))
        assert store.erase("k", [("f", "view")], ["age:0", "age:1", "never"]) == 3
        assert store.ranks(["age:0", "age:1", "other"], "k") == [None, None, 1]
        assert store.ranks(["age:0", "age:1"], "k2") == [1, 1]
        assert store.erase("k", [], ["age:0"]) == 0

    def test_the_clock_of_a_fence_moves_with_it_or_stays(self, store: Store) -> None:
        first = store.claim("orders", 0)[0]
        store.commit([Write(0, [replace(move(first, 1), clock=b"[1]")], [])])
        assert store.fences("orders", 0)[0].clock == b"[1]"
        store.commit([Write(0, [move(store.fences("orders", 0)[0], 2)], [])])
        taken = store.claim("orders", 0)[0]
        assert (taken.next_offset, taken.clock) == (2, b"[1]"), "empty: as it was"
        with pytest.raises(FenceConflict):
            store.commit([Write(0, [replace(move(first, 9), clock=b"[9]")], [])])
        store.commit([Write(0, [replace(move(taken, 3), clock=b"[3]\xff")], [])])
        assert store.fences("orders", 0) == [
            replace(taken, next_offset=3, clock=b"[3]\xff"),
            *store.fences("orders", 0)[1:],
        ]
