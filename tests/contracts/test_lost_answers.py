"""A commit whose answer is lost has happened, or has not: committing the same write again settles it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from uuid import uuid4

import pytest

from features.store import Fence, FenceConflict, Patch, StoreUnavailable, Write
from features.store.base import bucket_of
from features.store.redis import RedisStore
from tests.contracts.build import KEYS, move, records_of, write_all, writes_of
from tests.contracts.proxy import LossyProxy
from tests.contracts.servers import Deployment, address

#: The connection itself tries once more; so many lost answers reach the caller.
UNHEARD = 2


@pytest.fixture
def proxy(valkey: Deployment) -> Iterator[LossyProxy]:
    with LossyProxy(int(address(valkey.clients[0]).split(":")[1])) as proxy:
        yield proxy


@pytest.fixture(params=[1, 8], ids=["1 bucket", "8 buckets"])
def store(proxy: LossyProxy, request: pytest.FixtureRequest) -> Iterator[RedisStore]:
    store = RedisStore(proxy.url, f"test-{uuid4().hex}", request.param)
    write_all(store, store.claim("orders", 0), 1, b"before")
    yield store
    store.close()


def unheard(store: RedisStore, proxy: LossyProxy, writes: list[Write]) -> None:
    """Commits, and does not hear that it has happened: to the first bucket for certain, perhaps to all."""
    proxy.to_lose, proxy.lost = UNHEARD, 0
    with pytest.raises(StoreUnavailable):
        store.commit(writes)
    assert proxy.lost == UNHEARD
    assert store.fences("orders", 0)[writes[0].bucket].next_offset == writes[0].fences[0].next_offset


def test_a_connection_that_breaks_once_is_not_even_noticed(store: RedisStore, proxy: LossyProxy) -> None:
    proxy.to_lose = 1
    write_all(store, store.fences("orders", 0), 2)
    assert proxy.lost == 1
    assert store.fences("orders", 0) == [Fence(2, 1)] * store.buckets


def test_the_same_write_again_is_answered_as_the_first_time(store: RedisStore, proxy: LossyProxy) -> None:
    writes = writes_of(store, store.fences("orders", 0), 2)
    seen = replace(writes[0].fences[0], seen=(Patch(0, b"ring"),), sources={3: 4})
    writes[0] = replace(writes[0], fences=[seen])
    unheard(store, proxy, writes)
    store.commit(writes)
    assert store.fences("orders", 0) == [
        Fence(2, 1, {3: 4}, b"ring"),
        *[Fence(2, 1)] * (store.buckets - 1),
    ]
    write_all(store, store.fences("orders", 0), 3, b"after")
    assert store.load("f", "view", KEYS) == [b"after"] * len(KEYS)


def test_it_may_be_lost_again_and_again(store: RedisStore, proxy: LossyProxy) -> None:
    writes = writes_of(store, store.fences("orders", 0), 2)
    for _ in range(5):
        unheard(store, proxy, writes)
    store.commit(writes)
    assert store.fences("orders", 0) == [Fence(2, 1)] * store.buckets


def test_only_the_same_write_is_known_again(store: RedisStore, proxy: LossyProxy) -> None:
    """Another one that says the same may be that of another worker."""
    writes = writes_of(store, store.fences("orders", 0), 2)[:1]
    unheard(store, proxy, writes)
    with pytest.raises(FenceConflict, match="the fence is at 2 of epoch 1, expected 1 of epoch 1"):
        store.commit([replace(write) for write in writes])
    store.commit(writes)
    with pytest.raises(FenceConflict):
        store.commit(writes)  # it was answered


def test_another_store_does_not_know_it(store: RedisStore, proxy: LossyProxy) -> None:
    writes = writes_of(store, store.fences("orders", 0), 2)
    unheard(store, proxy, writes)
    other = RedisStore(proxy.url, store.namespace, store.buckets)
    with pytest.raises(FenceConflict, match="the fence is at 2"):
        other.commit(writes)
    other.close()


def test_a_newer_owner_is_a_conflict_though_the_write_had_happened(store: RedisStore, proxy: LossyProxy) -> None:
    writes = writes_of(store, store.fences("orders", 0), 2)
    unheard(store, proxy, writes)
    store.claim("orders", 0)
    with pytest.raises(FenceConflict, match="at 2 of epoch 2, expected 1 of epoch 1"):
        store.commit(writes)


def test_a_write_that_moves_two_fences_is_known_by_both(store: RedisStore, proxy: LossyProxy) -> None:
    clicks = store.claim("clicks", 0)[0]
    moves = [move(store.fences("orders", 0)[0], 2), move(clicks, 7, topic="clicks")]
    write = Write(0, moves, records_of(store, 0))
    proxy.to_lose = UNHEARD
    with pytest.raises(StoreUnavailable):
        store.commit([write])
    further = move(store.fences("clicks", 0)[0], 8, topic="clicks")
    store.commit([Write(0, [further], [])])
    with pytest.raises(FenceConflict, match=r"clicks\[0\] bucket 0: the fence is at 8"):
        store.commit([write])


def test_an_erasure_in_between_is_found_by_the_next_write(store: RedisStore, proxy: LossyProxy) -> None:
    """The lost write was before the erasure, so nothing is written back."""
    bucket = bucket_of("c0", store.buckets)
    write = replace(writes_of(store, store.fences("orders", 0), 2)[bucket], erasures=0)
    unheard(store, proxy, [write])
    store.erase("c0", [("f", "view")])
    store.commit([write])
    assert store.load("f", "view", ["c0"]) == [None]
    late = replace(writes_of(store, store.fences("orders", 0), 3)[bucket], erasures=0)
    with pytest.raises(FenceConflict, match="an entity was erased"):
        store.commit([late])


def test_a_worker_that_commits_until_it_is_heard_never_meets_a_conflict(store: RedisStore, proxy: LossyProxy) -> None:
    chance = Random(7)
    fences = store.fences("orders", 0)
    for offset in range(2, 40):
        proxy.to_lose = chance.randrange(8)
        writes = writes_of(store, fences, offset, str(offset).encode())
        commit_until_heard(store, writes)
        fences = store.fences("orders", 0)
        assert fences == [Fence(offset, 1)] * store.buckets
        assert store.load("f", "view", KEYS) == [str(offset).encode()] * len(KEYS)
    assert proxy.lost > 50


def commit_until_heard(store: RedisStore, writes: list[Write]) -> None:
    for _ in range(10):
        try:
            store.commit(writes)
        except StoreUnavailable:
            continue
        return
    raise AssertionError("more answers were lost than there were to lose")
