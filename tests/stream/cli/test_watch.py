"""A worker that hangs ends itself, and says where it hung; one that only seemed to goes on."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import time
from stream.cli.run import _watch

class Worker:
    answers = {answers}
    def hung(self):
        return self.answers.pop(0) if self.answers else exit_well()

def exit_well():
    import os
    os._exit(7)

_watch(Worker(), every_s=0.01)
"""


def run(answers: list[bool]) -> subprocess.CompletedProcess[str]:
    program = _PROGRAM.format(answers=answers)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_a_worker_that_hangs_ends_and_says_where() -> None:
    done = run([False, True, True])
    assert done.returncode == 1
    assert "the worker hangs" in done.stderr
    assert "in _watch" in done.stderr


def test_a_worker_that_was_away_for_a_while_goes_on() -> None:
    assert run([True, False, True, False]).returncode == 7
