"""Daily distinct: as Distinct, but it can also be read as of the end of a day that is over. Order-free.

A sketch cannot forget what came today, so today's registers are kept apart, and yesterday's too: a shard whose day has
just turned can still be read as of the day before. Three sets of registers: of all days but the last two that had
rows, and of those two, each in the place of its day's number modulo two. When a newer day begins, what is older than
the day before it goes into the first set; rows that come late go to the set of their day. So the state is a function
of the rows alone, whatever their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Columns, Field, Slots, State, Times, kernel
from features.aggregations.distinct import Distinct, place_of


@kernel
def _to_day(register: Any, head: Any, s: int, day: int, size: int) -> None:
    """Moves a record on to a newer day: what is older than the day before goes into the first set."""
    for old in range(max(head[s] - 1, 0), min(day - 1, head[s] + 1)):
        begin = size * (1 + old % 2)
        for j in range(size):
            register[s, j] = max(register[s, j], register[s, begin + j])
            register[s, begin + j] = 0
    head[s] = day


@kernel
def _update(register: Any, head: Any, slots: Any, kinds: Any, times: Any, ids: Any, mask: int, precision: int) -> None:
    size = 1 << precision
    for i in range(slots.shape[0]):
        if not mask & (1 << kinds[i]):
            continue
        s, day = slots[i], times[i] // DAY_MS
        if day > head[s]:
            _to_day(register, head, s, day, size)
        if ids[i] != 0:
            at, rank = place_of(ids[i], precision)
            if day >= head[s] - 1:
                at += size * (1 + day % 2)
            register[s, at] = max(register[s, at], np.uint8(rank))


@kernel
def _merge(register: Any, head: Any, other: Any, other_head: Any, size: int) -> None:
    for s in range(register.shape[0]):
        top = max(head[s], other_head[s])
        if top > head[s]:
            _to_day(register, head, s, top, size)
        if top > other_head[s]:
            _to_day(other, other_head, s, top, size)
        for j in range(register.shape[1]):
            register[s, j] = max(register[s, j], other[s, j])


@kernel
def _until(register: Any, head: Any, slots: Any, last: Any, size: int, out: Any) -> None:
    """The registers of all days up to `last`: one set for each of the slots."""
    for i in range(slots.shape[0]):
        s = slots[i]
        out[i, :] = register[s, :size]
        for day in range(max(head[s] - 1, 0), min(last[i], head[s]) + 1):
            begin = size * (1 + day % 2)
            for j in range(size):
                out[i, j] = max(out[i, j], register[s, begin + j])


@dataclass(frozen=True)
class DailyDistinct(Distinct):
    """Roughly how many different ids the column `of` had, also as of the end of yesterday; parameters as Distinct's."""

    mergeable = True
    undone: ClassVar[str] = Distinct.undone

    def fields(self) -> list[Field]:
        """Three sets of registers, and the newest day that had a row, counted from 1970."""
        return [Field("register", "u1", 3 << self.precision), Field("head", "i4")]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Raises the register of each row's id, in the set of its day."""
        _update(
            state["register"],
            state["head"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            columns[self.of],
            self.mask,
            self.precision,
        )
        return 0

    def merge(self, into: State, other: State) -> None:
        """The larger of each two registers of a day."""
        copies = other["register"].copy(), other["head"].copy()
        _merge(into["register"], into["head"], *copies, 1 << self.precision)

    def until(self, state: State, slots: Slots, last_day: NDArray[np.int64]) -> NDArray[np.float64]:
        """The estimate over all days up to and with `last_day` (from 1970), float64 of shape (n,).

        Exact, as far as a sketch is, from two days before the newest day that had a row on; of days before that it
        sees those two days' elder too (see `known`).
        """
        registers = np.empty((len(slots), 1 << self.precision), np.uint8)
        _until(state["register"], state["head"], slots, last_day, 1 << self.precision, registers)
        return self.estimate(registers, np.arange(len(slots)))

    def known(self, state: State, slots: Slots, last_day: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the state can still tell what was until the end of `last_day`, bool of shape (n,)."""
        return np.asarray(state["head"][slots] <= last_day + 2)

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """The estimate over all days."""
        return {self.name: self.until(state, slots, state["head"][slots].astype(np.int64))}
