"""Reorder on an event log: the next basket, and what is bought again within 30 days, beside baselines on the same rows.

*Next basket*: at every order of a customer with at least three before it (of a log with more than 4,000, so many are
drawn), all products of the customer's past are ranked by what was before; the ideal is the whole basket. *Last basket*:
the same at the last order of each customer with three or more, where the model must have been trained without it
(`export/datasets/lastbaskets.py`). *Bought again*: right after such an order, each product of the past, that order
among it. Baselines are fitted on what was known, labels included, and see the same columns. "As the engine feeds it" is
with the live tables, which hold fewer products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.baskets import Arrays, Baskets, baskets_of, rows_after, rows_before, taken
from export.datasets.popularity import Popularity
from export.datasets.sequences import Sequences, sequences_of
from export.errors import UsageError
from export.evaluations import baselines
from export.evaluations.bootstrap import Figures, Resamples, beside, ones, resamples
from export.evaluations.protocols import EARLIER, Protocol, last_baskets, next_baskets
from export.evaluations.segments import by_customers, heaviest
from export.evaluations.tifuknn import tifuknn, tuned
from export.evaluations.weighted import means, probabilities, rankings
from export.history import Log, read_log
from export.split import date_of, split_of
from features.aggregations.base import DAY_MS
from features.discovery import views_of
from features.vectors.reorder import FEATURES
from models.manifest import Metric, read_manifest
from models.session import Session

#: Places of a list that count.
PLACES = 10
HORIZON_DAYS = 30
#: Orders that are asked at most; of a log with more, so many are drawn.
_ASKED = 4000
#: What baselines are fitted on: the latest baskets of each customer, baskets in all, products a basket.
_LATEST, _FITTED, _PRODUCTS = 15, 8000, 150
#: Rows that are scored at once, and the inputs that are not a row each.
_PART = 1024
_SHARED = frozenset({"words", "place", "age_days"})

Tell = Callable[[str, float], None]
#: From rows of `export.datasets.baskets` what they are ranked by, and P(bought again within 30 days), float64 of (n,).
Score = Callable[[Arrays], tuple[NDArray[np.float64], NDArray[np.float64]]]


def evaluate(
    model_dir: Path,
    events: Path,
    from_ms: int | None = None,
    draws: int = 500,
    seed: int = 7,
    tell: Tell = lambda text, share: None,
) -> list[Metric]:
    """Measures a released reorder model on the end of an event log.

    Args:
        model_dir: the released model: `model.onnx` with its manifest.
        events: the event log.
        from_ms: event time from which on is tested; None takes the test period of the log's own time split.
        draws: of customers, for intervals and paired differences; 0 leaves them out.
        seed: of the draws and the baselines.
        tell: hears what is being done, and the share done.

    Returns:
        Metrics with 95% intervals and baselines; "less LightGBM" is the paired difference.

    Raises:
        UsageError: there is nothing to test, or nothing before it.
    """
    return measure(Scores(model_dir), events, from_ms, draws, seed, tell)


def evaluate_last(model_dir: Path, events: Path, draws: int = 500, seed: int = 7) -> list[Metric]:
    """Measures a released reorder model on the last basket of each customer of a log, which it must not have seen.

    Raises:
        UsageError: no customer has three baskets.
    """
    log = read_log(events, of_customers=True)
    baskets = baskets_of(log)
    drawn = resamples(len(baskets.customers), draws, seed)
    return _checked(_Bench(Scores(model_dir), log, baskets, last_baskets(baskets), drawn, seed), events).next_basket()


def measure(
    scores: Score,
    events: Path,
    from_ms: int | None = None,
    draws: int = 500,
    seed: int = 7,
    tell: Tell = lambda text, share: None,
) -> list[Metric]:
    """As `evaluate`, of anything that gives rows a rank and P(bought again within 30 days), float64 of (n,)."""
    log = read_log(events, of_customers=True)
    baskets = baskets_of(log)
    start = split_of(log.first_ms, log.last_ms, HORIZON_DAYS).test_from_ms if from_ms is None else from_ms
    drawn = resamples(len(baskets.customers), draws, seed)
    protocol = next_baskets(baskets, start).of_at_most(_ASKED, seed)
    bench = _checked(_Bench(scores, log, baskets, protocol, drawn, seed), events, start)
    tell("next basket", 0.0)
    metrics = bench.next_basket()
    tell(f"bought again within {HORIZON_DAYS} days", 0.5)
    metrics += bench.bought_again(start)
    tell("measured", 1.0)
    return metrics


def _checked(bench: _Bench, events: Path, from_ms: int | None = None) -> _Bench:
    if not bench.protocol.asked.any():
        when = "is the last and" if from_ms is None else f"from {date_of(from_ms)} on"
        raise UsageError(f"{events}: no order {when} has {EARLIER} orders of its customer before it")
    return bench


class Scores:
    """A released model, fed by the names of its features."""

    def __init__(self, directory: Path) -> None:
        manifest = read_manifest(directory)
        names = list(FEATURES)
        if gone := [name for name in manifest.features if name not in names]:
            raise UsageError(f"{directory}: needs features that are gone: {', '.join(gone)}; train the model again")
        self.columns = [names.index(name) for name in manifest.features]
        self.session = Session(directory / "model.onnx")

    def __call__(self, rows: Arrays) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `Score`."""
        sequences, features = sequences_of(rows), np.ascontiguousarray(rows["features"][:, self.columns])
        parts = [self._part(sequences, features, rows, slice(at, at + _PART)) for at in range(0, len(features), _PART)]
        chance, rank = (np.concatenate(of).astype(np.float64) for of in zip(*parts, strict=True))
        return rank, chance

    def _part(self, sequences: Sequences, features: Any, rows: Arrays, at: slice) -> tuple[Any, Any]:
        feeds = {"features": features[at]} | sequences.feeds(rows["group"][at], rows["product"][at])
        found = self.session.run(feeds, len(feeds["features"]), shared=_SHARED)
        chance = found["probability"][:, -1]
        return chance, found.get("rank", chance)


