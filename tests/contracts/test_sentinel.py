"""A failover in the middle: what was not acknowledged is not lost, and what is lost is lost whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from features.store import Fence, FenceConflict, StoreUnavailable, Write
from features.store.redis import RedisStore
from stream.embedded import wait_for
from tests.contracts import servers
from tests.contracts.build import KEYS, write_all, writes_of
from tests.contracts.servers import Client, Deployment

FAILOVER_S = 30


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Its own: the failover uses it up."""
    with servers.watched(tmp_path) as deployment:
        yield deployment


@pytest.fixture
def store(deployment: Deployment) -> Iterator[RedisStore]:
    store = RedisStore(deployment.url, "test", 8, timeout_s=2)
    yield store
    store.close()


def committed(store: RedisStore, writes: Sequence[Write]) -> bool:
    with contextlib.suppress(StoreUnavailable):
        store.commit(writes)
        return True
    return False


def cut_off(primary: Client) -> None:
    """No replica hears of what is written from now on."""
    primary.execute_command("ACL SETUSER", "default", "-psync", "-sync")
    primary.client_kill_filter(_type="replica")


def test_writes_wait_for_the_new_primary_and_go_on_there(store: RedisStore, deployment: Deployment) -> None:
    primary, replica = deployment.clients
    write_all(store, store.claim("orders", 0), 1, b"before")
    assert primary.wait(1, 5000) == 1
    servers.kill(primary)
    writes = writes_of(store, [Fence(1, 1)] * 8, 2, b"after")
    with pytest.raises(StoreUnavailable, match=r"^redis\+sentinel://"):
        store.commit(writes)
    wait_for(lambda: committed(store, writes), FAILOVER_S, "a commit after the failover")
    assert replica.info("replication")["role"] == "master"
    assert store.fences("orders", 0) == [Fence(2, 1)] * 8
    assert store.load("f", "view", KEYS) == [b"after"] * len(KEYS)


def test_fence_and_records_go_back_together(store: RedisStore, deployment: Deployment) -> None:
    """Replication is asynchronous: what the replica has not heard of is lost, though it was acknowledged."""
    primary, _ = deployment.clients
    write_all(store, store.claim("orders", 0), 1, b"before")
    store.claim("orders", 0)
    assert primary.wait(1, 5000) == 1
    cut_off(primary)
    write_all(store, store.fences("orders", 0), 2, b"lost")
    store.erase("c0", [("f", "view")])
    servers.kill(primary)
    writes = writes_of(store, [Fence(2, 2)] * 8, 3, b"after")
    conflict = wait_for_conflict(store, writes)
    assert "the fence is at 1 of epoch 2, expected 2 of epoch 2" in conflict
    assert store.fences("orders", 0) == [Fence(1, 2)] * 8
    assert store.load("f", "view", KEYS) == [b"before"] * len(KEYS)
    write_all(store, store.claim("orders", 0), 2, b"folded again")
    assert store.load("f", "view", KEYS) == [b"folded again"] * len(KEYS)


def wait_for_conflict(store: RedisStore, writes: Sequence[Write]) -> str:
    said: list[str] = []

    def refused() -> bool:
        try:
            return committed(store, writes)
        except FenceConflict as conflict:
            said.append(str(conflict))
            return True

    wait_for(refused, FAILOVER_S, "an answer after the failover")
    assert said, "a write that does not follow on what is there was taken"
    return said[0]
