"""Fits of reorder: chances, ranks and activity, each on what was known at a time."""

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
from export.tasks.chances import Known, Orders, calibrate, level
from export.tasks.fed import Plain
from export.tasks.lists import Lists, lists_of

#: Moments and lists of one fit, by lot: training is to take minutes on a CPU.
_MOST_MOMENTS, _MOST_LISTS = 60_000, 20_000
_EPOCHS_ACTIVE = 4
#: Passes for the chances, at most; what ranks may take all that it is given.
_EPOCHS_CHANCES = 3


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

    def chances(self, network: Any, until_ms: int, epochs: int, shown: Known | None = None) -> int:
        """Trains the chances on what was known at a time; gives the epochs."""
        rows = self._drawn(self._before(until_ms) & self.after, _MOST_MOMENTS)
        known = Known(self.arrays, rows, until_ms, network.inputs)
        return train(
            network.chances,
            lambda at: known.loss(network, at),
            len(known),
            Recipe(epochs=epochs, batch=96, rate=2e-3, decay=0.05, patience=2, seed=self.seed),
            (lambda: shown.whole(network)) if shown else None,
            lambda text, share: self.tell(f"chances: {text}", share / 2),
        )

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
        """Trains whether a customer orders again, on what was known at a time."""
        rows = self._before(until_ms) & self.after & ~self.arrays["wide"]
        orders = Orders(self.arrays, rows, until_ms, network.inputs)
        train(
            network.active,
            lambda at: orders.loss(network.active, at),
            len(orders.y),
            Recipe(epochs=_EPOCHS_ACTIVE, batch=512, rate=2e-3, decay=0.05, seed=self.seed),
        )

    def level(self, network: Any, split: Split) -> None:
        """Fits the level of the longest horizon to the newest month whose labels were known at the test's beginning."""
        rows = split.validation(self.arrays["as_of_ms"]) & self.after
        level(network, Known(self.arrays, rows, split.test_from_ms, network.inputs, recent=False))

    def centre(self, network: Any, until_ms: int) -> None:
        """Contributions are to be 0 on average over the rows of the fit."""
        fitted = self._drawn(self._before(until_ms) & self.after, _MOST_MOMENTS)
        with torch.no_grad():
            rows = Plain(network.inputs(torch.from_numpy(self.arrays["features"][fitted])))
            sums = [network.chances(*given)[0].sum(dim=0) for _, given in rows.parts()]
            network.centre.copy_(torch.stack(sums).sum(dim=0) / max(len(rows.inputs), 1))

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


def choose(fits: Fits, split: Split, epochs: int) -> tuple[Any, dict[str, float]]:
    """A calibrated network of what was known before validation; and the numbers of epochs, with figures.

    Chances are chosen on the validation period, which their labels fill with the gap after it; what ranks has labels of
    the moment, and is measured on that gap.
    """
    network = fits.fresh(split.validation_from_ms)
    arrays, as_of = fits.arrays, fits.arrays["as_of_ms"]
    rows = split.validation(as_of) & fits.after
    shown = Known(arrays, rows, split.test_from_ms, network.inputs, recent=False)
    of_chances = fits.chances(network, split.validation_from_ms, min(epochs, _EPOCHS_CHANCES), shown)
    calibrate(network, shown)
    gap = (as_of >= split.fit_until_ms) & (as_of < split.test_from_ms) & ~fits.after & arrays["wide"]
    ranked = lists_of(arrays, gap, network.inputs, fits.sequences)
    fits.ranks(network, split.fit_until_ms, epochs)
    with torch.no_grad():
        return network, {
            "epochs": of_chances,
            "epochs_rank": epochs,
            "validation_loss": shown.whole(network),
            "validation_ndcg": _ndcg(network, arrays, ranked),
            "scale": float(network.scale),
        }


def _ndcg(network: Any, arrays: Arrays, lists: Lists) -> float:
    """NDCG@10 of the rank; 0 without lists."""
    if not len(lists):
        return 0.0
    trees = network.trees(torch.from_numpy(arrays["features"][lists.rows]))
    return lists.ndcg(lists.scores(network.places) + trees)
