"""The store on Redis 7+ or Valkey: one script call a bucket checks the fence and writes the whole micro-batch.

A micro-batch costs one round trip for cold entities and one for the write. The script is atomic and sees the fence
and the records in one place, so no other client can come between check and write (docs/decisions/0001).

Replication is asynchronous: a failover may lose the last writes that were acknowledged, and an erasure like any other.
A script reaches a replica whole, so a bucket's fence, ring of seen events and records go back together, never one
without the other: the next commit is a fence conflict, and the events since then are folded again. On a cluster each
bucket goes back on its own.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from features.store.address import without_password
from features.store.base import (
    Fence,
    FenceConflict,
    FenceMove,
    Guard,
    Span,
    Store,
    StoreUnavailable,
    Tick,
    Usage,
    Wanted,
    Write,
    bucket_of,
)
from features.store.connect import connect
from features.store.keys import Keys
from features.store.link import Command, Script
from features.store.refusals import check, entity_erased, fence_moved, not_as_believed
from features.store.survey import scan, usage

__all__ = ["RedisStore", "without_password"]

#: Keys in one MGET: a longer one would keep the server from others for milliseconds.
_CHUNK = 5_000

_SCRIPTS = [Script(f"{name}.lua") for name in ("load", "commit", "fence", "release", "erase", "tick")]
_LOAD, _COMMIT, _FENCE, _RELEASE, _ERASE, _TICK = _SCRIPTS


class RedisStore(Store):
    """Packed records in Redis.

    Args:
        url: `redis://host:port/db`, `rediss://…`, `unix://…`, `redis+cluster://host:port,host:port` or
            `redis+sentinel://host:port,host:port/service/db`.
        namespace: prefix of every key, so that several shops can share a server.
        buckets: hash-tag buckets; 1 for a single server.
        timeout_s: how long to wait for an answer.

    Raises:
        ValueError: the url cannot be read.
    """

    def __init__(self, url: str, namespace: str = "tidecast", buckets: int = 1, timeout_s: float = 5.0) -> None:
        self.url, self.namespace, self.buckets = without_password(url), namespace, buckets
        self._link = connect(url, timeout_s, _SCRIPTS)
        self._keys = Keys(namespace, buckets)
        self._tokens = _Tokens(2 * buckets)

    def ping(self) -> str:
        """The server's name and version.

        Raises:
            StoreUnavailable: no answer.
        """
        with self._link.answered():
            servers = self._link.primaries()
            info = servers[0].info("server")
        name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
        return f"{name}, a cluster of {len(servers)}" if self._link.sharded else name

    def check_buckets(self, settle: bool = False) -> None:
        """Compares our number of buckets with that of the namespace: with another, every key would be somewhere else.

        Args:
            settle: writes ours down where the namespace has none yet, as a worker does.

        Raises:
            ValueError: they differ.
            StoreUnavailable: no answer.
        """
        if settle:
            self._link.ask([("HSETNX", self._keys.meta, "buckets", self.buckets)])
        (held,) = self._link.ask([("HGET", self._keys.meta, "buckets")])
        if held is not None and int(held) != self.buckets:
            raise ValueError(
                f"the namespace was written with store.buckets = {int(held)}, not {self.buckets}; set it to that"
            )

    def key(self, kind: str, name: str, entity: str) -> str:
        """The Redis key of a record."""
        return self._keys.record(kind, name, entity)

    def load_all(self, wanted: Sequence[Wanted], guards: Sequence[Guard] = ()) -> list[list[bytes | None]]:
        """MGET over all keys, or a script that looks at fences first; on a cluster one a bucket, all at once."""
        every = [key for kind, name, entities in wanted for key in self._keys.records(kind, name, entities)]
        groups = self._by_bucket(wanted) if self._link.sharded else {None: range(len(every))}
        parts = [(b, g[at : at + _CHUNK]) for b, g in groups.items() for at in range(0, len(g), _CHUNK)]
        if guards and not parts:  # the fences alone
            parts = [(b, range(0)) for b in ({g.bucket for g in guards} if self._link.sharded else {None})]
        held = [[g for g in guards if bucket in (None, g.bucket)] for bucket, _ in parts]
        calls = [_load_call(self._keys, [every[n] for n in part], g) for (_, part), g in zip(parts, held, strict=True)]
        values: list[bytes | None] = [None] * len(every)
        for (_, part), behind, answer in zip(parts, held, self._link.ask(calls) if calls else [], strict=True):
            for n, value in zip(part, _loaded(answer, behind), strict=True):
                values[n] = value
        flat = iter(values)
        return [list(itertools.islice(flat, len(entities))) for _, _, entities in wanted]

    def _by_bucket(self, wanted: Sequence[Wanted]) -> dict[int | None, Sequence[int]]:
        groups: dict[int | None, list[int]] = {}
        entities = (entity for w in wanted for entity in w.entities)
        for n, entity in enumerate(entities):
            groups.setdefault(bucket_of(entity, self.buckets), []).append(n)
        return dict(groups)

    def claim(self, topic: str, partition: int, owner: str = "") -> list[Fence]:
        """One script call a bucket, all at once."""
        return self._fences(topic, partition, "1", owner)

    def release(self, topic: str, partition: int, epochs: Sequence[int]) -> None:
        """One script call a bucket, all at once."""
        fences = [self._keys.fence(topic, partition, bucket)[0] for bucket in range(self.buckets)]
        self._link.ask([_RELEASE.call([fence], [epoch]) for fence, epoch in zip(fences, epochs, strict=True)])

    def fences(self, topic: str, partition: int) -> list[Fence]:
        """One script call a bucket, all at once."""
        return self._fences(topic, partition, "0")

    def _fences(self, topic: str, partition: int, raised: str, owner: str = "") -> list[Fence]:
        calls = []
        for bucket in range(self.buckets):
            fence, seen = self._keys.fence(topic, partition, bucket)
            calls.append(_FENCE.call([fence, seen, self._keys.erasures(bucket)], [raised, owner]))
        return [_fence(answer) for answer in self._link.ask(calls)]

    def commit(self, writes: Sequence[Write]) -> None:
        """One script call a bucket, all at once. A write whose answer was lost may be committed again."""
        for write in writes:
            check(write)
        if not writes:
            return
        tokens = [self._tokens.of(write) for write in writes]
        calls = [self._commit_call(write, token) for write, token in zip(writes, tokens, strict=True)]
        try:
            answers = self._link.ask(calls)
        except StoreUnavailable:
            self._tokens.keep(writes, tokens)
            raise
        self._tokens.drop(writes)
        for write, answer in zip(writes, answers, strict=True):
            if isinstance(answer, list):
                raise _refusal(write, answer)

    def _commit_call(self, write: Write, token: str) -> Command:
        names = [self._keys.erasures(write.bucket)]
        args: list[bytes | str | int] = [len(write.fences), token]
        args.append("" if write.erasures is None else write.erasures)
        args.append(len(write.records))
        for move in write.fences:
            names += self._keys.fence(move.topic, move.partition, write.bucket)
            args += _fence_args(move)
        names += self._keys.of_bucket(write.bucket, write.records)
        args += [part for record in write.records for part in (record.value, record.ttl_ms)]
        indexes = {name: number for number, name in enumerate(dict.fromkeys(e.name for e in write.entries), 1)}
        names += [self._keys.index(name, write.bucket) for name in indexes]
        for name, entity, rank in write.entries:
            args += (indexes[name], "" if rank is None else rank, entity)
        return _COMMIT.call(names, args)

    def remember_names(self, names: dict[int, str]) -> None:
        """HSET in one hash."""
        if names:
            self._link.ask([("HSET", self._keys.names, *itertools.chain.from_iterable(names.items()))])

    def names(self, ids: Sequence[int]) -> dict[int, str]:
        """HMGET."""
        return {i: value.decode() for i, value in self._held(self._keys.names, ids).items()}

    def remember_layouts(self, layouts: Mapping[int, bytes]) -> None:
        """HSET in one hash."""
        if layouts:
            self._link.ask([("HSET", self._keys.layouts, *itertools.chain.from_iterable(layouts.items()))])

    def layouts(self, fingerprints: Sequence[int] | None = None) -> dict[int, bytes]:
        """HMGET, or HGETALL."""
        if fingerprints is None:
            (found,) = self._link.ask([("HGETALL", self._keys.layouts)])
            return {int(field): value for field, value in found.items()}
        return self._held(self._keys.layouts, fingerprints)

    def _held(self, key: str, fields: Sequence[int]) -> dict[int, bytes]:
        if not fields:
            return {}
        (values,) = self._link.ask([("HMGET", key, *fields)])
        return {field: value for field, value in zip(fields, values, strict=True) if value is not None}

    def pin_topics(self, ids: Mapping[str, str]) -> dict[str, str]:
        """HSETNX in the namespace's own hash."""
        fields = [f"topic:{name}" for name in ids]
        if fields:
            notes: list[Command] = [
                ("HSETNX", self._keys.meta, f, i) for f, i in zip(fields, ids.values(), strict=True)
            ]
            *_, held = self._link.ask([*notes, ("HMGET", self._keys.meta, *fields)])
            return {name: value.decode() for name, value in zip(ids, held, strict=True)}
        return {}

    def tick(self, clock: Mapping[str, Tick]) -> None:
        """One script call."""
        args: list[bytes | str | int] = []
        for at, tick in clock.items():
            args += (at, tick.event_time_ms, f"{tick.event_time_ms}:{tick.wall_ms}")
        if args:
            self._link.ask([_TICK.call([self._keys.clock], args)])

    def clock(self) -> dict[str, Tick]:
        """HGETALL."""
        (held,) = self._link.ask([("HGETALL", self._keys.clock)])
        return {at.decode(): Tick(*(int(part) for part in value.split(b":"))) for at, value in held.items()}

    def erase(self, entity: str, records: Sequence[tuple[str, str]], indexes: Sequence[str] = ()) -> int:
        """One script call."""
        bucket = bucket_of(entity, self.buckets)
        names = [self._keys.record(kind, name, entity) for kind, name in records]
        names += [self._keys.index(name, bucket) for name in indexes]
        (gone,) = self._link.ask([_ERASE.call([self._keys.erasures(bucket), *names], [len(indexes), entity])])
        return int(gone)

    def spans(self, wanted: Sequence[Span]) -> list[list[str]]:
        """ZRANGEBYSCORE of all pieces at once."""
        reads: list[Command] = [
            ("ZRANGEBYSCORE", self._keys.index(s.name, s.bucket), s.lowest, s.highest, "LIMIT", 0, max(s.most, 0))
            for s in wanted
        ]
        return [[entity.decode() for entity in found] for found in self._link.ask(reads)] if reads else []

    def ranks(self, indexes: Sequence[str], entity: str) -> list[int | None]:
        """ZSCORE of all indexes at once."""
        bucket = bucket_of(entity, self.buckets)
        reads: list[Command] = [("ZSCORE", self._keys.index(name, bucket), entity) for name in indexes]
        return [None if rank is None else int(float(rank)) for rank in self._link.ask(reads)] if reads else []

    def remaining_ms(self, kind: str, name: str, entities: Sequence[str]) -> list[int | None]:
        """PTTL of all keys at once."""
        if not entities:
            return []
        answers = self._link.ask([("PTTL", key) for key in self._keys.records(kind, name, entities)])
        return [None if answer < 0 else answer for answer in answers]

    def usage(self, kind: str, name: str, sample: int) -> Usage:
        """SCAN and MEMORY USAGE; while a server makes its table smaller, it may name a key twice."""
        return usage(self._link, self._keys, kind, name, sample)

    def scan(self, kind: str, name: str) -> dict[str, bytes]:
        """SCAN over the view's keys."""
        return scan(self._link, self._keys, kind, name)

    def close(self) -> None:
        """Closes the connections."""
        self._link.close()


