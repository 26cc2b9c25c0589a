"""CPU time of another process, by thread: from /proc, so on Linux only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """Seconds of CPU, user and system, since a process began.

    Args:
        total: all threads, those that have ended too (exact to 10 ms).
        client: the threads of librdkafka among them that are alive.
    """

    total: float
    client: float

    def since(self, before: Cpu) -> Cpu:
        """What was spent between two readings."""
        return Cpu(self.total - before.total, self.client - before.client)


def cpu_of(pid: int) -> Cpu:
    """What a process has spent so far.

    Raises:
        FileNotFoundError: there is no such process, or no /proc.
    """
    process = Path("/proc") / str(pid)
    # What comes after the name, which may hold blanks: field 14 is user time, 15 system time.
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    client = sum(_seconds(thread) for thread in (process / "task").iterdir())
    return Cpu((int(fields[11]) + int(fields[12])) / _TICKS, client)


def _seconds(thread: Path) -> float:
    try:
        if not (thread / "comm").read_text().startswith("rdk:"):
            return 0.0
        return int((thread / "schedstat").read_text().split()[0]) / 1e9
    except FileNotFoundError:  # it has ended meanwhile
        return 0.0
