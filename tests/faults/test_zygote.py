"""Forked workers are processes like any other: with settings, logs, exit codes and signals of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.embedded import wait_for
from tests.faults.messages import Exec, Fork
from tests.faults.processes import Line, Process, Zygote

WRONG_SETTING = {"TIDECAST_WORKER__BATCH_MAX_RECORDS": "none"}
SLEEPS = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("zygote")) as zygote:
        yield zygote


@pytest.fixture
def line(zygote: Zygote) -> Iterator[Line]:
    with contextlib.closing(zygote.line()) as line:
        yield line


def wait_until(line: Line, condition: Callable[[], bool], what: str) -> None:
    def is_so() -> bool:
        line.hear(0.01)
        return condition()

    wait_for(is_so, 20, what)


def exists(process: Process) -> bool:
    """Also a process that has ended and was not waited for is there no more."""
    try:
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_worker_has_its_own_environment_log_and_exit_code(line: Line, tmp_path: Path) -> None:
    worker = line.start(Fork(str(tmp_path / "worker.log"), {**os.environ, **WRONG_SETTING}))
    assert worker.pid != os.getpid()
    wait_until(line, lambda: not worker.runs, "the end of a worker")
    assert worker.code == 2, worker.said()
    assert "worker.batch_max_records" in worker.said()


def test_a_process_is_stopped_continued_and_killed_by_its_pid(line: Line, tmp_path: Path) -> None:
    process = line.start(Exec(str(tmp_path / "sleep.log"), SLEEPS))
    wait_for(lambda: "up" in process.said(), 20, "a process")
    process.send(signal.SIGSTOP)
    wait_until(line, lambda: process.stopped, "a process that is held")
    process.send(signal.SIGCONT)
    wait_until(line, lambda: not process.stopped, "a process that goes on")
    assert process.runs
    process.send(signal.SIGKILL)
    wait_until(line, lambda: not process.runs, "the end of a process")
    assert process.code == -signal.SIGKILL


def test_what_a_line_has_started_ends_with_it(zygote: Zygote, tmp_path: Path) -> None:
    with contextlib.closing(zygote.line()) as line:
        process = line.start(Exec(str(tmp_path / "sleep.log"), SLEEPS))
        os.kill(process.pid, 0)
    wait_for(lambda: not exists(process), 20, "the end of the process")


def test_what_a_zygote_has_started_ends_with_it(tmp_path: Path) -> None:
    with Zygote(tmp_path) as zygote:
        line = zygote.line()
        process = line.start(Exec(str(tmp_path / "sleep.log"), SLEEPS))
    wait_for(lambda: not exists(process), 20, "the end of the process")
    line.close()
