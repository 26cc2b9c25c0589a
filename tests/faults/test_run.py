"""Void runs: only what a broker says of a run's own workers makes one, and only where something does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checks import Problem
from tests.faults.plan import undisturbed
from tests.faults.run import Result, _broken_promises

SAID = "Couldn't find leader endpoint for partitions HashSet(demand-0) while trying to send transaction markers for"


@dataclass(frozen=True)
class Cluster:
    numbers: tuple[int, ...] = (1, 2)


@pytest.mark.parametrize(
    ("line", "void"),
    [
        (f"{SAID} run--1-9dff55-worker-2, these", True),
        (f"{SAID} run--11-9dff55-worker-2, these", False),
        (f"{SAID} run-7-9dff55-worker-2, these", False),
        ("Initialized transactionalId run--1-9dff55-worker-2", False),
    ],
)
def test_a_run_is_void_for_its_own_transactions_alone(tmp_path: Path, line: str, void: bool) -> None:
    (tmp_path / "broker-2.log").write_text(f"one\n{line}\nthree\n")
    cluster: Any = Cluster()
    problems = [Problem("lost", "something"), *_broken_promises(cluster, undisturbed(0), tmp_path)]
    assert Result(undisturbed(0), tmp_path, problems).void is void


def test_a_run_that_merely_failed_is_not_void(tmp_path: Path) -> None:
    assert not Result(undisturbed(0), tmp_path, [Problem("duplicated", "something")]).void
