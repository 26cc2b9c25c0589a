"""What every aggregation is: a layout, an update and a read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

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


def canonical(parameter: object) -> str:
    """A parameter as text that is the same on every Python version; kinds are written as their numbers.

    >>> canonical((1, "value", None, 30.0))
    "1,'value',None,30.0"
    """
    if isinstance(parameter, tuple):
        return ",".join(canonical(p) for p in parameter)
    return str(int(parameter)) if isinstance(parameter, int) else repr(parameter)


@dataclass(frozen=True)
class Aggregation(ABC):
    """A named piece of a view's state.

    Args:
        name: prefix of its fields and of the columns it reads out.
        doc: one sentence for people.
        where: the row kinds it takes in.
        was: earlier names; records that were written under one of them keep this state.
    """

    name: str
    doc: str
    where: tuple[int, ...]
    was: tuple[str, ...] = field(default=(), kw_only=True)

    #: True where the state does not depend on the order in which rows arrive.
    order_free: ClassVar[bool] = False
    #: True where `merge` is there: two states of one entity make the state of all their rows.
    mergeable: ClassVar[bool] = False
    #: What cancellations and returns do to it: a sentence for its page in the docs.
    undone: ClassVar[str] = "Cancellations and returns take no part: what was added stays."
    #: Parameters that change only what is read, not what is kept.
    read_only: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def fields(self) -> list[Field]:
        """The state's layout; field names carry no prefix."""

    def init(self, state: State) -> None:
        """Sets the initial state of all records in `state`, which are zero bytes; those are the initial state here."""
        return

    @abstractmethod
    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Applies rows one after another. `slots[i]` is the record of row i.

        Returns:
            How many of the rows came too late to be taken in.
        """

    @abstractmethod
    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """Column values of the records at `slots` as of event times `as_of_ms`, float64 of shape (n,)."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """The columns that `read` gives, each with a sentence and its unit."""

    def merge(self, into: State, other: State) -> None:
        """Takes the state of `other` into that of `into`, record by record; only where it is `mergeable`.

        Args:
            into, other: fields of n records each; `other` stays as it is.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be merged")

    def read_lists(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[Any]]:
        """Columns that hold a sequence an entity, each of shape (n, length); most aggregations have none."""
        return {}

    def describe_lists(self) -> dict[str, str]:
        """The columns that `read_lists` gives, each with a sentence and its unit."""
        return {}

    def parameters(self) -> dict[str, str]:
        """What shapes the state: every parameter but names, words and those that are `read_only`."""
        skipped = {"name", "doc", "was", *self.read_only}
        return {f.name: canonical(getattr(self, f.name)) for f in fields(self) if f.name not in skipped}

    def understands(self, kinds: Mapping[str, str]) -> bool:
        """Whether `carry` can take over fields of these dtypes, by name; here: if they are its own."""
        return dict(kinds) == {f.name: f.dtype for f in self.fields()}

    def carry(self, old: Mapping[str, str], source: State, target: State) -> bool:
        """Takes over the state of a record that another version of the view wrote; called only for the same type.

        Args:
            old: the parameters it was written with.
            source: its fields, one record.
            target: the fields of a record in the initial state, one record.

        Returns:
            Whether the state could be kept; here: if nothing that shapes it has changed.
        """
        if old != self.parameters() or source.keys() != target.keys():
            return False
        if any(source[name].shape != target[name].shape for name in target):
            return False
        for name in target:
            target[name][...] = source[name]
        return True

    @property
    def mask(self) -> int:
        """The kinds it takes in, as bits."""
        return kinds_mask(self.where)


def age_days(event_time_ms: NDArray[Any], as_of_ms: Times) -> NDArray[np.float64]:
    """Days from an event to `as_of_ms`, NaN where there was no event (time 0)."""
    age = (as_of_ms - event_time_ms) / DAY_MS
    return np.where(event_time_ms > 0, np.maximum(age, 0.0), np.nan)
