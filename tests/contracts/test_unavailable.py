"""A server that does not answer, or refuses: every request says so, and nothing has been written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
import redis

from features.store import Fence, Record, Span, StoreUnavailable, Tick, Wanted, Write
from features.store.cluster import Cluster
from features.store.redis import RedisStore
from stream.embedded import Embedded, wait_for
from tests.contracts.build import TTL_MS, move, put, records_of

REQUESTS: dict[str, Callable[[RedisStore], object]] = {
    "load": lambda s: s.load("f", "view", ["a"]),
    "load_all": lambda s: s.load_all([Wanted("f", "view", ["a"]), Wanted("s", "view", ["b"])]),
    "claim": lambda s: s.claim("orders", 0),
    "release": lambda s: s.release("orders", 0, [1]),
    "pin_topics": lambda s: s.pin_topics({"orders": "a"}),
    "fences": lambda s: s.fences("orders", 0),
    "commit": lambda s: s.commit([Write(0, [move(Fence(None, 1), 5)], records_of(s, 0))]),
    "remember_names": lambda s: s.remember_names({1: "one"}),
    "names": lambda s: s.names([1]),
    "remember_layouts": lambda s: s.remember_layouts({1: b"one"}),
    "layouts": lambda s: s.layouts([1]),
    "tick": lambda s: s.tick({"orders:0": Tick(1, 1)}),
    "clock": lambda s: s.clock(),
    "erase": lambda s: s.erase("a", [("f", "view")]),
    "spans": lambda s: s.spans([Span("age:0", 0, 0, 1, 1)]),
    "ranks": lambda s: s.ranks(["age:0"], "a"),
    "remaining_ms": lambda s: s.remaining_ms("f", "view", ["a"]),
    "usage": lambda s: s.usage("f", "view", 10),
    "scan": lambda s: s.scan("f", "view"),
    "ping": lambda s: s.ping(),
}
WRITES = ("claim", "commit", "remember_names", "remember_layouts", "tick", "erase")
READS = ("load", "load_all", "fences", "names", "layouts", "clock", "spans", "ranks", "remaining_ms", "usage", "scan")


def raw(store: RedisStore) -> Any:
    """A client beside the store."""
    return redis.Redis.from_url(store.url)


@contextlib.contextmanager
def server_of_its_own() -> Iterator[tuple[Embedded, RedisStore]]:
    with Embedded(broker=False) as services:
        store = RedisStore(services.store_url, "test", timeout_s=2)
        yield services, store
        store.close()


def unwritten(store: RedisStore) -> bool:
    """Whether a claim is all that has happened."""
    empty = (store.scan("f", "view"), store.names([1]), store.layouts([1]), store.clock()) == ({}, {}, {}, {})
    return empty and store.fences("orders", 0) == [Fence(None, 1)]


def test_every_request_says_so_when_the_server_is_gone() -> None:
    with server_of_its_own() as (services, store):
        store.claim("orders", 0)
        services.services[0].stop()
        for request in REQUESTS.values():
            with pytest.raises(StoreUnavailable, match=f"^{store.url}: .*refused"):
                request(store)


@pytest.mark.parametrize("nodes", ["cluster://{},127.0.0.1:2", "sentinel://127.0.0.1:2,{}/main"])
def test_every_request_says_so_when_no_node_and_no_sentinel_answers(nodes: str) -> None:
    """Nothing is asked when a store is made: a worker may be started before its store."""
    store = RedisStore("redis+" + nodes.format("shop:secret@127.0.0.1:1" if "cluster" in nodes else "127.0.0.1:1"))
    for request in REQUESTS.values():
        with pytest.raises(StoreUnavailable) as failure:
            request(store)
        assert str(failure.value).startswith(f"{store.url}: ")
        assert "secret" not in str(failure.value)
    store.close()


def test_a_server_that_is_no_cluster_is_named() -> None:
    with server_of_its_own() as (_, single):
        store = RedisStore(single.url.replace("redis://", "redis+cluster://"))
        with pytest.raises(StoreUnavailable, match="Cluster mode is not enabled on this node"):
            store.ping()
        store.close()


def test_when_no_known_node_answers_a_cluster_is_looked_for_at_its_address_again() -> None:
    """All nodes may have been replaced by others, behind the same names."""
    made: list[mock.Mock] = []

    def make() -> mock.Mock:
        client = mock.Mock()
        client.get_primaries.return_value = [f"node {len(made)}"]
        client.get_redis_connection.side_effect = str
        if not made:
            client.nodes_manager.initialize.side_effect = redis.RedisClusterException("no node answers")
        made.append(client)
        return client

    link = Cluster("redis+cluster://h", [], make)
    with pytest.raises(redis.RedisClusterException):
        link.primaries()
    made[0].close.assert_called_once()
    assert link.primaries() == ["node 1"]


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
        assert unwritten(store)
        REQUESTS["commit"](store)
        assert store.fences("orders", 0) == [Fence(5, 1)]


def test_an_entity_is_not_half_erased_by_a_full_server() -> None:
    with server_of_its_own() as (_, store), contextlib.closing(raw(store)) as client:
        put(store, Record("f", "view", "a", b"1", TTL_MS))
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailable):
            REQUESTS["erase"](store)
        assert store.load("f", "view", ["a"]) == [b"1"]


def test_a_replica_is_unavailable_and_has_written_nothing() -> None:
    """A failover makes the server that we talk to a replica: read-only, and at first without its master."""
    with server_of_its_own() as (_, store), contextlib.closing(raw(store)) as client:
        store.claim("orders", 0)
        client.replicaof("127.0.0.1", 1)
        for name in WRITES:
            with pytest.raises(StoreUnavailable, match=f"^{store.url}: "):
                REQUESTS[name](store)
        client.config_set("replica-serve-stale-data", "no")
        for name in READS:
            with pytest.raises(StoreUnavailable, match=f"^{store.url}: "):
                REQUESTS[name](store)
        client.replicaof("NO", "ONE")
        assert unwritten(store)


def test_a_replica_behind_the_address_is_left() -> None:
    """A name or a balancer may lead to the new primary, but only a new connection."""
    with server_of_its_own() as (_, store), contextlib.closing(raw(store)) as client:
        store.claim("orders", 0)
        connections = client.info("stats")["total_connections_received"]
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailable):
            store.claim("orders", 0)
        client.replicaof("NO", "ONE")
        store.claim("orders", 0)
        assert client.info("stats")["total_connections_received"] > connections


def test_a_mistake_of_ours_is_not_an_unavailable_store(store_url: str) -> None:
    """Waiting would not help: the worker has to stop and say what is wrong."""
    store = RedisStore(store_url, f"test-{uuid4().hex}")
    with contextlib.closing(raw(store)) as client:
        client.set(f"{store.namespace}:{{b0}}:fence:orders:0", "no hash")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        store.fences("orders", 0)
    store.close()


def test_the_server_removes_by_itself_what_nobody_reads() -> None:
    """Within 10 s here; a server tolerates up to a tenth of dead records among those that live."""
    with server_of_its_own() as (_, store), contextlib.closing(raw(store)) as client:
        put(store, Record("f", "view", "stays", b"1", TTL_MS))
        put(store, *(Record("f", "view", f"k{n}", b"1", 200) for n in range(300)))
        wait_for(lambda: client.dbsize() == 1, 10, "removal")
        assert client.info("stats")["expired_keys"] == 300
