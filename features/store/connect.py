"""The connection to Redis or Valkey: one server, a cluster, or whatever server the sentinels call the primary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis import sentinel
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import parse_url
from redis.retry import Retry

from features.store.address import Address, parse, without_password
from features.store.cluster import Cluster
from features.store.link import Command, Link, Script


class OneServer(Link):
    """One server: always the same, or the one that the sentinels name."""

    def __init__(self, url: str, scripts: Sequence[Script], client: Any, more: Sequence[Any] = ()) -> None:
        super().__init__(url, scripts)
        self._client, self._more = client, more

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        answers: list[Any] = pipeline.execute(raise_on_error=False)
        if any(isinstance(a, redis.exceptions.ReadOnlyError) for a in answers):
            # A name or a balancer in front may lead to the new primary, but only a new connection.
            self._client.connection_pool.disconnect()
        return answers

    def primaries(self) -> list[Any]:
        """The one."""
        return [self._client]

    def close(self) -> None:
        """Closes the connections."""
        for client in (self._client, *self._more):
            client.close()


def connect(url: str, timeout_s: float, scripts: Sequence[Script]) -> Link:
    """The link for an address; no server is asked yet.

    Raises:
        ValueError: the address cannot be read.
    """
    address, shown = parse(url), without_password(url)
    times: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    if address.kind == "cluster":
        return Cluster(shown, scripts, lambda: _cluster(address, times))
    # One more try at once: a connection that a server or a balancer has closed while it was idle is no failure.
    times["retry"] = Retry(NoBackoff(), 1)
    if address.kind == "single":
        return OneServer(shown, scripts, redis.Redis.from_url(address.options, **times))
    return _sentinels(address, shown, scripts, times)


def _cluster(address: Address, times: dict[str, Any]) -> Any:
    nodes = [ClusterNode(host, port) for host, port in address.nodes]  # type: ignore[no-untyped-call]
    return RedisCluster(startup_nodes=nodes, **_options(address), **times)


def _sentinels(address: Address, shown: str, scripts: Sequence[Script], times: dict[str, Any]) -> Link:
    options = _options(address)
    own = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    own |= {"ssl": options.get("ssl", False)} | times
    watchers = sentinel.Sentinel(address.nodes, sentinel_kwargs=own)  # type: ignore[no-untyped-call]
    client = watchers.master_for(address.service, **options, **times)  # type: ignore[no-untyped-call]
    return OneServer(shown, scripts, client, watchers.sentinels)


def _options(address: Address) -> dict[str, Any]:
    """What the address says beside the nodes, as redis-py's keyword arguments."""
    options: dict[str, Any] = parse_url(address.options)  # type: ignore[no-untyped-call]
    encrypted = options.pop("connection_class", None) is not None
    for part in ("host", "port"):
        options.pop(part, None)
    return options | ({"ssl": True} if encrypted else {})
