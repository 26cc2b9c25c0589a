"""Session-kNN: what sessions like this one viewed, the newest views weighing most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.prefixes import Prefixes
from export.datasets.sessions import Sessions

#: Newest sessions with a product that are looked at, and nearest ones that are asked.
_LOOKED_AT, _ASKED = 1_000, 100


class SessionKnn:
    """V-SKNN: sessions are compared by their common products, the newer in the asking session the more; the products of
    the nearest are added up, each session's as much as it is alike and as lately as it last meets the asking one.

    Args:
        train: sessions to ask.

    Source: M. Ludewig and D. Jannach, "Evaluation of session-based recommendation algorithms" (UMUAI 2018).
    """

    def __init__(self, train: Sessions) -> None:
        self._products = len(train.names)
        pairs = np.unique(train.session * self._products + train.item)
        session, item = np.divmod(pairs, self._products)
        self._held = item
        self._held_from = np.searchsorted(session, np.arange(len(train) + 1))
        order = np.lexsort((session, item))
        self._with = session[order]
        self._with_from = np.searchsorted(item[order], np.arange(self._products + 1))

    def scores(self, rows: Prefixes, at: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores of all products, of shape (at, products)."""
        found = np.zeros((len(at), self._products))
        for i, row in enumerate(at.tolist()):
            self._add(found[i], rows.item[rows.begin[row] : rows.place[row]])
        return found

    def _add(self, score: NDArray[np.float64], views: NDArray[np.int64]) -> None:
        newest = {item: place for place, item in enumerate(views.tolist(), start=1)}
        looked = [self._sessions(item) for item in newest]
        place = np.repeat(list(newest.values()), [len(found) for found in looked])
        session, of = np.unique(np.concatenate(looked), return_inverse=True)
        alike = np.bincount(of, weights=place) / len(views)
        met = np.zeros(len(session), np.int64)
        np.maximum.at(met, of, place)
        near = np.lexsort((-session, -alike))[:_ASKED]
        weight = alike[near] / (len(views) - met[near] + 1)
        for asked, share in zip(session[near].tolist(), weight.tolist(), strict=True):
            score[self._held[self._held_from[asked] : self._held_from[asked + 1]]] += share

    def _sessions(self, item: int) -> Any:
        found = self._with[self._with_from[item] : self._with_from[item + 1]]
        return found[-_LOOKED_AT:]
