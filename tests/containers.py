"""Kafka and Redis in Docker, by way of testcontainers: the images and settings of deploy/compose.yaml."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from stream.admin import connect
from stream.embedded import free_port, wait_for
from stream.errors import UsageError
from stream.settings import load

_SOCKET = Path("/var/run/docker.sock")
_START_S = 60.0
_SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "deploy" / "compose.yaml").read_text()
)["services"]


def image(service: str) -> str:
    """Its name in the Compose file."""
    return str(_SERVICES[service]["image"])


@cache
def docker_answers() -> bool:
    """Whether there is an engine; a client alone is not enough."""
    if "DOCKER_HOST" not in os.environ and not _SOCKET.exists():
        return False
    docker = importlib.import_module("docker")
    try:
        with contextlib.closing(docker.from_env(timeout=3)) as client:
            return bool(client.ping())
    except docker.errors.DockerException:
        return False


def kafka_environment(port: int) -> dict[str, str]:
    """The Compose file's settings of the broker, for one that programs on this machine reach by `port`."""
    return {name: str(value) for name, value in _SERVICES["kafka"]["environment"].items()} | {
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:29093",
        "KAFKA_LISTENERS": f"CONTROLLER://:29093,HOST://:{port}",
        "KAFKA_ADVERTISED_LISTENERS": f"HOST://localhost:{port}",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "HOST",
    }


@contextlib.contextmanager
def _running(service: str, port: int, host_port: int, environment: dict[str, str]) -> Iterator[None]:
    """A container, as long as the `with` statement lasts."""
    from testcontainers.core.container import DockerContainer

    errors = importlib.import_module("docker").errors
    container = DockerContainer(image(service)).with_envs(**environment).with_bind_ports(port, host_port)
    try:
        container.start()
    except errors.DockerException as error:
        raise UsageError(f"{image(service)} does not start in Docker: {error}") from error
    try:
        yield
    finally:
        container.stop()


@contextlib.contextmanager
def kafka() -> Iterator[str]:
    """The address of a broker."""
    port = free_port()
    with _running("kafka", port, port, kafka_environment(port)):
        settings = load([f"kafka.bootstrap_servers=localhost:{port}"], environ={}).settings.kafka
        _wait(lambda: bool(connect(settings, 2.0)), "kafka")
        yield settings.bootstrap_servers


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """The address of a store."""
    port = free_port()
    with _running("valkey", 6379, port, {}):
        _wait(lambda: _pongs(port), "valkey")
        yield f"redis://localhost:{port}/0"


def _pongs(port: int) -> bool:
    """Docker's proxy listens before the server does, so a connection alone says nothing."""
    with socket.create_connection(("localhost", port), 1) as s:
        s.sendall(b"PING\r\n")
        return s.recv(5) == b"+PONG"


def _wait(condition: Any, service: str) -> None:
    def answers() -> bool:
        with contextlib.suppress(UsageError, OSError):
            return bool(condition())
        return False

    try:
        wait_for(answers, _START_S, f"the start of {image(service)}")
    except TimeoutError as error:
        raise UsageError(str(error)) from error