@dataclass(frozen=True)
class _Bench:
    model: Score
    log: Log
    baskets: Baskets
    protocol: Protocol
    resamples: Resamples
    seed: int

    def next_basket(self) -> list[Metric]:
        asked, known, what = self.protocol.asked, self.protocol.known, self.protocol.what
        fitted = self._latest(known)
        popular = Popularity(Popularity.of_log(self.log, self.baskets.products))
        rows = popular.join(rows_before(self.log, self.baskets, asked | fitted))
        test, past = taken(rows, asked[rows["basket"]]), taken(rows, fitted[rows["basket"]])
        wanted = np.flatnonzero(asked)
        aside = tifuknn(self.baskets, wanted, known, PLACES, tuned(self.baskets, known, PLACES, self.seed))
        aside["label"] = self.baskets.holds(aside["basket"], aside["product"])
        gains = {
            "": self._gains(test, self.model(test)[0]),
            "personal frequency": self._gains(test, baselines.frequency(test)),
            "TIFU-KNN": self._gains(aside, aside["score"]),
        }
        if past["label"].any():
            gains["LightGBM"] = self._gains(test, baselines.lambdarank(past, test, self.seed))
        live = popular.join(rows_before(self.log, self.baskets, asked, views_of("customer")))
        figures = {name: means(gain, PLACES) for name, gain in gains.items()}
        owner = self.baskets.customer[wanted]
        heavy = heaviest(self.baskets.customer[test["basket"]])
        found = self._metrics(what, figures, owner, ones(wanted))
        for name, inside in self._segments(wanted, heavy).items():
            found += self._metrics(f"{what}, {name}", figures, owner, inside, only=f"NDCG@{PLACES}")
        fed = {"": means(self._gains(live, self.model(live)[0]), PLACES)}
        return found + self._metrics(f"{what}, as the engine feeds it", fed, owner, ones(wanted))

    def bought_again(self, from_ms: int) -> list[Metric]:
        until = self.log.last_ms // DAY_MS * DAY_MS + DAY_MS - HORIZON_DAYS * DAY_MS
        asked = self.protocol.asked & (self.baskets.time_ms < until)
        if not asked.any():
            return []
        fitted = self._some((self.baskets.time_ms < from_ms - HORIZON_DAYS * DAY_MS) & (self.baskets.earlier >= 1))
        popular = Popularity(Popularity.of_log(self.log, self.baskets.products))
        rows = popular.join(rows_after(self.log, self.baskets, asked | fitted))
        rows["label"] = rows.pop("next_days") <= HORIZON_DAYS
        test = taken(rows, asked[rows["basket"]])
        past = taken(rows, _thinned(rows["basket"], fitted[rows["basket"]], self.seed))
        scores = {"": self.model(test)[1]}
        if 0 < past["label"].mean() < 1:
            scores |= {
                "personal frequency": baselines.frequency_probability(past, test),
                "logistic regression": baselines.logistic(past, test),
                "LightGBM": baselines.trees(past, test, self.seed),
            }
        live = popular.join(rows_after(self.log, self.baskets, asked, views_of("customer")))
        live["label"] = live.pop("next_days") <= HORIZON_DAYS
        what = f"{HORIZON_DAYS} days, whole past"
        figures = {name: probabilities(test["label"], score) for name, score in scores.items()}
        owner = self.baskets.customer[test["basket"]]
        found = self._metrics(what, figures, owner, ones(owner))
        for name, inside in self._segments(test["basket"], heaviest(owner)).items():
            found += self._metrics(f"{what}, {name}", figures, owner, inside)
        fed = {"": probabilities(live["label"], self.model(live)[1])}
        owner = self.baskets.customer[live["basket"]]
        return found + self._metrics(f"{what}, as the engine feeds it", fed, owner, ones(owner))

    def _metrics(
        self, what: str, figures: dict[str, Figures], owner: Any, inside: NDArray[np.float64], only: str | None = None
    ) -> list[Metric]:
        """Metrics of the rows that weigh `inside`, with intervals, and the paired differences to LightGBM."""
        if not inside.any():
            return []
        of = {name: _within(each, inside) for name, each in figures.items()}
        return beside(of, owner, self.resamples, f"{{}}, {what}", "LightGBM", only)

    def _gains(self, rows: Arrays, score: NDArray[Any]) -> NDArray[np.float64]:
        """Of every asked basket, in order; nothing where no row proposes anything."""
        wanted = np.flatnonzero(self.protocol.asked)
        found, gains = rankings(rows["basket"], rows["label"], score, self.baskets.size, PLACES)
        out = np.zeros((len(wanted), gains.shape[1]))
        out[np.searchsorted(wanted, found)] = gains
        return out

    def _segments(self, basket: NDArray[np.int64], heavy: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        found = by_customers(self.baskets.earlier[basket], self.baskets.customer[basket], heavy)
        return {name: inside.astype(np.float64) for name, inside in found.items()}

    def _latest(self, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The latest baskets of each customer: a few customers must not be most of what is fitted."""
        left = np.bincount(self.baskets.customer[among], minlength=len(self.baskets.customers))
        latest = left[self.baskets.customer] - self.baskets.earlier <= _LATEST
        return self._some(among & latest & (self.baskets.earlier >= EARLIER - 1))

    def _some(self, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
        at = np.flatnonzero(among)
        if len(at) > _FITTED:
            at = np.random.default_rng(self.seed).choice(at, _FITTED, replace=False)
        out = np.zeros(len(among), np.bool_)
        out[at] = True
        return out


def _within(figures: Figures, inside: NDArray[np.float64]) -> Figures:
    return lambda weight: figures(weight * inside)


def _thinned(basket: NDArray[np.int64], keep: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """Some products of each basket, at random."""
    order = np.lexsort((np.random.default_rng(seed).random(len(basket)), basket))
    of = basket[order]
    place = np.arange(len(of)) - np.searchsorted(of, of)
    few = np.zeros(len(basket), np.bool_)
    few[order[place < _PRODUCTS]] = True
    return few & keep
