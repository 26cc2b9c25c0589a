from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

from features.store import Fence, FenceConflict, MemoryStore, Record, Store, StoreUnavailable, Write
from features.store.base import bucket_of
from features.store.redis import RedisStore
from stream.embedded import Embedded, wait_for
from tests.contracts.store_contract import KEYS, TTL_S, StoreContract, move, records_of, write_all


class TestMemoryStore(StoreContract):
    @pytest.fixture(params=[1, 8], ids=["1 bucket", "8 buckets"])
    def store(self, request: pytest.FixtureRequest) -> Store:
        return MemoryStore(request.param)


class TestRedisStore(StoreContract):
    @pytest.fixture(params=[1, 8], ids=["1 bucket", "8 buckets"])
    def store(self, request: pytest.FixtureRequest, store_url: str) -> Iterator[RedisStore]:
        store = RedisStore(store_url, f"test-{uuid4().hex}", request.param)
        yield store
        store.close()

    def test_every_record_has_its_time_to_live_and_fences_live_on(self, store: RedisStore) -> None:
        write_all(store, store.claim("orders", 0), 1)
        with contextlib.closing(raw(store)) as client:
            for key in ("c0", "c17"):
                assert TTL_S - 5 <= client.ttl(store.key("f", "view", key)) <= TTL_S
            (fence,) = client.keys(f"{store.namespace}:{{b0}}:fence:*")
            assert client.ttl(fence) == -1

    def test_an_expired_record_is_missing(self, store: RedisStore) -> None:
        bucket = bucket_of("gone", store.buckets)
        records = [Record("f", "view", "gone", b"1", 1), Record("f", "view", "gone", b"1", 1)]
        store.commit([Write(bucket, [move(store.claim("orders", 0)[bucket], 1)], records)])
        wait_for(lambda: store.load("f", "view", ["gone"]) == [None], 5, "expiry")
        assert store.scan("f", "view") == {}

    def test_a_new_value_lives_its_whole_time(self, store: RedisStore) -> None:
        bucket = bucket_of("k", store.buckets)
        (fence, *_) = [store.claim("orders", 0)[bucket]]
        store.commit([Write(bucket, [move(fence, 1)], [Record("f", "view", "k", b"1", 50)])])
        store.commit([Write(bucket, [move(Fence(1, 1), 2)], [Record("f", "view", "k", b"2", 5000)])])
        with contextlib.closing(raw(store)) as client:
            assert client.ttl(store.key("f", "view", "k")) > 4000

    def test_all_keys_of_a_bucket_share_its_hash_tag(self, store: RedisStore) -> None:
        """So that a bucket's write is one slot, and atomic, on a cluster."""
        write_all(store, store.claim("orders", 0), 1)
        with contextlib.closing(raw(store)) as client:
            keys = [key.decode() for key in client.keys(f"{store.namespace}:*")]
        tags = {key: key.split("{")[1].split("}")[0] for key in keys}
        for bucket in range(store.buckets):
            entities = [r.entity for r in records_of(store, bucket)]
            wanted = {store.key("f", "view", e) for e in entities} | {f"{store.namespace}:{{b{bucket}}}:fence:orders:0"}
            assert {key for key, tag in tags.items() if tag == f"b{bucket}"} == wanted

    def test_namespaces_do_not_meet(self, store: RedisStore) -> None:
        write_all(store, store.claim("orders", 0), 1)
        for namespace in (f"{store.namespace}-other", "[a-z]*", "*"):
            other = RedisStore(store.url, namespace, store.buckets)
            assert other.scan("f", "view") == {}
            assert other.fences("orders", 0) == [Fence(None, 0)] * store.buckets
            other.close()

    def test_a_namespace_may_hold_what_patterns_are_made_of(self, store: RedisStore) -> None:
        odd = RedisStore(store.url, store.namespace + "[1]*?\\", store.buckets)
        write_all(odd, odd.claim("orders", 0), 1)
        assert len(odd.scan("f", "view")) == len(KEYS)
        odd.close()

    def test_a_wiped_store_is_a_conflict_and_not_a_new_beginning(self, store: RedisStore) -> None:
        fences = store.claim("orders", 0)
        write_all(store, fences, 5)
        before = store.fences("orders", 0)
        with contextlib.closing(raw(store)) as client:
            client.flushall()
        for bucket, fence in enumerate(before):
            with pytest.raises(FenceConflict, match="no offset of epoch 0, expected 5 of epoch 1"):
                store.commit([Write(bucket, [move(fence, 6)], records_of(store, bucket))])
        assert store.scan("f", "view") == {}
        assert store.claim("orders", 0) == [Fence(None, 1)] * store.buckets

    def test_it_works_after_the_server_forgot_the_script(self, store: RedisStore) -> None:
        write_all(store, store.claim("orders", 0), 1)
        with contextlib.closing(raw(store)) as client:
            client.script_flush()
        write_all(store, store.fences("orders", 0), 2)
        assert store.fences("orders", 0) == [Fence(2, 1)] * store.buckets

    def test_ping_tells_what_it_talks_to(self, store: RedisStore) -> None:
        assert store.ping().startswith("Valkey 9")


