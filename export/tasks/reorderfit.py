"""Fits of reorder: chances, ranks and activity, each to what was known at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.datasets.reorder import BEFORE
from export.datasets.sequences import Sequences
from export.fit import Recipe, seeded, train
from export.split import Split
from export.tasks.base import Arrays, Tell
from export.tasks.boosted import WEIGHT, boosted
from export.tasks.chances import Known, Orders, correct, learn
from export.tasks.lists import Lists, lists_of

#: Moments and lists of one fit, by lot: training is to take minutes on a CPU.
_MOST_MOMENTS, _MOST_LISTS = 60_000, 20_000


@dataclass(frozen=True, slots=True)
class Fits:
    """What all fits of a training share.

    Args:
        network: makes one with random weights.
        arrays: as `export.datasets.reorder.build` makes them.
        sequences: of the arrays.
        seed: of weights, lots and orders of rows.
        tell: hears what is being done, and the share done of one of the two networks.
    """

    network: Callable[[], Any]
    arrays: Arrays
    sequences: Sequences
    seed: int
    tell: Tell

    def fresh(self, until_ms: int) -> Any:
        """A network that has seen how large features are."""
        seeded(self.seed)
        network = self.network()
        network.inputs.learn(self.arrays["features"][self.arrays["as_of_ms"] < until_ms])
        return network

    def chances(self, network: Any, until_ms: int, corrected: bool) -> None:
        """Fits the chances to what was known at a time: sums, and trees that correct them where these are wanted."""
        rows = self._drawn(self._before(until_ms) & self.after, _MOST_MOMENTS)
        known = Known(self.arrays, rows, until_ms, network.inputs)
        learn(network, known, lambda text, share: self.tell(text, 0.4 * share))
        if corrected:
            self.tell("chances: trees", 0.4)
            correct(network, known, self.seed)

    def ranks(self, network: Any, until_ms: int, epochs: int) -> None:
        """Trains what ranks on the orders before a time: trees, and networks that know nothing of them.

        How many passes are best is not chosen on the last of the lists: they tell it by less than their noise.
        """
        orders = self._before(until_ms) & ~self.after
        drawn = self._drawn(orders, _MOST_LISTS)
        lists = lists_of(self.arrays, drawn, network.inputs, self.sequences, until_ms)
        self.tell("ranks: trees", 0.5)
        network.trees.learn(boosted(self.arrays, lists, self.seed), WEIGHT)
        train(
            network.places,
            lambda at: lists.loss(network.places, at),
            len(lists),
            Recipe(epochs=epochs if len(lists) else 0, batch=32, rate=2e-3, decay=0.05, seed=self.seed),
            tell=lambda text, share: self.tell(f"ranks: {text}", 0.5 + share / 2),
        )

    def active(self, network: Any, until_ms: int) -> None:
        """Fits whether a customer orders again, to what was known at a time."""
        rows = self._before(until_ms) & self.after & ~self.arrays["wide"]
        Orders(self.arrays, rows, until_ms, network.inputs).learn(
            network.active, lambda text, share: self.tell(text, 1.0)
        )

    def centre(self, network: Any, until_ms: int) -> None:
        """Contributions are to be 0 on average over the rows of the fit."""
        fitted = self._drawn(self._before(until_ms) & self.after, _MOST_MOMENTS)
        with torch.no_grad():
            features = torch.from_numpy(self.arrays["features"][fitted])
            terms, _ = network.terms(features, network.inputs(features))
            network.centre.copy_(terms.sum(dim=0) / max(len(terms), 1))

    @property
    def after(self) -> NDArray[np.bool_]:
        """The rows that chances are learnt from: after an order, or later on."""
        return np.asarray(self.arrays["moment"] != BEFORE)

    def _before(self, until_ms: int) -> NDArray[np.bool_]:
        return np.asarray(self.arrays["as_of_ms"] < until_ms)

    def _drawn(self, rows: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
        """The rows of at most so many moments, by lot."""
        group = self.arrays["group"]
        at = np.unique(group[rows])
        if len(at) > most:
            at = np.random.default_rng(self.seed).choice(at, most, replace=False)
        drawn = np.zeros(int(group.max()) + 1, np.bool_)
        drawn[at] = True
        return np.asarray(rows & drawn[group])


def validated(fits: Fits, split: Split, epochs: int) -> dict[str, float]:
    """Figures of a network that knew what was before validation.

    Chances are measured on the validation period, which their labels fill with the gap after it; what ranks has labels
    of the moment, and is measured on that gap. `trees_help` is 1 where the chances are likelier with trees that correct
    them than without: with few days they are not, with many households they are (docs/research/reorder.md).
    """
    network = fits.fresh(split.validation_from_ms)
    arrays, as_of = fits.arrays, fits.arrays["as_of_ms"]
    shown = Known(arrays, split.validation(as_of) & fits.after, split.test_from_ms, network.inputs, recent=False)
    fits.chances(network, split.validation_from_ms, corrected=True)
    gap = (as_of >= split.fit_until_ms) & (as_of < split.test_from_ms) & ~fits.after & arrays["wide"]
    ranked = lists_of(arrays, gap, network.inputs, fits.sequences)
    fits.ranks(network, split.fit_until_ms, epochs)
    with torch.no_grad():
        plain, corrected = float(shown.loss(network)), float(shown.whole(network))
        return {
            "epochs_rank": epochs,
            "trees_help": float(corrected < plain),
            "validation_loss": min(corrected, plain),
            "validation_ndcg": _ndcg(network, arrays, ranked),
        }


def _ndcg(network: Any, arrays: Arrays, lists: Lists) -> float:
    """NDCG@10 of the rank; 0 without lists."""
    if not len(lists):
        return 0.0
    trees = network.trees(torch.from_numpy(arrays["features"][lists.rows]))
    return lists.ndcg(lists.scores(network.places) + trees)
