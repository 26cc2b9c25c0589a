"""What only a cluster can do to a store: move a slot, and lose a primary."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from features.store import Fence, FenceConflict, StoreUnavailable, Write
from features.store.redis import RedisStore
from stream.embedded import wait_for
from tests.contracts import servers
from tests.contracts.build import KEYS, PACKED, write_all, writes_of
from tests.contracts.servers import Client, Deployment, address, node_id

BUCKETS = 8


@pytest.fixture
def store(cluster: Deployment) -> Iterator[RedisStore]:
    store = RedisStore(cluster.url, f"test-{uuid4().hex}", BUCKETS)
    yield store
    store.close()


def owner_of(store: RedisStore, bucket: int, clients: list[Client]) -> tuple[int, Client, Client]:
    """The slot of a bucket, the node that has it and one that has not."""
    slot = clients[0].execute_command("CLUSTER KEYSLOT", f"{{b{bucket}}}")
    for number, client in enumerate(clients):
        if client.execute_command("CLUSTER COUNTKEYSINSLOT", slot):
            return slot, client, clients[(number + 1) % len(clients)]
    raise AssertionError(f"no node has keys of bucket {bucket}")


def begin_to_move(slot: int, source: Client, target: Client) -> None:
    target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", node_id(source))
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", node_id(target))


def move_keys(source: Client, target: Client, keys: Sequence[bytes | str]) -> None:
    host, port = address(target).split(":")
    source.execute_command("MIGRATE", host, port, "", 0, 5000, "KEYS", *keys)


def finish(slot: int, source: Client, target: Client, clients: list[Client]) -> None:
    move_keys(source, target, source.execute_command("CLUSTER GETKEYSINSLOT", slot, 1000))
    for client in (target, *(c for c in clients if c is not target)):
        client.execute_command("CLUSTER SETSLOT", slot, "NODE", node_id(target))
    # Nodes that have not heard of the move yet could claim the slot back, and send a client round in circles.
    wait_for(lambda: len({owners(client) for client in clients}) == 1, 10, "one opinion of who has the slots")


def owners(client: Client) -> tuple[tuple[str, ...], ...]:
    """What a node knows of all nodes: their names, epochs and slots."""
    lines = client.execute_command("CLUSTER NODES")
    return tuple(sorted((at, node["epoch"], *map(str, node["slots"])) for at, node in lines.items()))


def test_buckets_are_on_every_node(store: RedisStore, cluster: Deployment) -> None:
    """Else the tests of this store would say nothing about a cluster."""
    write_all(store, store.claim("orders", 0), 1)
    for client in cluster.clients:
        assert client.keys(f"{store.namespace}:*:fence:*")


@pytest.mark.parametrize("first", ["read", "write", "claim"])
def test_a_moved_slot_is_found(store: RedisStore, cluster: Deployment, first: str) -> None:
    """By whichever request meets it first; the store's map of slots is old then."""
    write_all(store, store.claim("orders", 0), 1)
    fences = store.fences("orders", 0)
    for bucket in (0, 5):
        slot, source, target = owner_of(store, bucket, cluster.clients)
        begin_to_move(slot, source, target)
        finish(slot, source, target, cluster.clients)
    if first == "write":
        write_all(store, fences, 2, b"newer")
        assert store.load("f", "view", KEYS) == [b"newer"] * len(KEYS)
    elif first == "claim":
        assert store.claim("orders", 0) == [Fence(1, 2)] * BUCKETS
    else:
        assert store.load("f", "view", KEYS) == [PACKED] * len(KEYS)
    assert sorted(store.scan("f", "view")) == sorted(KEYS)


def test_a_slot_on_the_way_is_unavailable_until_it_is_there(store: RedisStore, cluster: Deployment) -> None:
    write_all(store, store.claim("orders", 0), 1)
    fences = store.fences("orders", 0)
    bucket = 3
    write = writes_of(store, fences, 2, b"newer")[bucket]
    entities = [record.entity for record in write.records]
    slot, source, target = owner_of(store, bucket, cluster.clients)
    begin_to_move(slot, source, target)
    try:
        move_keys(source, target, [store.key("f", "view", entities[0])])
        for request in (lambda: store.commit([write]), lambda: store.load("f", "view", entities)):
            with pytest.raises(StoreUnavailable):
                request()
        others = [key for key in KEYS if key not in entities]
        assert store.load("f", "view", others) == [PACKED] * len(others)
    finally:
        finish(slot, source, target, cluster.clients)
    assert store.load("f", "view", entities) == [PACKED] * len(entities)
    store.commit([write])
    assert store.load("f", "view", entities) == [b"newer"] * len(entities)


def test_a_failover_is_waited_for_and_then_all_goes_on(tmp_path: Path) -> None:
    with servers.cluster(tmp_path, replicas=1) as deployment:
        primary, replica = deployment.clients[0], deployment.clients[3]
        store = RedisStore(deployment.url, "test", BUCKETS, timeout_s=2)
        write_all(store, store.claim("orders", 0), 1)
        assert primary.wait(1, 5000) == 1
        servers.kill(primary)
        writes = writes_of(store, store_fences(store), 2, b"newer")
        with pytest.raises(StoreUnavailable):
            store.commit(writes)
        with pytest.raises(StoreUnavailable):
            store.load("f", "view", KEYS)
        wait_for(lambda: committed(store, writes), 20, "a commit after the failover")
        assert replica.info("replication")["role"] == "master"
        assert store.fences("orders", 0) == [Fence(2, 1)] * BUCKETS
        assert store.load("f", "view", KEYS) == [b"newer"] * len(KEYS)
        assert sorted(store.scan("f", "view")) == sorted(KEYS)
        with pytest.raises(FenceConflict):
            store.commit(writes)
        store.close()


def store_fences(store: RedisStore) -> list[Fence]:
    """What they are known to be: the primary is gone, so they cannot be asked for."""
    return [Fence(1, 1)] * store.buckets


def committed(store: RedisStore, writes: Sequence[Write]) -> bool:
    with contextlib.suppress(StoreUnavailable):
        store.commit(writes)
        return True
    return False
