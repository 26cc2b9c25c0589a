"""Task reorder: what a customer buys again and when, what its next basket will hold, and whether it comes at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from export.datasets import reorder as dataset
from export.datasets.sequences import sequences_of
from export.evaluations.reorder import measure
from export.history import Log
from export.networks.reorder import HORIZONS_DAYS, ReorderNet
from export.split import Split, split_of
from export.tasks.base import Arrays, Evaluation, Task, Tell, finite, popular_products
from export.tasks.reorderfigures import evaluation, outputs
from export.tasks.reorderfit import Fits, validated
from models.manifest import Fallback, Metric

_DRAWS = 200


class Reorder(Task):
    """See the module."""

    name = "reorder"
    task = "reorder"
    shared = frozenset({"words", "place", "age_days"})
    epochs = 5

    def split(self, log: Log) -> Split:
        """30 days of gap."""
        return split_of(log.first_ms, log.last_ms, horizon_days=HORIZONS_DAYS[-1])

    def build(self, log: Log, split: Split, seed: int) -> Arrays:
        """A row a (as-of time, product)."""
        return dataset.build(log, split.test_until_ms, seed)

    def network(self) -> Any:
        """Features added up, and what ranks."""
        return ReorderNet()

    def train(self, arrays: Arrays, split: Split, epochs: int, seed: int, tell: Tell) -> tuple[Any, dict[str, float]]:
        """Measures on validation what was known before it, then fits to all that was known by the test."""
        fits = Fits(self.network, arrays, sequences_of(arrays), seed, tell)
        figures = validated(fits, split, epochs)
        final = fits.fresh(split.test_from_ms)
        fits.chances(final, split.test_from_ms, corrected=figures["trees_help"] > 0)
        fits.ranks(final, split.test_from_ms, epochs)
        fits.active(final, split.test_from_ms)
        fits.centre(final, split.fit_until_ms)
        return final, figures

    def evaluate(self, network: Any, arrays: Arrays, split: Split) -> Evaluation:
        """Chances, dates and activity on the rows that the engine scores."""
        return evaluation(network, arrays, split, _DRAWS)

    def measured(self, network: Any, events: Path, split: Split) -> list[Metric]:
        """The next basket and what was bought again, as `export.evaluations.reorder` measures a released model."""

        def scores(rows: Arrays) -> Any:
            chance, _, rank, _, _ = outputs(network, rows)
            return rank.astype(np.float64), chance[:, -1].astype(np.float64)

        return measure(scores, events, split.test_from_ms, draws=_DRAWS)

    def inputs(self, arrays: Arrays, split: Split, rows: int, seed: int) -> Arrays:
        """Rows of the test period, of customers as they come."""
        held = ~arrays["wide"] & (arrays["moment"] != dataset.BEFORE)
        at = np.flatnonzero(split.test(arrays["as_of_ms"]) & held)
        first = int(np.random.default_rng(seed).integers(len(at)))
        pick = at[(first + np.arange(rows)) % len(at)]
        feeds = sequences_of(arrays).feeds(arrays["group"][pick], arrays["product"][pick])
        return {"features": arrays["features"][pick]} | feeds

    def hostile(self, inputs: Arrays) -> list[Arrays]:
        """NaN, zero, huge, and negative features and ages, and words that no product has."""
        shape = inputs["features"].shape
        values = (np.nan, 0.0, 1e30, -1e30, np.inf)
        odd = [inputs | {"features": np.full(shape, value, np.float32)} for value in values]
        odd += [inputs | {"age_days": np.full_like(inputs["age_days"], value)} for value in values]
        return [*odd, inputs | {"words": np.zeros_like(inputs["words"])}]

    def problems(self, inputs: Arrays, outputs: Arrays) -> list[str]:
        """Probabilities outside [0, 1], decreasing with the horizon, or anything not finite or before now."""
        p = outputs["probability"]
        found = finite(outputs, *outputs)
        if not ((p >= 0) & (p <= 1)).all():
            found.append("probability is outside [0, 1]")
        if not (np.diff(p, axis=1) >= -1e-6).all():
            found.append("probability falls with a longer horizon")
        if "active" in outputs and not ((outputs["active"] >= 0) & (outputs["active"] <= 1)).all():
            found.append("active is outside [0, 1]")
        if "next_days" in outputs and not (outputs["next_days"] >= 0).all():
            found.append("next_days is before now")
        return found

    def fallback(self, log: Log, split: Split) -> Fallback:
        """Popular products."""
        return popular_products(log, split.fit_until_ms)
