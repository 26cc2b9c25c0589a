"""What every store promises of fences: who may write, from where, and that a refused write changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from features.store import Fence, FenceConflict, FenceMove, Patch, Store, Write
from features.store.base import bucket_of
from tests.contracts.build import KEYS, PACKED, move, put, records_of, write_all, writes_of


class FenceContract:
    """Tests that run on every implementation, with one bucket and with eight."""

    def test_claiming_raises_the_epoch_in_every_bucket_and_keeps_the_offset(self, store: Store) -> None:
        assert store.claim("orders", 0) == [Fence(None, 1)] * store.buckets
        write_all(store, store.fences("orders", 0), 7)
        assert store.claim("orders", 0) == [Fence(7, 2)] * store.buckets
        assert store.fences("orders", 0) == [Fence(7, 2)] * store.buckets

    def test_the_next_owner_is_told_the_name_of_one_that_did_not_let_go(self, store: Store) -> None:
        first = store.claim("orders", 0, "one")
        assert {f.owner for f in first} == {""}
        write_all(store, first, 7)
        second = store.claim("orders", 0, "two")
        assert second == [Fence(7, 2, owner="one")] * store.buckets
        store.release("orders", 0, [f.epoch for f in first])
        assert {f.owner for f in store.fences("orders", 0)} == {"two"}, "an older owner has nothing to let go of"
        store.release("orders", 0, [f.epoch for f in second])
        assert store.claim("orders", 0) == [Fence(7, 3)] * store.buckets

    def test_partitions_and_topics_have_fences_of_their_own(self, store: Store) -> None:
        store.claim("orders", 0)
        assert store.fences("orders", 1) == [Fence(None, 0)] * store.buckets
        assert store.fences("clicks", 0) == [Fence(None, 0)] * store.buckets

    def test_a_commit_moves_the_fence_with_its_sources(self, store: Store) -> None:
        fences = store.claim("demand", 0)
        sources = {0: 2**53 + 1, 11: 0}
        store.commit([Write(0, [move(fences[0], 12, sources, "demand")], [])])
        assert store.fences("demand", 0) == [Fence(12, 1, sources), *fences[1:]]
        assert store.claim("demand", 0)[0] == Fence(12, 2, sources)

    def test_large_offsets_are_kept_exactly(self, store: Store) -> None:
        fence = store.claim("orders", 0)[0]
        store.commit([Write(0, [move(fence, 2**53 + 1)], [])])
        store.commit([Write(0, [move(Fence(2**53 + 1, 1), 2**62 + 1)], [])])
        assert store.fences("orders", 0)[0] == Fence(2**62 + 1, 1)

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda m: replace(m, epoch=m.epoch - 1), "at 5 of epoch 2, expected 5 of epoch 1"),
            (lambda m: replace(m, epoch=m.epoch + 1), "at 5 of epoch 2, expected 5 of epoch 3"),
            (lambda m: replace(m, expected=4), "at 5 of epoch 2, expected 4 of epoch 2"),
            (lambda m: replace(m, expected=6), "at 5 of epoch 2, expected 6 of epoch 2"),
            (lambda m: replace(m, expected=None), "at 5 of epoch 2, expected None of epoch 2"),
        ],
        ids=["older epoch", "newer epoch", "offset behind", "offset ahead", "offset unknown"],
    )
    def test_a_fence_that_is_not_as_expected_refuses_the_whole_write(
        self, store: Store, spoil: Callable[[FenceMove], FenceMove], message: str
    ) -> None:
        store.claim("orders", 0)
        write_all(store, store.claim("orders", 0), 5, b"before")
        fences = store.fences("orders", 0)
        for bucket, fence in enumerate(fences):
            wrong = spoil(move(fence, 6, {1: 1}))
            with pytest.raises(FenceConflict, match=rf"orders\[0\] bucket {bucket}: the fence is .*{message}"):
                store.commit([Write(bucket, [wrong], records_of(store, bucket, value=b"after"))])
        assert store.fences("orders", 0) == fences
        assert store.load("f", "view", KEYS) == [b"before"] * len(KEYS)

    def test_one_conflict_among_many_fences_changes_nothing(self, store: Store) -> None:
        good, bad = store.claim("orders", 0)[0], store.claim("clicks", 0)[0]
        moves = [move(good, 5), replace(move(bad, 5, topic="clicks"), expected=1)]
        for some in (moves, moves[::-1]):
            with pytest.raises(FenceConflict, match=r"clicks\[0\] bucket 0"):
                store.commit([Write(0, some, records_of(store, 0))])
        assert store.fences("orders", 0)[0] == good
        assert store.fences("clicks", 0)[0] == bad
        assert store.scan("f", "view") == {}

    def test_a_commit_moves_all_its_fences(self, store: Store) -> None:
        orders, clicks = store.claim("orders", 0)[0], store.claim("clicks", 0)[0]
        store.commit([Write(0, [move(orders, 5), move(clicks, 9, topic="clicks")], [])])
        assert (store.fences("orders", 0)[0].next_offset, store.fences("clicks", 0)[0].next_offset) == (5, 9)

    def test_an_older_owner_is_refused_after_a_newer_one_claimed(self, store: Store) -> None:
        zombie = store.claim("orders", 0)
        owner = store.claim("orders", 0)
        with pytest.raises(FenceConflict, match="of epoch 2, expected None of epoch 1"):
            store.commit([Write(0, [move(zombie[0], 5)], records_of(store, 0, value=b"zombie"))])
        write_all(store, owner, 5, b"owner")
        assert set(store.scan("f", "view").values()) == {b"owner"}

    def test_without_a_claim_nothing_is_written(self, store: Store) -> None:
        with pytest.raises(FenceConflict, match="expected None of epoch 0"):
            store.commit([Write(0, [move(store.fences("orders", 0)[0], 5)], records_of(store, 0))])
        assert store.scan("f", "view") == {}
        assert store.fences("orders", 0)[0] == Fence(None, 0)

    def test_the_same_write_twice_is_a_conflict(self, store: Store) -> None:
        """It was answered; only a write without an answer may be committed again."""
        write = Write(0, [move(store.claim("orders", 0)[0], 5)], records_of(store, 0))
        store.commit([write])
        with pytest.raises(FenceConflict):
            store.commit([write])

    def test_a_conflict_in_one_bucket_leaves_the_others_as_they_are(self, store: Store) -> None:
        fences = store.claim("orders", 0)
        if store.buckets == 1:
            return
        first = Write(0, [move(fences[0], 5)], records_of(store, 0))
        second = Write(1, [replace(move(fences[1], 5), epoch=9)], records_of(store, 1))
        with pytest.raises(FenceConflict, match="bucket 1"):
            store.commit([first, second])
        assert store.fences("orders", 0) == [Fence(5, 1), *fences[1:]]
        assert store.scan("f", "view") == {r.entity: PACKED for r in records_of(store, 0)}

    def test_all_buckets_are_committed_in_one_call(self, store: Store) -> None:
        store.commit([])
        store.commit(writes_of(store, store.claim("orders", 0), 5))
        assert store.fences("orders", 0) == [Fence(5, 1)] * store.buckets
        assert store.load("f", "view", KEYS) == [PACKED] * len(KEYS)

    def test_what_was_seen_is_patched_in_place_and_grows(self, store: Store) -> None:
        fence = store.claim("orders", 0)[0]
        steps: list[tuple[tuple[Patch, ...], bytes]] = [
            ((Patch(0, b"abcd"),), b"abcd"),
            ((), b"abcd"),
            ((Patch(1, b"BC"),), b"aBCd"),
            ((Patch(3, b"DEF"),), b"aBCDEF"),
            ((Patch(8, b"\xff"), Patch(0, b"A")), b"ABCDEF\0\0\xff"),
            ((Patch(20, b""),), b"ABCDEF\0\0\xff"),
        ]
        for offset, (patches, seen) in enumerate(steps):
            store.commit([Write(0, [replace(move(fence, offset), seen=patches)], [])])
            fence = store.fences("orders", 0)[0]
            assert fence == Fence(offset, 1, seen=seen)
        assert store.claim("orders", 0) == [replace(fence, epoch=2), *[Fence(None, 2)] * (store.buckets - 1)]

    def test_what_was_seen_can_begin_anew(self, store: Store) -> None:
        first = replace(move(store.claim("orders", 0)[0], 1), seen=(Patch(0, b"long ago"),))
        store.commit([Write(0, [first], [])])
        anew = replace(move(store.fences("orders", 0)[0], 2), seen=(Patch(2, b"now"),), seen_anew=True)
        store.commit([Write(0, [anew], [])])
        assert store.fences("orders", 0)[0].seen == b"\0\0now"
        emptied = replace(move(store.fences("orders", 0)[0], 3), seen_anew=True)
        store.commit([Write(0, [emptied], [])])
        assert store.fences("orders", 0)[0] == Fence(3, 1)

    def test_each_fence_of_a_write_has_its_own_seen(self, store: Store) -> None:
        orders, clicks = store.claim("orders", 0)[0], store.claim("clicks", 0)[0]
        moves = [
            replace(move(orders, 5), seen=(Patch(0, b"o1"), Patch(4, b"o2"))),
            replace(move(clicks, 9, topic="clicks"), seen=(Patch(0, b"c"),), seen_anew=True),
        ]
        store.commit([Write(0, moves, records_of(store, 0))])
        assert store.fences("orders", 0)[0] == Fence(5, 1, seen=b"o1\0\0o2")
        assert store.fences("clicks", 0)[0] == Fence(9, 1, seen=b"c")
        assert store.scan("f", "view") == {r.entity: PACKED for r in records_of(store, 0)}

    def test_a_refused_write_leaves_what_was_seen(self, store: Store) -> None:
        before = replace(move(store.claim("orders", 0)[0], 1), seen=(Patch(0, b"before"),))
        store.commit([Write(0, [before], [])])
        fence = store.fences("orders", 0)[0]
        late = replace(move(fence, 2), expected=None, seen=(Patch(0, b"late"),), seen_anew=True)
        with pytest.raises(FenceConflict):
            store.commit([Write(0, [late], [])])
        assert store.fences("orders", 0)[0] == fence

    def test_a_worker_cannot_write_back_what_was_erased(self, store: Store) -> None:
        """Its copy is from before the erasure."""
        bucket = bucket_of("c0", store.buckets)
        fences = store.claim("orders", 0)
        write_all(store, fences, 1)
        fence = store.fences("orders", 0)[bucket]
        assert store.erase("c0", [("f", "view")]) == 1
        records = records_of(store, bucket, ["c0"], b"from memory")
        stale = Write(bucket, [move(fence, 2)], records, erasures=fence.erasures)
        for _ in range(2):
            with pytest.raises(
                FenceConflict, match=rf"bucket {bucket}: an entity was erased \(1 erasures, expected 0\)"
            ):
                store.commit([stale])
        assert store.load("f", "view", ["c0"]) == [None]
        after = store.fences("orders", 0)[bucket]
        assert after == replace(fence, erasures=1)
        store.commit([replace(stale, erasures=after.erasures)])
        assert store.load("f", "view", ["c0"]) == [b"from memory"]

    def test_erasures_count_by_bucket_and_bind_only_who_asks(self, store: Store) -> None:
        bucket = bucket_of("c0", store.buckets)
        store.erase("c0", [])
        store.erase("c0", [("f", "view")])
        assert [f.erasures for f in store.claim("orders", 3)] == [2 * (n == bucket) for n in range(store.buckets)]
        put(store, *records_of(store, bucket, ["c0"]))
        assert store.load("f", "view", ["c0"]) == [PACKED]
        with pytest.raises(FenceConflict, match="2 erasures, expected 1"):
            store.commit([Write(bucket, [], records_of(store, bucket, ["c0"], b"late"), erasures=1)])
        assert store.load("f", "view", ["c0"]) == [PACKED]

    def test_a_record_that_would_not_live_refuses_the_whole_call(self, store: Store) -> None:
        """A server would refuse it in the middle of the write, after other records and before the fence."""
        fences = store.claim("orders", 0)
        writes = writes_of(store, fences, 1)
        dead = msgspec.structs.replace(writes[-1].records[-1], ttl_ms=0)
        writes[-1] = replace(writes[-1], records=[*writes[-1].records[:-1], dead])
        with pytest.raises(ValueError, match=f"record f:view:{dead.entity}: a time to live of 0 ms"):
            store.commit(writes)
        assert store.fences("orders", 0) == fences
        assert store.scan("f", "view") == {}