class _Tokens:
    """Names each write, the same way for as long as its answer is not known.

    The script keeps the name in the fence. A caller that got no answer commits the same `Write` object again, and the
    script sees that it has been applied: it neither applies it twice nor takes the fence for another worker's.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._writer, self._count = os.urandom(6).hex(), itertools.count()
        # The write itself is kept too: an id is unique only as long as its object lives.
        self._unanswered: dict[int, tuple[Write, str]] = {}

    def of(self, write: Write) -> str:
        held = self._unanswered.get(id(write))
        return held[1] if held else f"{self._writer}.{next(self._count)}"

    def keep(self, writes: Sequence[Write], tokens: Sequence[str]) -> None:
        """Until they are answered; those that nobody commits again are forgotten in time."""
        self.drop(writes)
        for write, token in zip(writes, tokens, strict=True):
            self._unanswered[id(write)] = write, token
        for old in list(self._unanswered)[: -max(self._kept, len(writes))]:
            del self._unanswered[old]

    def drop(self, writes: Sequence[Write]) -> None:
        """They have been answered."""
        for write in writes:
            self._unanswered.pop(id(write), None)


def _load_call(keys: Keys, records: Sequence[str], guards: Sequence[Guard]) -> Command:
    if not guards:
        return ("MGET", *records)
    args: list[bytes | str | int] = [len(guards)]
    for guard in guards:
        args += (guard.epoch, "" if guard.next_offset is None else guard.next_offset)
    return _LOAD.call([*(keys.fence(g.topic, g.partition, g.bucket)[0] for g in guards), *records], args)


def _loaded(answer: Any, guards: Sequence[Guard]) -> list[bytes | None]:
    """The values in an answer to `_load_call`."""
    if not guards:
        return list(answer)
    if answer[0] == b"OK":
        return list(answer[1])
    _, which, epoch, found = answer
    raise not_as_believed(guards[int(which) - 1], int(epoch or 0), int(found) if found else None)


def _fence(answer: Sequence[bytes | None]) -> Fence:
    at, epoch, sources, clock, seen, erasures, owner = answer
    positions = {int(p): int(position) for p, position in orjson.loads(sources or b"{}").items()}
    following, name = None if at is None else int(at), (owner or b"").decode()
    return Fence(following, int(epoch or 0), positions, seen or b"", int(erasures or 0), name, clock or b"")


def _fence_args(move: FenceMove) -> list[bytes | str | int]:
    sources = orjson.dumps(move.sources, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS)
    expected = "" if move.expected is None else move.expected
    args: list[bytes | str | int] = [move.epoch, expected, move.next_offset, sources, move.clock]
    args += [int(move.seen_anew), len(move.seen)]
    for patch in move.seen:
        args += patch
    return args


def _refusal(write: Write, answer: list[Any]) -> FenceConflict:
    if answer[0] == b"erased":
        return entity_erased(write.bucket, int(answer[1]), write.erasures or 0)
    _, which, epoch, found = answer
    return fence_moved(write.fences[int(which) - 1], write.bucket, int(epoch or 0), int(found) if found else None)
