"""Does the released graph do what torch does, on real rows of every batch size, and stay sane on absurd ones?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from export.convert import reference
from export.tasks.base import Arrays, Task
from models.manifest import Parity
from models.session import Session

BATCHES = (1, 2, 16, 100, 256, 1024, 4096)

_HOSTILE_ROWS = 33
_ABSOLUTE = 1e-4
_RELATIVE = 1e-3
#: Of what is subtracted from the exp of a float32: ten of that one's last digits, of up to a million.
_ROUNDING = 1e-5


#: Real inputs of the graph: given the number of rows and a seed.
InputsOf = Callable[[int, int], Arrays]


class Verdict(msgspec.Struct, frozen=True):
    """What was compared, and everything that is wrong; empty where all is well."""

    parity: Parity
    batches: list[int]
    hostile: int
    problems: list[str]


def verify(task: Task, network: Any, session: Session, inputs_of: InputsOf) -> Verdict:
    """Compares the session with the network it was made from."""
    problems: list[str] = []
    rows, absolute, relative = 0, 0.0, 0.0
    for batch in BATCHES:
        inputs = inputs_of(batch, batch)
        outputs = session.run(inputs, rows=batch, shared=task.shared)
        expected = reference(network, task.task, inputs)
        aligned, subtracted = task.aligned(expected, outputs), task.subtracted(inputs)
        for name, value in expected.items():
            gap, share = gaps(value, aligned[name])
            absolute = max(absolute, float(gap.max(initial=0.0)))
            relative = max(relative, float(share.max(initial=0.0)))
            least = np.maximum(_ABSOLUTE, _ROUNDING * np.nan_to_num(np.abs(subtracted.get(name, np.zeros(1)))))
            if (wrong := (gap > least) & (share > _RELATIVE)).any():
                worst = np.unravel_index(np.argmax(np.where(wrong, share, -1.0)), share.shape)
                told = f"{gap[worst]:.2g} ({share[worst]:.2g} relative)"
                problems.append(f"batch {batch}: {name} differs in {wrong.sum():,} places, by {told} where it is worst")
        first = next(iter(expected))
        if others := swapped(expected[first], outputs[first]):
            problems.append(f"batch {batch}: {others} rows are ranked otherwise by {first}")
        problems += [f"batch {batch}: {text}" for text in task.problems(inputs, outputs)]
        rows += batch
    hostile = task.hostile(inputs_of(_HOSTILE_ROWS, 0))
    problems += hostile_problems(task, session, hostile)
    parity = Parity(rows=rows, max_abs_difference=absolute, max_rel_difference=relative)
    return Verdict(parity, list(BATCHES), len(hostile), problems)


def alone(task: Task, session: Session, inputs_of: InputsOf) -> Verdict:
    """What can be seen without a network to compare with: it runs at any batch size and stays in range."""
    problems: list[str] = []
    for batch in BATCHES:
        inputs = inputs_of(batch, batch)
        outputs = session.run(inputs, rows=batch, shared=task.shared)
        problems += [f"batch {batch}: {text}" for text in task.problems(inputs, outputs)]
    hostile = task.hostile(inputs_of(_HOSTILE_ROWS, 0))
    problems += hostile_problems(task, session, hostile)
    return Verdict(
        Parity(rows=0, max_abs_difference=0.0, max_rel_difference=0.0), list(BATCHES), len(hostile), problems
    )


def hostile_problems(task: Task, session: Session, hostile: Sequence[Arrays]) -> list[str]:
    """What a graph makes of inputs that nobody should send."""
    return [
        f"hostile inputs {number}: {text}"
        for number, inputs in enumerate(hostile)
        for text in task.problems(inputs, session.run(inputs, rows=_HOSTILE_ROWS, shared=task.shared))
    ]


def swapped(expected: NDArray[Any], given: NDArray[Any], tie: float = 1e-6) -> int:
    """How many rows come before one that torch ranks clearly (by more than a tie) above them, by the last column.

    >>> swapped(np.array([0.1, 0.2, 0.2]), np.array([0.1, 0.25, 0.2]))
    0
    >>> swapped(np.array([0.1, 0.2]), np.array([0.3, 0.2]))
    1
    """
    if expected.dtype.kind != "f":
        return 0
    wanted, found = (a.reshape(len(a), -1)[:, -1].astype(np.float64) for a in (expected, given))
    known = ~np.isnan(wanted)
    order = np.argsort(wanted[known], kind="stable")
    wanted, found = wanted[known][order], found[known][order]
    # Of each row, the highest that was given to a row clearly below it.
    below = np.searchsorted(wanted, wanted - tie, side="left")
    highest = np.concatenate([[-np.inf], np.maximum.accumulate(found)]) if len(found) else np.zeros(1)
    return int((highest[below] > found).sum())


def gaps(expected: NDArray[Any], given: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far outputs are from torch's, each by itself: absolute, and relative to max(|expected|, 1e-2).

    Equal NaN do not differ; where only one is NaN, or the shapes are not equal, the gap has no end.

    >>> gaps(np.array([200.0, 0.5]), np.array([200.1, 0.5]))[1].round(6).tolist()
    [0.0005, 0.0]
    """
    if expected.shape != given.shape:
        return np.full(1, np.inf), np.full(1, np.inf)
    wanted, found = expected.astype(np.float64), given.astype(np.float64)
    gap = np.where(np.isnan(wanted) != np.isnan(found), np.inf, np.nan_to_num(np.abs(wanted - found), posinf=np.inf))
    return gap, gap / np.maximum(np.nan_to_num(np.abs(wanted)), 1e-2)
