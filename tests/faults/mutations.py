"""Protocols that are broken on purpose: the suite must find each of them. They live here, not in the engine."""

from __future__ import annotations

from collections.abc import Callable

from features.store import redis as redis_store
from stream.commit import Commit
from stream.ownership import Ownership, Partition

_MUTATIONS: dict[str, Callable[[], None]] = {}


def mutation(change: Callable[[], None]) -> Callable[[], None]:
    """Registers one under the name of its function."""
    _MUTATIONS[change.__name__.replace("_", "-")] = change
    return change


def names() -> list[str]:
    """All there are."""
    return sorted(_MUTATIONS)


def apply(name: str) -> None:
    """Breaks this process's engine."""
    _MUTATIONS[name]()


@mutation
def no_fence_check() -> None:
    """The store takes every write, whoever owns the partition and wherever its fence is."""
    script = redis_store._COMMIT
    script.source = script.source.replace("if refused then", "if false then")
    redis_store._COMMIT = type(script)("commit.lua")
    raise NotImplementedError


@mutation
def commit_before_write() -> None:
    """Offsets are committed before the store has the state."""
    raise NotImplementedError


_ = (Commit, Ownership, Partition)
