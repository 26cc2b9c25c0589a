"""Derived columns: ratios and differences of other columns, computed on read; they keep no state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Derived(ABC):
    """A column made of two others of the same view.

    Args:
        name: of the column.
        doc: one sentence for people.
        left, right: the columns it is made of.
    """

    name: str
    doc: str
    left: str
    right: str

    @abstractmethod
    def compute(self, columns: Values) -> NDArray[np.float64]:
        """The column, float64 of shape (n,); NaN where either of the two is."""


class Ratio(Derived):
    """`left` over `right`; NaN where `right` is 0.

    >>> Ratio("value", "spend an order", "spend", "orders").compute(
    ...     {"spend": np.array([6.0, 1.0]), "orders": np.array([3.0, 0.0])}
    ... ).tolist()
    [2.0, nan]
    """

    def compute(self, columns: Values) -> NDArray[np.float64]:
        """Divides."""
        right = columns[self.right]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(right != 0, columns[self.left] / right, np.nan)


class Difference(Derived):
    """`left` less `right`.

    >>> Difference("kept", "bought less returned", "bought", "returned").compute(
    ...     {"bought": np.array([6.0]), "returned": np.array([4.0])}
    ... ).tolist()
    [2.0]
    """

    def compute(self, columns: Values) -> NDArray[np.float64]:
        """Subtracts."""
        return columns[self.left] - columns[self.right]
