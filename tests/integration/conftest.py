"""An event log of real orders, made once for all integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.demo.run import DATA
from stream.imports import build_event_log

ORDERS = 200


@pytest.fixture(scope="session")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 200 real orders, with simulated clicks, stock and offers."""
    directory = tmp_path_factory.mktemp("events") / "online-retail"
    build_event_log("online-retail", DATA, directory, orders=ORDERS)
    return directory
