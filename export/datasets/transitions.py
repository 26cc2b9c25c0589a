"""Which products follow which: of each product, those that are viewed near it, with their shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]  # it ships no types

from export.datasets.prefixes import Prefixes

#: So much weight of other products is added to each: of a product that was hardly seen, little is said.
_DOUBT = 10.0


@dataclass(frozen=True, slots=True)
class Reach:
    """What is near a product, and what of a session is looked at.

    Args:
        apart: views apart beyond which two products have nothing to do with each other.
        back: how much what is viewed before a product counts of what is viewed after it.
        decay: how much a view of a session that is asked of counts of the one after it; 0 looks at the last alone.
    """

    apart: int
    back: float
    decay: float


#: All that is viewed about a product, which most shops' sessions ask for; and what comes right after it, nothing else,
#: for sessions that are a chain.
NEAR, NEXT = Reach(apart=10, back=0.5, decay=0.6), Reach(apart=1, back=0.0, decay=0.0)


def followers(rows: Prefixes, products: int) -> Any:
    """How often each product came right after each: a sparse matrix of shape (products, products).

    >>> from export.datasets.prefixes import prefixes_of
    >>> from export.datasets.sessions import Sessions
    >>> rows = prefixes_of(Sessions(["a", "b"], np.array([0, 1, 0, 1]), np.array([0, 4]), np.array([5])))
    >>> followers(rows, 2).toarray().tolist()
    [[0.0, 2.0], [1.0, 0.0]]
    """
    return _counted(rows.item[rows.place - 1], rows.target, np.ones(len(rows)), products)


def neighbours(
    rows: Prefixes, products: int, most: int, reach: Reach = NEAR
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The products near each, and their shares, which add up to less than 1.

    Args:
        rows: of the sessions to learn from.
        products: how many there are.
        most: how many neighbours to keep.
        reach: what is near.

    Returns:
        Products + 1, 0 for none, int32 of shape (products + 1, most); row 0 is of no product. Shares, float32.

    Source: sequential rules of M. Ludewig and D. Jannach, "Evaluation of session-based recommendation algorithms"
    (UMUAI 2018); here in both directions where the reach says so, and with a share of doubt.
    """
    near = _near(rows, products, reach.apart)
    near = (near + reach.back * near.T).tocsr()
    near.eliminate_zeros()
    total = np.asarray(near.sum(axis=1)).ravel()
    near = _strongest(near, most)
    row = np.repeat(np.arange(products), np.diff(near.indptr))
    place = np.arange(near.nnz) - np.repeat(near.indptr[:-1], np.diff(near.indptr))
    who, share = np.zeros((products + 1, most), np.int32), np.zeros((products + 1, most), np.float32)
    who[row + 1, place] = near.indices + 1
    share[row + 1, place] = near.data / (total + _DOUBT)[row]
    return who, share


def _near(rows: Prefixes, products: int, apart: int) -> Any:
    window = rows.window(np.arange(len(rows)), apart)
    total = sparse.csr_matrix((products, products))
    for lag in range(1, apart + 1):
        before = window[:, -lag] - 1
        held = before >= 0
        total = total + _counted(before[held], rows.target[held], np.full(held.sum(), lag**-2.0), products)
    return total


def _counted(before: NDArray[Any], after: NDArray[Any], weight: NDArray[Any], products: int) -> Any:
    return sparse.coo_matrix((weight, (before, after)), (products, products)).tocsr()


def _strongest(near: Any, most: int) -> Any:
    """Of each row the `most` largest, in descending order."""
    row = np.repeat(np.arange(near.shape[0]), np.diff(near.indptr))
    order = np.lexsort((near.indices, -near.data, row))
    place = np.arange(near.nnz) - np.repeat(near.indptr[:-1], np.diff(near.indptr))
    order = order[place < most]
    starts = np.concatenate([[0], np.cumsum(np.minimum(np.diff(near.indptr), most))])
    return sparse.csr_matrix((near.data[order], near.indices[order], starts), near.shape)
