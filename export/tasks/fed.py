"""Rows as the networks of reorder are fed: their inputs, and what their customers bought lately."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from export.datasets.sequences import Sequences
from export.tasks.base import Arrays

_PART = 16_384


class Feeding(Protocol):
    """Rows as some network takes them."""

    @property
    def inputs(self) -> Any:
        """A tensor of shape (n, width)."""

    def at(self, rows: NDArray[np.int64]) -> tuple[Any, ...]:
        """What the network takes of some rows."""

    def parts(self) -> Iterator[tuple[NDArray[np.int64], tuple[Any, ...]]]:
        """All rows, some at a time: which they are, and what the network takes of them."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Rows that are their inputs and nothing more, a tensor of shape (n, width)."""

    inputs: Any

    def at(self, rows: NDArray[np.int64]) -> tuple[Any, ...]:
        """See `Feeding`."""
        return (self.inputs[torch.from_numpy(rows)],)

    def parts(self) -> Iterator[tuple[NDArray[np.int64], tuple[Any, ...]]]:
        """See `Feeding`."""
        for begin in range(0, len(self.inputs), _PART):
            rows = np.arange(begin, min(begin + _PART, len(self.inputs)))
            yield rows, self.at(rows)


@dataclass(frozen=True, slots=True)
class Fed:
    """Rows of a data set.

    Args:
        inputs: of the networks, a tensor of shape (n, width).
        group, product: of each row, int64 of shape (n,).
        sequences: of the data set.
    """

    inputs: Any
    group: NDArray[np.int64]
    product: NDArray[np.int64]
    sequences: Sequences

    def __len__(self) -> int:
        return len(self.group)

    def at(self, rows: NDArray[np.int64]) -> tuple[Any, ...]:
        """What a network takes of some rows."""
        return self.inputs[torch.from_numpy(rows)], *self.sequences.tensors(self.group[rows], self.product[rows])

    def parts(self) -> Iterator[tuple[NDArray[np.int64], tuple[Any, ...]]]:
        """All rows, some at a time: which they are, and what a network takes of them."""
        for begin in range(0, len(self), _PART):
            rows = np.arange(begin, min(begin + _PART, len(self)))
            yield rows, self.at(rows)


def rows_of(starts: NDArray[np.int64], at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of some groups, and the place of each row's group among them, int64 of shape (m,).

    Args:
        starts: where each group begins, and the end, int64 of shape (g + 1,).
        at: which groups.

    >>> [found.tolist() for found in rows_of(np.array([0, 2, 5]), np.array([1, 0]))]
    [[2, 3, 4, 0, 1], [0, 0, 0, 1, 1]]
    """
    sizes = starts[at + 1] - starts[at]
    place = np.repeat(np.arange(len(at)), sizes)
    begun = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) - begun[place] + starts[at][place], place


def fed(arrays: Arrays, rows: NDArray[Any], inputs: Any, sequences: Sequences) -> Fed:
    """Some rows of a data set.

    Args:
        arrays: as `export.datasets.reorder.build` makes them.
        rows: which, by mask or index.
        inputs: makes inputs of features.
        sequences: of the data set.
    """
    with torch.no_grad():
        made = inputs(torch.from_numpy(arrays["features"][rows]))
    return Fed(made, arrays["group"][rows], arrays["product"][rows], sequences)
