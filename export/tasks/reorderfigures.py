"""Figures of reorder on rows as the engine scores them: chances, dates and activity, beside simple baselines."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from export.curves import curve_of
from export.datasets.baskets import taken
from export.datasets.reorder import BEFORE
from export.datasets.sequences import sequences_of
from export.evaluations.bootstrap import Resamples, beside, resamples
from export.evaluations.segments import by_customers, heaviest
from export.evaluations.weighted import calibration as calibration_of
from export.evaluations.weighted import mean, means, probabilities, rankings
from export.networks.reorder import ACTIVE_DAYS, HORIZONS_DAYS
from export.split import Split
from export.tasks.base import Arrays, Evaluation
from export.tasks.chances import labels
from features.vectors.reorder import FEATURES, JOINED
from models.manifest import Metric

_BASELINE_ROWS = 150_000
_PART = 16_384
_JOINED = [list(FEATURES).index(name) for name in JOINED]
_SHARE, _SINCE, _GAP, _CUSTOMER_SINCE, _ORDERS = (
    list(FEATURES).index(name)
    for name in ("product_share", "product_days_since", "product_gap_days", "customer_days_since", "customer_orders")
)
#: Places of a list that count.
PLACES = 10
_SEED = 7

Owner = NDArray[np.int64]
Scores = dict[str, NDArray[np.float64]]


def outputs(network: Any, rows: Arrays) -> list[NDArray[np.float32]]:
    """What a network gives for rows of a data set, an array an output of the task."""
    sequences, features = sequences_of(rows), torch.from_numpy(rows["features"])
    parts = []
    with torch.no_grad():
        for begin in range(0, len(features), _PART):
            at = slice(begin, begin + _PART)
            parts.append(network(features[at], *sequences.tensors(rows["group"][at], rows["product"][at])))
    return [torch.cat(of).numpy() for of in zip(*parts, strict=True)]


def evaluation(network: Any, arrays: Arrays, split: Split, draws: int) -> Evaluation:
    """Figures of the test period, with so many draws of customers, beside personal frequency and a regression."""
    arrays = _as_fed(arrays)
    test = taken(arrays, split.test(arrays["as_of_ms"]))
    chance, _, _, next_days, active = outputs(network, test)
    y = labels(test, np.arange(len(chance))).numpy()
    owner = np.unique(test["customer"], return_inverse=True)[1].astype(np.int64)
    drawn = resamples(int(owner.max()) + 1, draws, _SEED)
    scores = {"": chance[:, 2].astype(np.float64)} | _baselines(network, arrays, split, test)
    metrics = [
        *beside({who: probabilities(y[:, 2], p) for who, p in scores.items()}, owner, drawn, "{}, 30 days"),
        *_lists(test["group"], y[:, 2], scores, owner, drawn),
    ]
    for column, days in enumerate(HORIZONS_DAYS[:2]):
        figures = {"": probabilities(y[:, column], chance[:, column])}
        metrics += beside(figures, owner, drawn, f"{{}}, {days} days")
    for name, at in by_customers(test["features"][:, _ORDERS], owner, heaviest(owner)).items():
        metrics += beside({"": probabilities(y[at, 2], chance[at, 2])}, owner[at], drawn, f"{{}}, 30 days, {name}")
    metrics += [*_date_error(test, next_days, owner, drawn), *_activity(arrays, split, test, active, owner, drawn)]
    calibration = {
        "ece_30_days": next(metric.value for metric in metrics if metric.name == "ECE, 30 days"),
        "mean_probability_30_days": float(chance[:, 2].mean()),
        "rate_30_days": float(y[:, 2].mean()),
    }
    curves = [
        curve_of(f"bought again within {days} days", y[:, column], chance[:, column])
        for column, days in enumerate(HORIZONS_DAYS)
    ]
    return Evaluation(metrics, calibration, len(y), [_note(arrays, split, test, chance[:, 2])], curves)


def _as_fed(arrays: Arrays) -> Arrays:
    """The rows that the engine scores, as it feeds them: of the live tables, with joined features."""
    live = ~arrays["wide"] & (arrays["moment"] != BEFORE)
    return taken(arrays, live & ~np.isnan(arrays["features"][:, _JOINED[0]]))


def _lists(group: Owner, label: Any, scores: Scores, owner: Owner, drawn: Resamples) -> list[Metric]:
    """How well the products of a moment are ranked, of moments after which any is bought again."""
    wanted, whose = np.bincount(group, weights=label).astype(np.int64), np.zeros(group.max() + 1, np.int64)
    some, whose[group] = wanted[group] > 0, owner
    if not some.any():
        return []
    ranked = {who: rankings(group[some], label[some], p[some], wanted, PLACES) for who, p in scores.items()}
    figures = {who: means(gains, PLACES) for who, (_, gains) in ranked.items()}
    return beside(figures, whose[ranked[""][0]], drawn, "{}, 30 days")


def _date_error(test: Arrays, next_days: NDArray[np.float32], owner: Owner, drawn: Resamples) -> list[Metric]:
    """How many days the expected date is off; all that is later than the longest horizon is the same."""
    most = float(HORIZONS_DAYS[-1])
    since, gap = test["features"][:, _SINCE], test["features"][:, _GAP]
    rhythm = np.nan_to_num(np.clip(gap - since, 0.0, most), nan=most)
    true = np.minimum(test["next_days"], most)
    off = {"": np.minimum(next_days, most), "own rhythm": rhythm, "never": np.full(len(true), most)}
    what = "days off, at most 30"
    return beside({who: mean(what, np.abs(days - true)) for who, days in off.items()}, owner, drawn, "{}")


def _activity(
    arrays: Arrays, split: Split, test: Arrays, active: NDArray[np.float32], owner: Owner, drawn: Resamples
) -> list[Metric]:
    """Whether the customer orders again, a row a moment, beside a logistic regression of the last order's age."""
    fitted = split.fit(arrays["as_of_ms"])
    past = taken(arrays, np.flatnonzero(fitted)[_firsts(arrays["group"][fitted])])
    here = _firsts(test["group"])
    y = test["order_days"][here] <= ACTIVE_DAYS
    ages = [np.log1p(rows["features"][:, _CUSTOMER_SINCE : _CUSTOMER_SINCE + 1]) for rows in (past, taken(test, here))]
    model = LogisticRegression().fit(ages[0], past["order_days"] <= ACTIVE_DAYS)
    scores = {"": active[here].astype(np.float64), "recency": model.predict_proba(ages[1])[:, 1]}
    what, whose = f"customer orders within {ACTIVE_DAYS} days", owner[here]
    found = beside({who: probabilities(y, p) for who, p in scores.items()}, whose, drawn, f"{{}}, {what}")
    for name, at in by_customers(test["features"][here, _ORDERS], whose, heaviest(owner)).items():
        found += beside({"": calibration_of(y[at], scores[""][at])}, whose[at], drawn, f"{{}}, {what}, {name}")
    return found


