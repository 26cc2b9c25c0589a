"""Distinct: approximately how many different ids there have been, by HyperLogLog. Order-free; duplicates cost nothing.

2^p registers of one byte give a standard error of 1.04 / sqrt(2^p): 18% for p = 5, 13% for 6, 3.3% for 10, 0.8% for 14.
The ids are 64-bit hashes already: the upper p bits choose the register, the rest gives the rank, so no bit is used
twice, and no correction is needed for large numbers. Small numbers are counted by the registers that are still empty
(linear counting); where that ends, around 3 · 2^p ids, estimates are up to 2% high.

Source: P. Flajolet et al., "HyperLogLog" (AofA 2007); S. Heule, M. Nunkesser, A. Hall, "HyperLogLog in practice"
(EDBT 2013), for 64-bit hashes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel

_ALPHA = {4: 0.673, 5: 0.697, 6: 0.709}


@kernel
def place_of(number: Any, precision: int) -> Any:
    """The register of an id, and the rank that it has there."""
    at = np.int64(number >> np.uint64(64 - precision))
    rest = number << np.uint64(precision)
    rank = 1
    while rank <= 64 - precision and not rest & np.uint64(1 << 63):
        rest = rest << np.uint64(1)
        rank += 1
    return at, rank


@kernel
def _update(register: Any, slots: Any, kinds: Any, ids: Any, mask: int, precision: int) -> None:
    for i in range(slots.shape[0]):
        if mask & (1 << kinds[i]) and ids[i] != 0:
            at, rank = place_of(ids[i], precision)
            if rank > register[slots[i], at]:
                register[slots[i], at] = rank


@kernel
def _estimate(register: Any, slots: Any, alpha: float, out: Any) -> None:
    registers = register.shape[1]
    for i in range(slots.shape[0]):
        total = 0.0
        empty = 0
        for j in range(registers):
            rank = np.int64(register[slots[i], j])
            total += 2.0 ** float(-rank)
            if rank == 0:
                empty += 1
        raw = alpha * registers * registers / total
        if raw <= 2.5 * registers and empty > 0:
            out[i] = registers * np.log(registers / empty)
        else:
            out[i] = raw


@dataclass(frozen=True)
class Distinct(Aggregation):
    """Roughly how many different ids the column `of` had, over the kinds `where`; id 0 is none.

    Args:
        of: a uint64 column of 64-bit hashes.
        precision: p, from 4 to 16.

    Raises:
        ValueError: another precision.
    """

    of: str = "product"
    precision: int = 10
    order_free = True
    undone: ClassVar[str] = "Cancellations and returns take no part: an id that was seen stays seen."

    def __post_init__(self) -> None:
        if not 4 <= self.precision <= 16:
            raise ValueError(f"distinct {self.name!r}: the precision is from 4 to 16, not {self.precision}")

    @property
    def error(self) -> float:
        """The standard error, as a share."""
        return 1.04 / math.sqrt(1 << self.precision)

    def fields(self) -> list[Field]:
        """The registers: the largest rank of each."""
        return [Field("register", "u1", 1 << self.precision)]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Raises the register of each row's id."""
        _update(state["register"], slots, columns["kind"], columns[self.of], self.mask, self.precision)
        return 0

    def estimate(self, registers: NDArray[np.uint8], slots: Slots) -> NDArray[np.float64]:
        """How many different ids the registers at `slots` have seen, float64 of shape (n,)."""
        size = 1 << self.precision
        out = np.empty(len(slots), np.float64)
        _estimate(registers, slots, _ALPHA.get(self.precision, 0.7213 / (1 + 1.079 / size)), out)
        return out

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """The estimate."""
        return {self.name: self.estimate(state["register"], slots)}

    def describe(self) -> dict[str, str]:
        """One column, with its error."""
        return {self.name: f"{self.doc}, approximately (standard error {self.error:.1%})"}