def raw(store: RedisStore) -> Any:
    """A client beside the store."""
    return redis.Redis.from_url(store.url)


REQUESTS: dict[str, Callable[[RedisStore], object]] = {
    "load": lambda s: s.load("f", "view", ["a"]),
    "claim": lambda s: s.claim("orders", 0),
    "fences": lambda s: s.fences("orders", 0),
    "commit": lambda s: s.commit([Write(0, [move(Fence(None, 1), 5)], records_of(s, 0))]),
    "remember_names": lambda s: s.remember_names({1: "one"}),
    "names": lambda s: s.names([1]),
    "scan": lambda s: s.scan("f", "view"),
    "ping": lambda s: s.ping(),
}
WRITES = ("claim", "commit", "remember_names")


@contextlib.contextmanager
def server_of_its_own() -> Iterator[tuple[Embedded, RedisStore]]:
    with Embedded(broker=False) as services:
        store = RedisStore(services.store_url, "test", timeout_s=2)
        yield services, store
        store.close()


def test_every_request_says_so_when_the_server_is_gone() -> None:
    with server_of_its_own() as (services, store):
        store.claim("orders", 0)
        services.services[0].stop()
        for request in REQUESTS.values():
            with pytest.raises(StoreUnavailable, match=f"^{store.url}: .*refused"):
                request(store)


@pytest.mark.parametrize(
    ("setting", "message"), [("maxmemory", "used memory > 'maxmemory'"), ("min-replicas-to-write", "NOREPLICAS")]
)
def test_a_server_that_refuses_writes_is_unavailable_and_has_written_nothing(setting: str, message: str) -> None:
    with server_of_its_own() as (_, store), contextlib.closing(raw(store)) as client:
        store.claim("orders", 0)
        client.config_set(setting, 1)
        for name in WRITES:
            with pytest.raises(StoreUnavailable, match=f"^{store.url}: .*{message}"):
                REQUESTS[name](store)
        client.config_set(setting, 0)
        assert store.fences("orders", 0) == [Fence(None, 1)]
        assert store.scan("f", "view") == {}
        REQUESTS["commit"](store)
        assert store.fences("orders", 0) == [Fence(5, 1)]


def test_a_replica_is_unavailable_and_has_written_nothing() -> None:
    """A failover makes the server that we talk to a replica: read-only, and at first without its master."""
    with server_of_its_own() as (_, store), contextlib.closing(raw(store)) as client:
        store.claim("orders", 0)
        client.replicaof("127.0.0.1", 1)
        for name in WRITES:
            with pytest.raises(StoreUnavailable, match=f"^{store.url}: "):
                REQUESTS[name](store)
        client.config_set("replica-serve-stale-data", "no")
        for name in ("load", "fences", "names", "scan"):
            with pytest.raises(StoreUnavailable, match=f"^{store.url}: "):
                REQUESTS[name](store)
        client.replicaof("NO", "ONE")
        assert store.fences("orders", 0) == [Fence(None, 1)]
        assert store.scan("f", "view") == {}


def test_a_mistake_of_ours_is_not_an_unavailable_store(store_url: str) -> None:
    """Waiting would not help: the worker has to stop and say what is wrong."""
    store = RedisStore(store_url, f"test-{uuid4().hex}")
    with contextlib.closing(raw(store)) as client:
        client.set(f"{store.namespace}:{{b0}}:fence:orders:0", "no hash")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        store.fences("orders", 0)
    store.close()
