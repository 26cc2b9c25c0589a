"""The broker and the store of a session, what is said of them at its beginning and end: see `brokers`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.brokers import Broker, Brokers

_BROKERS = pytest.StashKey[Brokers]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_BROKERS] = Brokers(os.environ)


def pytest_report_header(config: pytest.Config) -> str:
    return config.stash[_BROKERS].header()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash[_BROKERS].summary()
    if lines:
        terminalreporter.section("brokers")
    for line in lines:
        terminalreporter.write_line(line, yellow=line.startswith("NOT"))


@pytest.fixture(scope="session")
def brokers(pytestconfig: pytest.Config) -> Brokers:
    """For tests that start brokers of their own."""
    return pytestconfig.stash[_BROKERS]


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> Iterator[Broker]:
    """The session's broker; `kafka.require(…)` what only Apache Kafka has, `kafka.clean()` before you make topics."""
    with pytestconfig.stash[_BROKERS].single() as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_cluster(pytestconfig: pytest.Config) -> Iterator[Broker]:
    """Three brokers that a test may kill (`kafka_cluster.processes`), and heals before it ends."""
    with pytestconfig.stash[_BROKERS].cluster() as broker:
        yield broker


@pytest.fixture(scope="session")
def redis_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """The session's store: use a namespace of your own."""
    with pytestconfig.stash[_BROKERS].redis() as url:
        yield url
