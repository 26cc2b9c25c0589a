"""The servers of the contract tests, one of each for all tests; a fresh namespace each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from stream.embedded import Embedded
from tests.contracts import servers
from tests.contracts.servers import Client, Deployment


@pytest.fixture(scope="session")
def valkey() -> Iterator[Deployment]:
    with Embedded(broker=False) as services:
        client: Client = redis.Redis.from_url(services.store_url)
        yield Deployment(services.store_url, [client])
        client.close()


@pytest.fixture(scope="session")
def store_url(valkey: Deployment) -> str:
    return valkey.url


@pytest.fixture(scope="session")
def debian_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    binary, directory = servers.redis_server(), _directory(tmp_path_factory)
    with servers.server(binary, directory) as (_, client):
        yield Deployment(f"redis://{servers.address(client)}/0", [client])


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with servers.cluster(_directory(tmp_path_factory)) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with servers.watched(_directory(tmp_path_factory)) as deployment:
        yield Deployment(deployment.url, deployment.clients[:1])


def _directory(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("servers")