def _firsts(group: NDArray[np.int64]) -> NDArray[np.intp]:
    return np.unique(group, return_index=True)[1]


def _baselines(network: Any, arrays: Arrays, split: Split, test: Arrays) -> dict[str, NDArray[np.float64]]:
    at = np.flatnonzero(split.fit(arrays["as_of_ms"]))
    pick = np.random.default_rng(0).choice(at, min(_BASELINE_ROWS, len(at)), replace=False)
    rows = [torch.from_numpy(x) for x in (arrays["features"][pick], test["features"])]
    label = labels(arrays, pick)[:, 2].numpy()
    with torch.no_grad():
        inputs = [network.inputs(x).numpy() for x in rows]
    share = [np.log(x[:, _SHARE : _SHARE + 1].numpy().clip(1e-3, 0.999)) for x in rows]
    models = {"personal frequency": share, "logistic regression": inputs}
    return {
        name: LogisticRegression(max_iter=300).fit(x[0], label).predict_proba(x[1])[:, 1] for name, x in models.items()
    }


def _note(arrays: Arrays, split: Split, test: Arrays, probability: Any) -> str:
    label = test["next_days"] <= HORIZONS_DAYS[-1]
    return (
        f"On average the model says {probability.mean():.4f} for 30 days; {label.mean():.4f} of the test rows were "
        f"bought again. The rate of the rows it was fitted on was "
        f"{(arrays['next_days'][split.fit(arrays['as_of_ms'])] <= HORIZONS_DAYS[-1]).mean():.4f}."
    )
