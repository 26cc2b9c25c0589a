"""The store on Redis 7+ or Valkey: one script call a bucket checks the fence and writes the whole micro-batch.

A micro-batch costs one round trip for cold entities and one for the write. The script is atomic and sees the fence
and the records in one place, so no other client can come between check and write (docs/decisions/0001).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, TypeVar

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.store.base import (
    Fence,
    FenceConflict,
    FenceMove,
    Store,
    StoreUnavailable,
    Write,
    bucket_of,
)

T = TypeVar("T")

_CHUNK = 5_000

#: Answers that may be other ones later. redis-py has exceptions of their own for some, without the code in the text.
_UNAVAILABLE = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
)
_UNAVAILABLE_CODES = ("MISCONF", "NOREPLICAS", "BUSY")


def without_password(url: str) -> str:
    """A store address that can be shown.

    >>> without_password("redis://shop:secret@redis:6379/0"), without_password("redis://redis:6379/0")
    ('redis://***@redis:6379/0', 'redis://redis:6379/0')
    """
    return re.sub(r"//[^@/]*@", "//***@", url)


class RedisStore(Store):
    """Packed records in Redis.

    Args:
        url: `redis://host:port/db`, `rediss://…` or `unix://…`.
        namespace: prefix of every key, so that several shops can share a server.
        buckets: hash-tag buckets; 1 for a single server.
        timeout_s: how long to wait for an answer.
    """

    def __init__(self, url: str, namespace: str = "tidecast", buckets: int = 1, timeout_s: float = 5.0) -> None:
        self.url, self.namespace, self.buckets = without_password(url), namespace, buckets
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 1)
        )
        source = (files("features.store") / "commit.lua").read_text()
        self._script = self._redis.register_script(source)

    def ping(self) -> str:
        """The server's name and version.

        Raises:
            StoreUnavailable: no answer.
        """
        info = self._ask(lambda: self._redis.info("server"))
        if "valkey_version" in info:
            return f"Valkey {info['valkey_version']}"
        return f"Redis {info['redis_version']}"

    def key(self, kind: str, name: str, entity: str) -> str:
        """The Redis key of a record."""
        return f"{self.namespace}:{{b{bucket_of(entity, self.buckets)}}}:{kind}:{name}:{entity}"

    def _fence_key(self, topic: str, partition: int, bucket: int) -> str:
        return f"{self.namespace}:{{b{bucket}}}:fence:{topic}:{partition}"

    def _names_key(self) -> str:
        return f"{self.namespace}:names"

    def _ask(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except _UNAVAILABLE as error:
            raise StoreUnavailable(f"{self.url}: {error}") from error
        except redis.exceptions.ResponseError as error:
            if str(error).startswith(_UNAVAILABLE_CODES):
                raise StoreUnavailable(f"{self.url}: {error}") from error
            raise

    def load(self, kind: str, name: str, entities: Sequence[str]) -> list[bytes | None]:
        """MGET, in chunks of some thousand keys."""
        out: list[bytes | None] = []
        for at in range(0, len(entities), _CHUNK):
            keys = [self.key(kind, name, e) for e in entities[at : at + _CHUNK]]
            out += self._ask(lambda keys=keys: self._redis.mget(keys))  # type: ignore[misc]
        return out

    def claim(self, topic: str, partition: int) -> list[Fence]:
        """HINCRBY on the epoch of every bucket, then read."""
        for bucket in range(self.buckets):
            key = self._fence_key(topic, partition, bucket)
            self._ask(lambda key=key: self._redis.hincrby(key, "epoch", 1))  # type: ignore[misc]
        return self.fences(topic, partition)

    def fences(self, topic: str, partition: int) -> list[Fence]:
        """HMGET a bucket."""
        out = []
        for bucket in range(self.buckets):
            key = self._fence_key(topic, partition, bucket)
            values = self._ask(lambda key=key: self._redis.hmget(key, "next", "epoch", "sources"))  # type: ignore[misc]
            at, epoch, sources = values
            positions = orjson.loads(sources or b"{}")
            out.append(
                Fence(
                    None if at is None else int(at),
                    int(epoch or 0),
                    {int(p): int(position) for p, position in positions.items()},
                )
            )
        return out

    def commit(self, writes: Sequence[Write]) -> None:
        """One script call a bucket."""
        for write in writes:
            keys = [self._fence_key(m.topic, m.partition, write.bucket) for m in write.fences]
            args: list[bytes | str | int] = [len(keys)]
            for move in write.fences:
                args += _fence_args(move)
            for record in write.records:
                keys.append(self.key(record.kind, record.name, record.entity))
                args += (record.value, record.ttl_s)
            answer = self._ask(lambda keys=keys, args=args: self._script(keys=keys, args=args))  # type: ignore[misc]
            if isinstance(answer, list):
                raise FenceConflict(_conflict(write, answer))

    def remember_names(self, names: dict[int, str]) -> None:
        """HSET in one hash."""
        if names:
            self._ask(lambda: self._redis.hset(self._names_key(), mapping=names))

    def names(self, ids: Sequence[int]) -> dict[int, str]:
        """HMGET."""
        if not ids:
            return {}
        values = self._ask(lambda: self._redis.hmget(self._names_key(), list(ids)))
        return {i: v.decode() for i, v in zip(ids, values, strict=True) if v is not None}

    def scan(self, kind: str, name: str) -> dict[str, bytes]:
        """SCAN over the view's keys."""
        return self._ask(lambda: self._scan(kind, name))

    def _scan(self, kind: str, name: str) -> dict[str, bytes]:
        out: dict[str, bytes] = {}
        middle = f"}}:{kind}:{name}:".encode()
        pattern = f"{_literal(self.namespace)}:{{b*}}:{kind}:{name}:*"
        begin = len(f"{self.namespace}:{{b".encode())
        for key in self._redis.scan_iter(match=pattern, count=1000):
            _, entity = key[begin:].split(b"}", 1)
            value = self._redis.get(key)
            # An entity may look like the end of a key of another view.
            if value is not None and (b"}" + entity).startswith(middle):
                out[entity[len(middle) - 1 :].decode()] = value
        return out

    def close(self) -> None:
        """Closes the connections."""
        self._redis.close()


def _literal(text: str) -> str:
    """A text as a glob pattern that matches only itself."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


def _fence_args(move: FenceMove) -> tuple[int, str, int, bytes]:
    expected = "" if move.expected is None else str(move.expected)
    sources = orjson.dumps(move.sources, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS)
    return move.epoch, expected, move.next_offset, sources


def _conflict(write: Write, answer: list[Any]) -> str:
    move = write.fences[int(answer[0]) - 1]
    epoch, found = answer[1].decode(), answer[2].decode()
    return (
        f"{move.topic}[{move.partition}] bucket {write.bucket}: the fence is at {found or 'no offset'} of epoch "
        f"{epoch or 0}, expected {move.expected} of epoch {move.epoch}"
    )
