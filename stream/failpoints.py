"""Fail points: steps of the commit protocol at which the fault suite ends, stops or delays a worker.

They exist only when a test asks for them: `TIDECAST_FAIL_POINT` is read once, when this module is imported. Without it
`reach` walks through an empty tuple, ten times a micro-batch: nothing an event. It names a point, the how-many-th time
it is reached, and what happens then, such as `written:3:kill`; several are separated by commas.

    kill, kill=0.05     SIGKILL to itself, at once or after so many seconds: nothing is tidied up
    stop, stop=0.05     SIGSTOP to itself: a worker that is away until someone sends SIGCONT
    sleep=0.5           a delay, so that what others do comes first
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

VARIABLE = "TIDECAST_FAIL_POINT"

#: Every point with the step of `stream.commit` it belongs to, in the order in which a worker comes by.
POINTS = {
    "claimed": "on assignment, after the fences are claimed",
    "decoded": "1: decoded, duplicates dropped",
    "folded": "2: folded",
    "scored": "3: scored; nothing has left the worker",
    "named": "4: names are in the store, states and fences are not",
    "written": "4: states and fences are in the store",
    "half-produced": "5: demand is on its way, scores are not",
    "produced": "5: everything is on its way",
    "committing": "6: before the offsets are sent",
    "offsets-sent": "6: the offsets are in the transaction, its end is not asked for",
    "committed": "6: the transaction is committed",
    "revoking": "in the revoke callback, before anything is given up",
    "recovering": "after a fence conflict, before K and R are read again",
}

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


@dataclass
class _Planned:
    """What is to happen at a point; `left` counts down to it."""

    name: str
    left: int
    action: str


def _read(text: str) -> tuple[_Planned, ...]:
    """The plan in a value of `TIDECAST_FAIL_POINT`.

    >>> _read("written:3:kill")
    (_Planned(name='written', left=3, action='kill'),)

    Raises:
        ValueError: it names no point.
    """
    planned = []
    for part in filter(None, text.split(",")):
        name, n, action = part.split(":")
        if name not in POINTS:
            raise ValueError(f"{VARIABLE}: {name!r} is no fail point; there are {', '.join(POINTS)}")
        planned.append(_Planned(name, int(n), action))
    return tuple(planned)


_planned = _read(os.environ.get(VARIABLE, ""))


def read_again() -> None:
    """Reads the variable once more: for a process that was forked with this module in it."""
    global _planned
    _planned = _read(os.environ.get(VARIABLE, ""))


def reach(name: str) -> None:
    """A worker comes by a point."""
    for planned in _planned:
        if planned.name == name:
            planned.left -= 1
            if planned.left == 0:
                _act(planned.action)


def _act(action: str) -> None:
    kind, _, seconds = action.partition("=")
    if seconds:
        time.sleep(float(seconds))
    if kind in _SIGNALS:
        os.kill(os.getpid(), _SIGNALS[kind])
