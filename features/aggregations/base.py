"""What every aggregation is: a layout, an update and a read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

State = Mapping[str, NDArray[Any]]
Columns = Mapping[str, NDArray[Any]]
Slots = NDArray[np.int64]
Times = NDArray[np.int64]

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compiles a loop with Numba and keeps the machine code beside the source, so that later starts are fast."""
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True)(function))


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a packed record: a NumPy dtype string, and a length for arrays (1 is a scalar)."""

    name: str
    dtype: str
    length: int = 1


def kinds_mask(kinds: Iterable[int]) -> int:
    """A bit a kind, for a cheap test inside compiled loops.

    >>> kinds_mask([0, 2])
    5
    """
    return sum(1 << int(kind) for kind in set(kinds))


@dataclass(frozen=True)
class Aggregation(ABC):
    """A named piece of a view's state.

    Args:
        name: prefix of its fields and of the columns it reads out.
        doc: one sentence for people.
        where: the row kinds it takes in.
    """

    name: str
    doc: str
    where: tuple[int, ...]

    #: True where the state does not depend on the order in which rows arrive.
    order_free = False

    @abstractmethod
    def fields(self) -> list[Field]:
        """The state's layout; field names carry no prefix."""

    @abstractmethod
    def update(self, state: State, slots: Slots, columns: Columns) -> None:
        """Applies rows one after another. `slots[i]` is the record of row i."""

    @abstractmethod
    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """Column values of the records at `slots` as of event times `as_of_ms`, float64 of shape (n,)."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """The columns that `read` gives, each with a sentence and its unit."""

    @property
    def mask(self) -> int:
        """The kinds it takes in, as bits."""
        return kinds_mask(self.where)


def age_days(event_time_ms: NDArray[Any], as_of_ms: Times) -> NDArray[np.float64]:
    """Days from an event to `as_of_ms`, NaN where there was no event (time 0)."""
    age = (as_of_ms - event_time_ms) / DAY_MS
    return np.where(event_time_ms > 0, np.maximum(age, 0.0), np.nan)
