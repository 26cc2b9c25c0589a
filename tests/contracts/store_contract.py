"""What every store promises. A store's tests subclass this and give a fresh, empty `store`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from features.ids import hash64
from features.store import Fence, FenceConflict, FenceMove, Record, Store, Write
from features.store.base import bucket_of

TTL_S = 1000
KEYS = [f"c{n}" for n in range(40)]
ODD_KEYS = ["w:85123A", "a b", "Jötunn ☕", "*", "[x]?", "{b3}", "x:f:view:y", "x}:f:view:y", "new\nline", "'\"\\"]
PACKED = bytes(range(256))


def records_of(store: Store, bucket: int, keys: Sequence[str] = KEYS, value: bytes = PACKED) -> list[Record]:
    """Records of those keys that live in a bucket."""
    return [Record("f", "view", k, value, TTL_S) for k in keys if bucket_of(k, store.buckets) == bucket]


def move(fence: Fence, next_offset: int, sources: dict[int, int] | None = None, topic: str = "orders") -> FenceMove:
    return FenceMove(topic, 0, fence.epoch, fence.next_offset, next_offset, sources or {})


def write_all(store: Store, fences: Sequence[Fence], next_offset: int, value: bytes = PACKED) -> None:
    """A micro-batch that touches every key, committed bucket by bucket."""
    for bucket, fence in enumerate(fences):
        store.commit([Write(bucket, [move(fence, next_offset)], records_of(store, bucket, value=value))])


class StoreContract:
    """Tests that run on every implementation, with one bucket and with eight."""

    def test_an_empty_store_has_nothing(self, store: Store) -> None:
        assert store.load("f", "view", ["a", "b"]) == [None, None]
        assert store.load("f", "view", []) == []
        assert store.scan("f", "view") == {}
        assert store.names([1, 2]) == {}
        assert store.names([]) == {}
        assert store.fences("orders", 0) == [Fence(None, 0)] * store.buckets

    def test_what_is_committed_is_loaded_in_the_order_asked_for(self, store: Store) -> None:
        write_all(store, store.claim("orders", 0), 1)
        assert store.load("f", "view", ["c3", "never", "c0", "c3"]) == [PACKED, None, PACKED, PACKED]

    def test_kinds_and_names_are_apart(self, store: Store) -> None:
        bucket = bucket_of("k", store.buckets)
        records = [Record(kind, name, "k", f"{kind}{name}".encode(), TTL_S) for kind in "fsa" for name in ("v", "w")]
        store.commit([Write(bucket, [move(store.claim("orders", 0)[bucket], 1)], records)])
        for record in records:
            assert store.load(record.kind, record.name, ["k"]) == [record.value]
            assert store.scan(record.kind, record.name) == {"k": record.value}

    def test_a_later_value_takes_the_place_of_an_earlier_one(self, store: Store) -> None:
        write_all(store, store.claim("orders", 0), 1)
        write_all(store, store.fences("orders", 0), 2, b"newer")
        assert store.load("f", "view", KEYS) == [b"newer"] * len(KEYS)

    def test_scan_gives_every_entity_of_one_view(self, store: Store) -> None:
        fences = store.claim("orders", 0)
        for bucket, fence in enumerate(fences):
            records = records_of(store, bucket, [*KEYS, *ODD_KEYS], b"")
            others = [replace(r, name="other") for r in records] + [replace(r, kind="s") for r in records]
            store.commit([Write(bucket, [move(fence, 1)], [*records, *others])])
        assert store.scan("f", "view") == dict.fromkeys([*KEYS, *ODD_KEYS], b"")
        assert store.load("f", "view", ODD_KEYS) == [b""] * len(ODD_KEYS)

    def test_scan_does_not_take_an_entity_for_a_view(self, store: Store) -> None:
        entity = "x}:f:view:y"
        bucket = bucket_of(entity, store.buckets)
        fence = store.claim("orders", 0)[bucket]
        store.commit([Write(bucket, [move(fence, 1)], [Record("f", "other", entity, b"1", TTL_S)])])
        assert store.scan("f", "view") == {}
        assert store.scan("f", "other") == {entity: b"1"}

    def test_claiming_raises_the_epoch_in_every_bucket_and_keeps_the_offset(self, store: Store) -> None:
        assert store.claim("orders", 0) == [Fence(None, 1)] * store.buckets
        write_all(store, store.fences("orders", 0), 7)
        assert store.claim("orders", 0) == [Fence(7, 2)] * store.buckets
        assert store.fences("orders", 0) == [Fence(7, 2)] * store.buckets

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
        """So a writer that got no answer and asks again finds out that it had been heard."""
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

    def test_names_are_remembered(self, store: Store) -> None:
        names = {hash64(text): text for text in ("85123A", "Jötunn ☕", "")} | {1: "one", 2**64 - 1: "last"}
        store.remember_names({})
        store.remember_names(names)
        store.remember_names({1: "one"})
        assert store.names([*names, 12345]) == names
        assert store.names([12345]) == {}

    def test_many_keys_at_once(self, store: Store) -> None:
        """More than go into one request."""
        keys = [f"k{n}" for n in range(12_000)]
        for bucket, fence in enumerate(store.claim("orders", 0)):
            records = [replace(r, value=r.entity.encode()) for r in records_of(store, bucket, keys)]
            store.commit([Write(bucket, [move(fence, 1)], records)])
        assert store.load("f", "view", keys) == [key.encode() for key in keys]
