"""What every store on Redis or Valkey promises beside, whatever servers it is on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar
from uuid import uuid4

import pytest

from features.store import Fence, FenceConflict, Record
from features.store.redis import RedisStore
from tests.contracts.build import KEYS, TTL_MS, put, records_of, write_all, writes_of
from tests.contracts.servers import Deployment
from tests.contracts.store_contract import StoreContract


class RedisContract(StoreContract):
    """A deployment's tests subclass this, name its fixture and say what `ping` tells."""

    deployment_fixture: ClassVar[str]
    name: ClassVar[str | tuple[str, ...]]

    @pytest.fixture
    def deployment(self, request: pytest.FixtureRequest) -> Deployment:
        deployment: Deployment = request.getfixturevalue(self.deployment_fixture)
        return deployment

    @pytest.fixture(params=[1, 8], ids=["1 bucket", "8 buckets"])
    def store(self, request: pytest.FixtureRequest, deployment: Deployment) -> Iterator[RedisStore]:
        store = RedisStore(deployment.url, f"test-{uuid4().hex}", request.param)
        yield store
        store.close()

    def test_records_have_a_time_to_live_and_fences_live_on(self, store: RedisStore, deployment: Deployment) -> None:
        write_all(store, store.claim("orders", 0), 1)
        store.erase("c0", [])
        lives = {key: ttl for key, ttl in keys_of(store, deployment).items() if ":f:" in key}
        assert lives.keys() == {store.key("f", "view", key) for key in KEYS}
        assert all(TTL_MS - 10_000 < ttl <= TTL_MS for ttl in lives.values())
        others = {ttl for key, ttl in keys_of(store, deployment).items() if ":f:" not in key}
        assert others == {-1}

    def test_all_keys_of_a_bucket_share_its_hash_tag(self, store: RedisStore, deployment: Deployment) -> None:
        """So that a bucket's write is one slot, and atomic, on a cluster."""
        write_all(store, store.claim("orders", 0), 1)
        store.erase("c0", [])
        tags = {key: key.split("{")[1].split("}")[0] for key in keys_of(store, deployment)}
        for bucket in range(store.buckets):
            begin = f"{store.namespace}:{{b{bucket}}}"
            wanted = {store.key("f", "view", r.entity) for r in records_of(store, bucket)} | {f"{begin}:fence:orders:0"}
            found = {key for key, tag in tags.items() if tag == f"b{bucket}"}
            assert wanted <= found <= wanted | {f"{begin}:erasures"}

    def test_namespaces_do_not_meet(self, store: RedisStore, deployment: Deployment) -> None:
        write_all(store, store.claim("orders", 0), 1)
        for namespace in (f"{store.namespace}-other", "[a-z]*", "*"):
            other = RedisStore(deployment.url, namespace, store.buckets)
            assert other.scan("f", "view") == {}
            assert other.fences("orders", 0) == [Fence(None, 0)] * store.buckets
            other.close()

    def test_a_namespace_may_hold_what_patterns_are_made_of(self, store: RedisStore, deployment: Deployment) -> None:
        odd = RedisStore(deployment.url, store.namespace + "[1]*?\\", store.buckets)
        write_all(odd, odd.claim("orders", 0), 1)
        assert len(odd.scan("f", "view")) == len(KEYS)
        odd.close()

    def test_a_wiped_store_is_a_conflict_and_not_a_new_beginning(
        self, store: RedisStore, deployment: Deployment
    ) -> None:
        write_all(store, store.claim("orders", 0), 5)
        before = store.fences("orders", 0)
        for client in deployment.clients:
            client.flushall()
        for write in writes_of(store, before, 6):
            with pytest.raises(FenceConflict, match="no offset of epoch 0, expected 5 of epoch 1"):
                store.commit([write])
        assert store.scan("f", "view") == {}
        assert store.claim("orders", 0) == [Fence(None, 1)] * store.buckets

    def test_it_works_after_the_servers_forgot_the_scripts(self, store: RedisStore, deployment: Deployment) -> None:
        write_all(store, store.claim("orders", 0), 1)
        for client in deployment.clients:
            client.script_flush()
        write_all(store, store.fences("orders", 0), 2)
        assert store.fences("orders", 0) == [Fence(2, 1)] * store.buckets

    def test_usage_is_what_the_server_says(self, store: RedisStore, deployment: Deployment) -> None:
        put(store, Record("f", "view", "k", bytes(1000), TTL_MS))
        key = store.key("f", "view", "k")
        sizes = [client.memory_usage(key, samples=0) for client in deployment.clients if client.keys(key)]
        assert [store.usage("f", "view", 10).bytes_each] == sizes

    def test_ping_tells_what_it_talks_to(self, store: RedisStore) -> None:
        assert store.ping().startswith(self.name)


def keys_of(store: RedisStore, deployment: Deployment) -> dict[str, int]:
    """Every key of the store's namespace, with its time to live in ms; -1 is for ever."""
    out: dict[str, int] = {}
    for client in deployment.clients:
        keys = client.keys(f"{store.namespace}:*")
        out |= {key.decode(): client.pttl(key) for key in keys}
    return out
