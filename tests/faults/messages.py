"""What the suite and its zygote tell each other."""

from __future__ import annotations

from typing import Literal

import msgspec


class Fork(msgspec.Struct, frozen=True, tag=True):
    """Become a worker.

    Args:
        log: file that gets what it says.
        environment: the whole of it.
        mutation: a name from `tests.faults.mutations`: a protocol that is broken on purpose; "" is none.
        clock_shift_s: what SIGUSR2 adds to the worker's wall clock.
    """

    log: str
    environment: dict[str, str]
    mutation: str = ""
    clock_shift_s: float = 0.0


class Exec(msgspec.Struct, frozen=True, tag=True):
    """Become another program, such as a store."""

    log: str
    command: list[str]


class Signal(msgspec.Struct, frozen=True, tag=True):
    """Send a signal to a process, unless it has ended: its pid may be another's by then. There is no answer."""

    pid: int
    number: int


class Started(msgspec.Struct, frozen=True, tag=True):
    """The answer to a request."""

    pid: int


class Changed(msgspec.Struct, frozen=True, tag=True):
    """What became of a process; `code` is its exit code, or minus the signal that ended it."""

    pid: int
    how: Literal["stopped", "continued", "ended"]
    code: int = 0


Request = Fork | Exec | Signal
Notice = Started | Changed
