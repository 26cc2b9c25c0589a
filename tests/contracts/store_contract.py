"""What every store promises. A store's tests subclass this and give a fresh, empty `store`."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from features.ids import hash64
from features.store import Fence, FenceConflict, Guard, Record, Store, Tick, Usage, Wanted, Write
from features.store.base import bucket_of
from stream.embedded import wait_for
from tests.contracts.build import KEYS, ODD_KEYS, PACKED, TTL_MS, move, put, records_of, write_all
from tests.contracts.fence_contract import FenceContract
from tests.contracts.index_contract import IndexContract


class StoreContract(FenceContract, IndexContract):
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

    def test_what_is_loaded_beside_a_fence_that_has_moved_is_refused(self, store: Store) -> None:
        write_all(store, store.claim("orders", 0), 5)
        buckets = range(store.buckets)
        wanted = [Wanted("f", "view", KEYS)]
        believed = [Guard("orders", 0, b, 1, 5) for b in buckets] + [Guard("clicks", 3, b, 0, None) for b in buckets]
        assert store.load_all(wanted, believed) == [[PACKED] * len(KEYS)]
        assert store.load_all([], believed) == []
        for wrong in (believed[0]._replace(epoch=2), believed[-1]._replace(next_offset=0)):
            with pytest.raises(FenceConflict, match=rf"{wrong.topic}\[{wrong.partition}\] bucket {wrong.bucket}"):
                store.load_all(wanted, [*believed, wrong])

    def test_the_first_id_of_a_topic_stays(self, store: Store) -> None:
        assert store.pin_topics({}) == {}
        assert store.pin_topics({"orders": "a", "clicks": "b"}) == {"orders": "a", "clicks": "b"}
        assert store.pin_topics({"clicks": "c", "demand": "d"}) == {"clicks": "b", "demand": "d"}

    def test_kinds_and_names_are_apart(self, store: Store) -> None:
        bucket = bucket_of("k", store.buckets)
        records = [Record(kind, name, "k", f"{kind}{name}".encode(), TTL_MS) for kind in "fsa" for name in ("v", "w")]
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
            others = [msgspec.structs.replace(r, name="other") for r in records] + [
                msgspec.structs.replace(r, kind="s") for r in records
            ]
            store.commit([Write(bucket, [move(fence, 1)], [*records, *others])])
        assert store.scan("f", "view") == dict.fromkeys([*KEYS, *ODD_KEYS], b"")
        assert store.load("f", "view", ODD_KEYS) == [b""] * len(ODD_KEYS)

    def test_scan_does_not_take_an_entity_for_a_view(self, store: Store) -> None:
        entity = "x}:f:view:y"
        bucket = bucket_of(entity, store.buckets)
        fence = store.claim("orders", 0)[bucket]
        store.commit([Write(bucket, [move(fence, 1)], [Record("f", "other", entity, b"1", TTL_MS)])])
        assert store.scan("f", "view") == {}
        assert store.scan("f", "other") == {entity: b"1"}

    def test_names_are_remembered(self, store: Store) -> None:
        names = {hash64(text): text for text in ("85123A", "Jötunn ☕", "")} | {1: "one", 2**64 - 1: "last"}
        store.remember_names({})
        store.remember_names(names)
        store.remember_names({1: "one"})
        assert store.names([*names, 12345]) == names
        assert store.names([12345]) == {}

    def test_what_is_wanted_together_comes_in_the_order_asked_for(self, store: Store) -> None:
        kinds = [("f", "v"), ("f", "w"), ("s", "v")]
        put(store, *(Record(kind, name, e, f"{kind}{name}{e}".encode(), TTL_MS) for kind, name in kinds for e in "abc"))
        wanted = [
            Wanted("s", "v", ["c", "never", "c"]),
            Wanted("f", "v", []),
            Wanted("f", "w", ("a",)),
            Wanted("s", "v", ["b", "c"]),
        ]
        assert store.load_all(wanted) == [[b"svc", None, b"svc"], [], [b"fwa"], [b"svb", b"svc"]]
        assert store.load_all([]) == []

    def test_many_keys_at_once(self, store: Store) -> None:
        """More than go into one request, in any order, some of them twice."""
        keys = [f"k{n}" for n in range(10_000)]
        for bucket, fence in enumerate(store.claim("orders", 0)):
            records = [msgspec.structs.replace(r, value=r.entity.encode()) for r in records_of(store, bucket, keys)]
            store.commit([Write(bucket, [move(fence, 1)], records)])
        chance = Random(1)
        asked = [chance.choice(keys) if n % 7 else f"never{n}" for n in range(10_000)]
        expected = [None if key.startswith("never") else key.encode() for key in asked]
        assert store.load_all([Wanted("f", "view", keys), Wanted("f", "view", asked)]) == [
            [key.encode() for key in keys],
            expected,
        ]

    def test_an_expired_record_is_missing_everywhere(self, store: Store) -> None:
        write_all(store, store.claim("orders", 0), 1, ttl_ms=200)
        put(store, Record("f", "view", "stays", b"1", TTL_MS))
        wait_for(lambda: store.load("f", "view", KEYS) == [None] * len(KEYS), 5, "expiry")
        assert store.scan("f", "view") == {"stays": b"1"}
        assert store.remaining_ms("f", "view", KEYS) == [None] * len(KEYS)
        assert store.usage("f", "view", 100).records == 1
        assert store.erase("c0", [("f", "view")]) == 0
        assert [fence.next_offset for fence in store.fences("orders", 0)] == [1] * store.buckets

    def test_a_new_value_lives_its_whole_time(self, store: Store) -> None:
        put(store, Record("f", "view", "k", b"1", 50))
        put(store, Record("f", "view", "k", b"2", 5000))
        (left,) = store.remaining_ms("f", "view", ["k"])
        assert left is not None
        assert 4000 < left <= 5000

    def test_remaining_times_come_in_the_order_asked_for(self, store: Store) -> None:
        put(store, *(Record("f", "view", f"k{n}", b"", n * 100_000) for n in (1, 2, 3)))
        left = store.remaining_ms("f", "view", ["k3", "never", "k1", "k2", "k1"])
        assert [None if ms is None else -(-ms // 100_000) for ms in left] == [3, None, 1, 2, 1]
        assert store.remaining_ms("s", "view", ["k1"]) == [None]
        assert store.remaining_ms("f", "view", []) == []

    def test_layouts_are_remembered(self, store: Store) -> None:
        layouts = {0: b"", 2**64 - 1: PACKED, 2**63: "Jötunn ☕".encode()}
        assert store.layouts([*layouts]) == {}
        store.remember_layouts({})
        store.remember_layouts(layouts)
        store.remember_layouts({0: b""})
        assert store.layouts([12345, *layouts]) == layouts
        assert store.layouts([]) == {}
        assert store.layouts() == layouts
        assert store.names([*layouts]) == {}

    def test_the_clock_never_goes_back(self, store: Store) -> None:
        assert store.clock() == {}
        store.tick({})
        begun = {"orders:0": Tick(1_700_000_000_000, 5), "orders:1": Tick(-1, 6), "clicks:0": Tick(0, 7)}
        store.tick(begun)
        assert store.clock() == begun
        later = {"orders:0": Tick(1_699_999_999_999, 50), "orders:1": Tick(10, 60), "clicks:0": Tick(0, 70)}
        store.tick(later | {"clicks:1": Tick(9, 80)})
        assert store.clock() == begun | {"orders:1": Tick(10, 60), "clicks:1": Tick(9, 80)}

    def test_an_erased_entity_is_gone_and_others_stay(self, store: Store) -> None:
        kinds = [("f", "v"), ("f", "w"), ("s", "v"), ("a", "v")]
        put(store, *(Record(kind, name, e, b"1", TTL_MS) for kind, name in kinds for e in ("k", "k2")))
        assert store.erase("k", [("f", "v"), ("s", "v"), ("f", "never"), ("f", "v")]) == 2
        left = [key for key in kinds for e in ("k",) if store.load(*key, [e]) != [None]]
        assert left == [("f", "w"), ("a", "v")]
        assert [store.load(*key, ["k2"]) for key in kinds] == [[b"1"]] * 4
        assert store.erase("k", [("f", "v"), ("s", "v")]) == 0

    @pytest.mark.parametrize("sample", [0, 7, 1000])
    def test_usage_counts_all_and_measures_a_sample(self, store: Store, sample: int) -> None:
        assert store.usage("f", "view", sample) == Usage(0, 0, 0.0)
        write_all(store, store.claim("orders", 0), 1)
        put(store, Record("f", "other", "k", b"1", TTL_MS), Record("f", "other", "x}:f:view:y", b"1", TTL_MS))
        usage = store.usage("f", "view", sample)
        assert (usage.records, usage.sampled) == (len(KEYS), min(sample, len(KEYS)))
        # A server's figure includes the key and its own bookkeeping.
        assert usage.bytes_each == 0 if sample == 0 else len(PACKED) <= usage.bytes_each < len(PACKED) + 300
