"""Services that the tests of the edges share: one broker and one store for the session, with all topics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stream.admin import create_topics
from stream.embedded import Embedded
from stream.settings import KafkaSettings, load


@pytest.fixture(scope="session")
def services() -> Iterator[Embedded]:
    """A broker with the topics, two partitions each, and a store."""
    with Embedded() as services:
        create_topics(load(environ=services.environment()).settings.kafka, 2)
        yield services


@pytest.fixture
def kafka(services: Embedded, request: pytest.FixtureRequest) -> KafkaSettings:
    """Settings with a group of the test's own."""
    settings = load([f"kafka.group_id={request.node.name}"], environ=services.environment()).settings
    return settings.kafka.model_copy(update={"session_timeout_ms": 2_000})
