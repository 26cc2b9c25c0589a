"""Protocols that are broken on purpose: the suite must find each of them. They live here, not in the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from features.store import Guard, Wanted, Write
from features.store import redis as redis_store
from features.store.redis import RedisStore
from stream import failpoints
from stream.ownership import Ownership
from stream.worker import Worker

#: The fail point of `commit_before_write`.
COMMITTED_FIRST = "committed-first"
#: That of `fence_before_states`.
FENCED_FIRST = "fenced-first"

_MUTATIONS: dict[str, Callable[[], None]] = {}


def mutation(change: Callable[[], None]) -> Callable[[], None]:
    """Registers one under the name of its function."""
    _MUTATIONS[change.__name__.replace("_", "-")] = change
    return change


def names() -> list[str]:
    """All there are."""
    return sorted(_MUTATIONS)


def docs() -> dict[str, str]:
    """What each does."""
    return {name: (_MUTATIONS[name].__doc__ or "").strip() for name in names()}


def apply(name: str) -> None:
    """Breaks this process's engine."""
    _MUTATIONS[name]()


def _change_commit_script(change: Callable[[str], str]) -> None:
    script = redis_store._COMMIT
    script.source = change(script.source)
    script.sha = hashlib.sha1(script.source.encode(), usedforsecurity=False).hexdigest()


def _patch(owner: Any, name: str, method: Callable[..., Any]) -> None:
    setattr(owner, name, method)


@mutation
def no_fence_check() -> None:
    """The store takes every write, whoever owns the partition and wherever its fence is."""

    def take_all(source: str) -> str:
        changed = source.replace("if refused then", "if false then")
        assert changed != source, "commit.lua has changed: this mutation must follow"
        return changed

    _change_commit_script(take_all)
    load_all = RedisStore.load_all

    def load_unguarded(
        self: RedisStore, wanted: Sequence[Wanted], _guards: Sequence[Guard] = ()
    ) -> list[list[bytes | None]]:
        return load_all(self, wanted)

    _patch(RedisStore, "load_all", load_unguarded)


@mutation
def commit_before_write() -> None:
    """Offsets are committed when records have been polled, before anything of them is written or produced.

    It comes by a fail point of its own, COMMITTED_FIRST, where an order is among them: its demand is what is lost.
    """
    failpoints.POINTS[COMMITTED_FIRST] = "0: offsets are committed, nothing else is done"
    process = Worker._process

    def commit_first(self: Worker, records: list[Any]) -> None:
        self._source.commit({(r.topic(), r.partition()): r.offset() + 1 for r in records})
        if any(r.topic() == "orders" for r in records):
            failpoints.reach(COMMITTED_FIRST)
        process(self, records)

    _patch(Worker, "_process", commit_first)


@mutation
def fence_before_states() -> None:
    """The fence moves in one call and the states follow in another.

    It comes by a fail point of its own, FENCED_FIRST, where there are states to follow: they are what is lost.
    """
    failpoints.POINTS[FENCED_FIRST] = "3: the fence has moved, no state is written"
    commit = RedisStore.commit

    def in_two(self: RedisStore, writes: Sequence[Write]) -> None:
        commit(self, [replace(write, records=[]) for write in writes])
        if any(write.records for write in writes):
            failpoints.reach(FENCED_FIRST)
        commit(self, [replace(write, fences=[]) for write in writes])

    _patch(RedisStore, "commit", in_two)


@mutation
def folds_again() -> None:
    """Whatever is read is folded, also what the fence says is in the state."""
    _patch(Ownership, "foldable", lambda _self, _topic, _feed, bucket: bucket >= 0)


@mutation
def offsets_outside_the_transaction() -> None:
    """Offsets are committed by themselves, after the transaction."""

    def commit_apart(self: Worker, offsets: dict[tuple[str, int], int]) -> None:
        self._sink.commit({}, self._source.group_metadata)  # type: ignore[attr-defined]
        failpoints.reach("committed")
        self._source.commit(offsets)

    _patch(Worker, "_commit_transaction", commit_apart)
