"""Fail points: each is in the engine once, and does nothing unless it is asked for."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stream import failpoints

ENGINE = Path(failpoints.__file__).parent
PROGRAM = "from stream import failpoints\nfor n in range(3):\n  failpoints.reach('written')\n  print(n, flush=True)"


def run(plan: str | None) -> subprocess.CompletedProcess[str]:
    environment = {} if plan is None else {failpoints.VARIABLE: plan}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(
        command, env=environment, cwd=ENGINE.parent, capture_output=True, text=True, timeout=60, check=False
    )


def test_every_point_is_in_the_engine_once() -> None:
    sources = [path.read_text() for path in ENGINE.rglob("*.py")]
    found = [name for source in sources for name in re.findall(r'failpoints\.reach\("([^"]+)"\)', source)]
    assert sorted(found) == sorted(failpoints.POINTS)


def test_nothing_happens_without_the_variable() -> None:
    done = run(None)
    assert (done.returncode, done.stdout) == (0, "0\n1\n2\n")


def test_a_process_is_killed_when_it_comes_by_so_often() -> None:
    done = run("written:2:kill")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n")


@pytest.mark.parametrize("plan", ["folded:1:kill", "written:4:kill", "written:2:sleep=0.01"])
def test_other_points_other_counts_and_delays_let_it_go_on(plan: str) -> None:
    assert run(plan).stdout == "0\n1\n2\n"


def test_a_name_that_is_no_point_is_refused() -> None:
    done = run("wirtten:1:kill")
    assert done.returncode == 1
    assert "'wirtten' is no fail point" in done.stderr
