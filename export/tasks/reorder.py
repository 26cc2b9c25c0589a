"""Task reorder: P(bought again within 7, 14 and 30 days) of each product of a customer's repertoire, and its rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from export import metrics as m
from export.datasets import reorder as dataset
from export.evaluations.reorder import measure
from export.fit import Recipe, seeded, train
from export.history import Log
from export.networks.reorder import HORIZONS_DAYS, ReorderNet
from export.split import Split, split_of
from export.tasks.base import Arrays, Evaluation, Task, Tell, finite, popular_products
from export.tasks.lists import lists_of
from features.aggregations.base import DAY_MS
from features.vectors.reorder import FEATURES, JOINED
from models.manifest import Fallback, Metric

_HORIZON_WEIGHTS = (0.2, 0.2, 0.6)
_BASELINE_ROWS = 150_000
#: Rows and lists of one fit, by lot: training is to take minutes on a CPU.
_MOST_ROWS, _MOST_LISTS = 300_000, 4_000
_DRAWS = 200


class Reorder(Task):
    """See the module."""

    name = "reorder"
    task = "reorder"
    epochs = 3

    def split(self, log: Log) -> Split:
        """30 days of gap."""
        return split_of(log.first_ms, log.last_ms, horizon_days=HORIZONS_DAYS[-1])

    def build(self, log: Log, split: Split, seed: int) -> Arrays:
        """A row a (as-of time, product)."""
        return dataset.build(log, split.test_until_ms, seed)

    def network(self) -> Any:
        """Weighed features, and what ranks."""
        return ReorderNet()

    def train(self, arrays: Arrays, split: Split, epochs: int, seed: int, tell: Tell) -> tuple[Any, dict[str, float]]:
        """Chooses the numbers of epochs and calibrates on validation, then fits on all that was known by the test."""
        chance_only = arrays["moment"] != dataset.BEFORE
        inside = split.validation(arrays["as_of_ms"])
        known = _Known(arrays, inside & chance_only, split.test_from_ms)
        lists = inside & ~chance_only
        first = self._fresh(arrays, split.validation_from_ms, seed)
        best = self._fit(first, arrays, split.validation_from_ms, (epochs, epochs), seed, (known, lists), tell, 0.0)
        _calibrate(first, first.inputs(known.x), known.y)
        with torch.no_grad():
            figure = float(_loss(first, first.inputs(known.x), known.y, known.weight))
            ndcg = lists_of(arrays, lists, first.inputs).ndcg(first.places)
        final = self._fresh(arrays, split.test_from_ms, seed)
        self._fit(final, arrays, split.test_from_ms, best, seed, None, tell, 0.5)
        for name in ("scale", "shift", "steps"):
            getattr(final, name).copy_(getattr(first, name))
        self._centre(final, arrays, split)
        return final, {
            "epochs": best[0],
            "epochs_rank": best[1],
            "validation_loss": figure,
            "validation_ndcg": ndcg,
            "scale": float(final.scale),
            "shift": float(final.shift),
        }

    def _fresh(self, arrays: Arrays, until_ms: int, seed: int) -> Any:
        seeded(seed)
        network = self.network()
        network.inputs.learn(arrays["features"][arrays["as_of_ms"] < until_ms])
        return network

    def _fit(
        self, network: Any, arrays: Arrays, until_ms: int, epochs: Any, seed: int, against: Any, tell: Tell, done: float
    ) -> tuple[int, int]:
        """Trains both parts on what was known at `until_ms`; they share no weights. Gives the epochs of each."""
        what = "fitting" if against is None else "choosing"
        earlier = arrays["as_of_ms"] < until_ms
        before = arrays["moment"] == dataset.BEFORE
        known = _Known(arrays, _some(earlier & ~before, _MOST_ROWS, seed), until_ms)
        with torch.no_grad():
            x = network.inputs(known.x)
            vx = network.inputs(against[0].x) if against else None
        chances = train(
            network.net,
            lambda i: _loss(network, x[i], known.y[i], known.weight[i]),
            len(x),
            Recipe(epochs=epochs[0], batch=4096, rate=2e-3, decay=0.05, seed=seed),
            (lambda: float(_loss(network, vx, against[0].y, against[0].weight))) if against else None,
            lambda t, s: tell(f"{what} chances: {t}", done + s / 4),
        )
        orders = earlier & before & _some_groups(arrays["group"], earlier & before, _MOST_LISTS, seed)
        lists = lists_of(arrays, orders, network.inputs)
        shown = lists_of(arrays, against[1], network.inputs) if against else None
        ranks = train(
            network.places,
            lambda i: lists.loss(network.places, i),
            len(lists),
            Recipe(epochs=epochs[1], batch=64, rate=2e-3, decay=0.05, seed=seed),
            (lambda: -shown.ndcg(network.places)) if shown else None,
            lambda t, s: tell(f"{what} ranks: {t}", done + 0.25 + s / 4),
        )
        return chances, ranks

    def _centre(self, network: Any, arrays: Arrays, split: Split) -> None:
        fitted = split.fit(arrays["as_of_ms"]) & (arrays["moment"] != dataset.BEFORE)
        x = torch.from_numpy(arrays["features"][fitted])
        with torch.no_grad():
            sums = [network.net(network.inputs(part))[0].sum(dim=0) for part in x.split(65536)]
            network.centre.copy_(torch.stack(sums).sum(dim=0) / max(len(x), 1))

    def evaluate(self, network: Any, arrays: Arrays, split: Split) -> Evaluation:
        """Classification and ranking figures against personal frequency and logistic regression."""
        arrays = _as_fed(arrays)
        test = split.test(arrays["as_of_ms"])
        x, labels = _tensors(arrays, test)
        with torch.no_grad():
            probability = network(x)[0].numpy()
        label = labels[:, 2].numpy()
        scores = {"": probability[:, 2].astype(np.float64)} | _baselines(network, arrays, split, x)
        group = arrays["group"][test]
        found = {name: _figures(group, label, score) for name, score in scores.items()}
        metrics = [
            Metric(name=f"{key}, 30 days", value=value, baselines={b: found[b][key] for b in found if b})
            for key, value in found[""].items()
        ]
        for column, days in enumerate(HORIZONS_DAYS[:2]):
            y, p = labels[:, column].numpy(), probability[:, column]
            metrics.append(Metric(name=f"AUC, {days} days", value=m.auc(y, p)))
            metrics.append(Metric(name=f"ECE, {days} days", value=m.calibration_error(y, p)))
        calibration = {
            "ece_30_days": found[""]["ECE"],
            "mean_probability_30_days": float(probability[:, 2].mean()),
            "rate_30_days": float(label.mean()),
            "scale": float(network.scale),
            "shift": float(network.shift),
        }
        return Evaluation(metrics, calibration, len(label), _notes(arrays, split, probability[:, 2]))

    def measured(self, network: Any, events: Path, split: Split) -> list[Metric]:
        """The next basket and what was bought again, as `export.evaluations.reorder` measures a released model."""

        def scores(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            with torch.no_grad():
                parts = [network(part) for part in torch.from_numpy(features).split(65_536)]
            chance, rank = (torch.cat([part[i] for part in parts]).double().numpy() for i in (0, 2))
            return rank, chance[:, -1]

        return measure(scores, events, split.test_from_ms, draws=_DRAWS)

    def inputs(self, arrays: Arrays, split: Split, rows: int, seed: int) -> Arrays:
        """Rows of the test period."""
        held = ~arrays["wide"] & (arrays["moment"] != dataset.BEFORE)
        at = np.flatnonzero(split.test(arrays["as_of_ms"]) & held)
        pick = np.random.default_rng(seed).choice(at, rows, replace=len(at) < rows)
        return {"features": arrays["features"][pick]}

    def hostile(self, inputs: Arrays) -> list[Arrays]:
        """NaN, zero, huge, and negative features."""
        shape = inputs["features"].shape
        values = (np.nan, 0.0, 1e30, -1e30, np.inf)
        return [{"features": np.full(shape, value, np.float32)} for value in values]

    def problems(self, inputs: Arrays, outputs: Arrays) -> list[str]:
        """Probabilities outside [0, 1], decreasing with the horizon, or anything not finite."""
        p = outputs["probability"]
        found = finite(outputs, "probability", "contributions", "rank")
        if not ((p >= 0) & (p <= 1)).all():
            found.append("probability is outside [0, 1]")
        if not (np.diff(p, axis=1) >= -1e-6).all():
            found.append("probability falls with a longer horizon")
        return found

    def fallback(self, log: Log, split: Split) -> Fallback:
        """Popular products."""
        return popular_products(log, split.fit_until_ms)


class _Known:
    """Rows with what was known of their labels at a time: a horizon that reaches past it weighs nothing.

    So the weeks before a test help with the shorter horizons, and none of their labels is from the test.
    """

    def __init__(self, arrays: Arrays, rows: NDArray[np.bool_], until_ms: int) -> None:
        self.x, self.y = _tensors(arrays, rows)
        ends = arrays["as_of_ms"][rows][:, None] + np.array(HORIZONS_DAYS) * DAY_MS
        weight = (ends <= until_ms) * np.array(_HORIZON_WEIGHTS)
        self.weight = torch.from_numpy(weight.astype(np.float32))


def _some(rows: NDArray[np.bool_], most: int, seed: int) -> NDArray[np.bool_]:
    """At most so many of the rows, by lot."""
    at = np.flatnonzero(rows)
    if len(at) > most:
        at = np.random.default_rng(seed).choice(at, most, replace=False)
    out = np.zeros(len(rows), np.bool_)
    out[at] = True
    return out


def _some_groups(group: NDArray[np.int64], rows: NDArray[np.bool_], most: int, seed: int) -> NDArray[np.bool_]:
    """The rows of at most so many of their groups, by lot."""
    there = np.zeros(int(group.max()) + 1, np.bool_)
    there[group[rows]] = True
    return _some(there, most, seed)[group]


def _as_fed(arrays: Arrays) -> Arrays:
    """The rows that the engine scores, as it feeds them: of the live tables, without joined features."""
    held = ~arrays["wide"] & (arrays["moment"] != dataset.BEFORE)
    found = {name: column[held] for name, column in arrays.items()}
    found["features"][:, [list(FEATURES).index(name) for name in JOINED]] = np.nan
    return found


def _tensors(arrays: Arrays, rows: Any) -> tuple[Any, Any]:
    days = arrays["next_days"][rows]
    labels = np.stack([days <= horizon for horizon in HORIZONS_DAYS], axis=1).astype(np.float32)
    return torch.from_numpy(arrays["features"][rows]), torch.from_numpy(labels)


def _loss(network: Any, x: Any, y: Any, weight: Any) -> Any:
    logits = network.logits(*network.raw(x))
    return (F.binary_cross_entropy_with_logits(logits, y, reduction="none") * weight).sum() / weight.sum().clamp_min(
        1e-6
    )


def _calibrate(network: Any, x: Any, y: Any) -> None:
    """Platt scaling of the longest horizon, and a factor for each step to a shorter one."""
    with torch.no_grad():
        longest, steps = network.raw(x)
    free = torch.tensor([1.0, 0.0, 1.0, 1.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([free], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimiser.zero_grad()
        last = free[0] * longest + free[1]
        middle = last - free[3].clamp_min(0.1) * steps[:, 1]
        logits = torch.stack([middle - free[2].clamp_min(0.1) * steps[:, 0], middle, last], dim=1)
        value = F.binary_cross_entropy_with_logits(logits, y)
        value.backward()
        return value

    optimiser.step(closure)
    fitted = free.detach()
    network.scale.copy_(fitted[:1])
    network.shift.copy_(fitted[1:2])
    network.steps.copy_(fitted[2:].clamp_min(0.1))


def _baselines(network: Any, arrays: Arrays, split: Split, test: Any) -> dict[str, Any]:
    at = np.flatnonzero(split.fit(arrays["as_of_ms"]))
    rng = np.random.default_rng(0)
    pick = rng.choice(at, min(_BASELINE_ROWS, len(at)), replace=False)
    x, y = _tensors(arrays, pick)
    label = y[:, 2].numpy()
    with torch.no_grad():
        inputs, test_inputs = network.inputs(x).numpy(), network.inputs(test).numpy()
    share = [np.log(t[:, 1:2].numpy().clip(1e-3, 0.999)) for t in (x, test)]
    frequency = LogisticRegression().fit(share[0], label)
    logistic = LogisticRegression(max_iter=300).fit(inputs, label)
    return {
        "personal frequency": frequency.predict_proba(share[1])[:, 1],
        "logistic regression": logistic.predict_proba(test_inputs)[:, 1],
    }


def _figures(group: Any, label: Any, score: Any) -> dict[str, float]:
    return {
        "AUC": m.auc(label, score),
        "AP": m.average_precision(label, score),
        "log loss": m.log_loss(label, score),
        "ECE": m.calibration_error(label, score),
    } | m.ranking(group, label, score)


def _notes(arrays: Arrays, split: Split, probability: Any) -> list[str]:
    test = split.test(arrays["as_of_ms"])
    label = arrays["next_days"][test] <= HORIZONS_DAYS[-1]
    notes = [
        f"On average the model says {probability.mean():.4f} for 30 days; {label.mean():.4f} of the test rows were "
        f"bought again. The rate of the rows it was fitted on was "
        f"{(arrays['next_days'][split.fit(arrays['as_of_ms'])] <= HORIZONS_DAYS[-1]).mean():.4f}."
    ]
    customer = arrays["customer"][test]
    heavy = np.argsort(-np.bincount(customer))[:3]
    rest = ~np.isin(customer, heavy)
    if rest.any() and 0 < label[rest].mean() < 1:
        notes.append(
            f"Without the three customers with most rows ({1 - rest.mean():.0%} of them): AUC "
            f"{m.auc(label[rest], probability[rest]):.3f}, "
            f"AP {m.average_precision(label[rest], probability[rest]):.3f}, "
            f"log loss {m.log_loss(label[rest], probability[rest]):.3f}, "
            f"ECE {m.calibration_error(label[rest], probability[rest]):.4f}, rate {label[rest].mean():.3f}."
        )
    return notes
