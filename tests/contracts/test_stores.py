"""The contracts on every store there is."""

from __future__ import annotations

import pytest

from features.store import MemoryStore, Record, Store
from features.store.redis import RedisStore
from tests.contracts.build import put
from tests.contracts.redis_contract import RedisContract
from tests.contracts.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture(params=[1, 8], ids=["1 bucket", "8 buckets"])
    def store(self, request: pytest.FixtureRequest) -> Store:
        return MemoryStore(request.param)

    def test_expiry_goes_by_the_clock_that_is_handed_in(self) -> None:
        now = [0.0]
        store = MemoryStore(now_ms=lambda: now[0])
        put(store, Record("f", "view", "k", b"1", 100))
        now[0] = 99
        assert store.load("f", "view", ["k"]) == [b"1"]
        assert store.remaining_ms("f", "view", ["k"]) == [1]
        now[0] = 100
        assert store.scan("f", "view") == {}
        assert store.load("f", "view", ["k"]) == [None]


class TestEmbeddedValkey(RedisContract):
    deployment_fixture, name = "valkey", "Valkey 9"


class TestDebianRedis(RedisContract):
    deployment_fixture, name = "debian_redis", "Redis 7"


class TestCluster(RedisContract):
    deployment_fixture, name = "cluster", ("Redis 7", "Valkey 9")

    def test_ping_tells_how_many_nodes_there_are(self, store: RedisStore) -> None:
        assert store.ping().endswith(", a cluster of 3")


class TestSentinel(RedisContract):
    deployment_fixture, name = "watched", ("Redis 7", "Valkey 9")
