"""Several models at a time, a process each: every training keeps to one core."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from export.errors import UsageError
from export.terminal import fail
from models.manifest import ManifestError

#: Bars of several processes would write over each other: each tells lines instead.
_LINES = {"TTY_COMPATIBLE": "0"}
_USAGE = 2


def together(jobs: Mapping[str, Callable[[], None]], cores: int | None = None) -> None:
    """Runs jobs, as many at a time as there are cores; one after another, in this process, where there is one.

    Args:
        jobs: by name; what is called must be importable, and may be a `functools.partial` of it.
        cores: to use; those that this process may run on where None.

    Raises:
        UsageError: one of them failed, and has said why. The others are stopped.
    """
    most = min(len(jobs), cores or _cores())
    if most < 2:
        for job in jobs.values():
            job()
        return
    waiting, running = list(jobs), dict[str, SpawnProcess]()
    try:
        while waiting or running:
            while waiting and len(running) < most:
                name = waiting.pop(0)
                running[name] = _started(name, jobs[name])
            wait([process.sentinel for process in running.values()])
            for name in [name for name, process in running.items() if not process.is_alive()]:
                if running.pop(name).exitcode != 0:
                    raise UsageError(f"{name} has failed, and says above why; what it has done so far is kept")
    finally:
        for process in running.values():
            process.terminate()
            process.join()


def _cores() -> int:
    """Those that this process may run on, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _started(name: str, job: Callable[[], None]) -> SpawnProcess:
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(job,), name=name, daemon=True)
    with _environment(_LINES):
        process.start()
    return process


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    """Variables that processes started meanwhile have as well."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _run(job: Callable[[], None]) -> None:
    try:
        job()
    except (UsageError, ManifestError) as error:
        fail(error)
        sys.exit(_USAGE)
    except KeyboardInterrupt:
        sys.exit(130)
