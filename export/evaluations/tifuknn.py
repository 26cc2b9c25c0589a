"""TIFU-KNN: what a customer bought, recent baskets first, blended with what the most similar customers bought.

Source: H. Hu et al., "Modeling personalized item frequency information for next-basket recommendation" (SIGIR 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]  # it ships no types

from export.datasets.baskets import Arrays, Baskets
from export.evaluations.protocols import last_baskets
from export.evaluations.weighted import rankings

_CHUNK = 512
#: Baskets that settings are tried on.
_TRIED = 400


@dataclass(frozen=True, slots=True)
class Settings:
    """How it looks back and aside.

    Args:
        group: baskets a group; older groups weigh less.
        within, between: decay a basket within a group, and a group.
        own: share of the customer's own vector in the score.
        neighbours: how many similar customers.
    """

    group: int = 3
    within: float = 0.9
    between: float = 0.7
    own: float = 0.9
    neighbours: int = 100


#: What `tuned` tries.
GRID = [
    Settings(within=within, between=between, own=own, neighbours=neighbours)
    for within, between in ((0.9, 0.7), (1.0, 0.9), (0.8, 0.5))
    for own in (0.7, 0.9)
    for neighbours in (100, 300)
]


def tifuknn(
    baskets: Baskets, wanted: NDArray[np.int64], known: NDArray[np.bool_], most: int, settings: Settings
) -> Arrays:
    """The products with the highest scores at wanted baskets, from what was strictly before each.

    Args:
        baskets: of the log.
        wanted: baskets, int64 of shape (m,).
        known: the baskets that neighbours are made of, bool of shape (b,).
        most: products a basket.
        settings: see `tuned`.

    Returns:
        basket, product int64 (m * most,); score float64 (m * most,).
    """
    how, before = settings, np.flatnonzero(known)
    owners, first = np.unique(baskets.customer[before], return_inverse=True)
    by_owner = np.split(before[np.argsort(first, kind="stable")], np.cumsum(np.bincount(first))[:-1])
    others = _vectors(baskets, by_owner, how)
    mine = _vectors(baskets, [_past(baskets, at) for at in wanted.tolist()], how)
    best, scores = [], []
    for at in range(0, len(wanted), _CHUNK):
        chunk = slice(at, at + _CHUNK)
        near = _near(mine[chunk], others, baskets.customer[wanted[chunk]][:, None] == owners[None, :], how.neighbours)
        score = (how.own * mine[chunk] + (1 - how.own) * near @ others).toarray()
        best.append(np.argpartition(-score, min(most, score.shape[1]) - 1, axis=1)[:, :most])
        scores.append(np.take_along_axis(score, best[-1], axis=1))
    shown = np.concatenate(best)
    return {
        "basket": np.repeat(wanted, shown.shape[1]),
        "product": shown.ravel(),
        "score": np.concatenate(scores).ravel(),
    }


def tuned(baskets: Baskets, known: NDArray[np.bool_], most: int, seed: int) -> Settings:
    """The settings that find most of the last known basket of some customers, from a small grid.

    Args:
        baskets: of the log.
        known: those that may be looked at, bool of shape (b,).
        most: products a basket.
        seed: of which customers.
    """
    held_out = last_baskets(baskets, known)
    wanted = np.flatnonzero(held_out.asked)
    if len(wanted) > _TRIED:
        wanted = np.sort(np.random.default_rng(seed).choice(wanted, _TRIED, replace=False))

    def found(settings: Settings) -> float:
        rows = tifuknn(baskets, wanted, held_out.known, most, settings)
        held = baskets.holds(rows["basket"], rows["product"])
        _, gains = rankings(rows["basket"], held, rows["score"], baskets.size, most)
        return float(gains[:, 0].sum())  # NDCG

    return max(GRID, key=found) if len(wanted) else GRID[0]


def _past(baskets: Baskets, at: int) -> NDArray[np.int64]:
    """Baskets of the same customer at earlier times."""
    same = np.flatnonzero(baskets.customer[:at] == baskets.customer[at])
    return np.asarray(same[baskets.time_ms[same] < baskets.time_ms[at]])


def _vectors(baskets: Baskets, pasts: list[NDArray[np.int64]], how: Settings) -> Any:
    """A row a past: the decayed frequency of each product, sparse of shape (rows, p)."""
    row, basket, weight = [], [], []
    for i, past in enumerate(pasts):
        back = np.arange(len(past))[::-1]
        groups = -(-len(past) // how.group)
        row.append(np.full(len(past), i))
        basket.append(past)
        weight.append(
            how.within ** (back % how.group) * how.between ** (back // how.group) / how.group / max(groups, 1)
        )
    times = sparse.csr_matrix(
        (np.concatenate(weight), (np.concatenate(row), np.concatenate(basket))),
        shape=(len(pasts), len(baskets.customer)),
    )
    ones = np.ones(len(baskets.line_basket))
    held = sparse.csr_matrix(
        (ones, (baskets.line_basket, baskets.line_product)), shape=(len(baskets.customer), len(baskets.products))
    )
    return (times @ held).tocsr()


def _near(mine: Any, others: Any, same: NDArray[np.bool_], count: int) -> Any:
    """The mean of the nearest others as a sparse matrix of weights, by distance; never the customer itself."""
    squares = np.asarray(others.multiply(others).sum(axis=1)).ravel()
    distance = squares[None, :] - 2.0 * (mine @ others.T).toarray()
    distance[same] = np.inf
    count = min(count, distance.shape[1])
    nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
    row = np.repeat(np.arange(len(nearest)), count)
    return sparse.csr_matrix((np.full(row.size, 1.0 / count), (row, nearest.ravel())), shape=distance.shape)
