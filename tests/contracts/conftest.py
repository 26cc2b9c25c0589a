"""One embedded Valkey server for all contract tests; a fresh namespace each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stream.embedded import Embedded


@pytest.fixture(scope="session")
def store_url() -> Iterator[str]:
    with Embedded(broker=False) as services:
        yield services.store_url
