"""Task reorder: P(bought again within 7, 14 and 30 days) of each product of a customer's repertoire."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from export import metrics as m
from export.datasets import reorder as dataset
from export.fit import Recipe, seeded, train
from export.history import Log
from export.networks.reorder import HORIZONS_DAYS, ReorderNet
from export.split import Split, split_of
from export.tasks.base import Arrays, Evaluation, Task, Tell, finite, popular_products
from models.manifest import Fallback, Metric

_HORIZON_WEIGHTS = (0.2, 0.2, 0.6)
_BASELINE_ROWS = 150_000


class Reorder(Task):
    """See the module."""

    name = "reorder"
    task = "reorder"
    epochs = 8

    def split(self, log: Log) -> Split:
        """30 days of gap."""
        return split_of(log.first_ms, log.last_ms, horizon_days=HORIZONS_DAYS[-1])

    def build(self, log: Log, split: Split, seed: int) -> Arrays:
        """A row a (as-of time, product)."""
        return dataset.build(log, split.test_until_ms, seed)

    def network(self) -> Any:
        """An additive network."""
        return ReorderNet()

    def train(self, arrays: Arrays, split: Split, epochs: int, seed: int, tell: Tell) -> tuple[Any, dict[str, float]]:
        """Chooses the number of epochs and calibrates on validation, then fits on both parts."""
        recipe = Recipe(epochs=epochs, batch=4096, rate=2e-3, decay=0.3, seed=seed)
        x, y = _tensors(arrays, split.train(arrays["as_of_ms"]))
        vx, vy = _tensors(arrays, split.validation(arrays["as_of_ms"]))
        first = self._fresh(x, seed)

        def validate() -> float:
            return float(_loss(first, vx, vy))

        best = train(
            first,
            lambda i: _loss(first, x[i], y[i]),
            len(x),
            recipe,
            validate,
            lambda t, s: tell(f"choosing: {t}", s / 2),
        )
        first.net.freeze()
        _calibrate(first, vx, vy)
        with torch.no_grad():
            figure = float(_loss(first, vx, vy))
        x, y = _tensors(arrays, split.fit(arrays["as_of_ms"]))
        final = self._fresh(x, seed)
        again = Recipe(epochs=best, batch=4096, rate=2e-3, decay=0.3, seed=seed)
        train(
            final,
            lambda i: _loss(final, x[i], y[i]),
            len(x),
            again,
            None,
            lambda t, s: tell(f"fitting: {t}", 0.5 + s / 2),
        )
        final.net.freeze()
        for name in ("scale", "shift", "steps"):
            getattr(final, name).copy_(getattr(first, name))
        with torch.no_grad():
            final.centre.copy_(torch.cat([final.net(final.inputs(part))[0] for part in x.split(65536)]).mean(dim=0))
        return final, {
            "epochs": best,
            "validation_loss": figure,
            "scale": float(final.scale),
            "shift": float(final.shift),
        }

    def _fresh(self, x: Any, seed: int) -> Any:
        seeded(seed)
        network = self.network()
        network.inputs.learn(x.numpy())
        return network

    def evaluate(self, network: Any, arrays: Arrays, split: Split) -> Evaluation:
        """Classification and ranking figures against personal frequency and logistic regression."""
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

    def inputs(self, arrays: Arrays, split: Split, rows: int, seed: int) -> Arrays:
        """Rows of the test period."""
        at = np.flatnonzero(split.test(arrays["as_of_ms"]))
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
        found = finite(outputs, "probability", "contributions")
        if not ((p >= 0) & (p <= 1)).all():
            found.append("probability is outside [0, 1]")
        if not (np.diff(p, axis=1) >= -1e-6).all():
            found.append("probability falls with a longer horizon")
        return found

    def fallback(self, log: Log, split: Split) -> Fallback:
        """Popular products."""
        return popular_products(log, split.fit_until_ms)


def _tensors(arrays: Arrays, rows: Any) -> tuple[Any, Any]:
    days = arrays["next_days"][rows]
    labels = np.stack([days <= horizon for horizon in HORIZONS_DAYS], axis=1).astype(np.float32)
    return torch.from_numpy(arrays["features"][rows]), torch.from_numpy(labels)


def _loss(network: Any, x: Any, y: Any) -> Any:
    logits = network.logits(*network.raw(x))
    weight = torch.tensor(_HORIZON_WEIGHTS)
    return (F.binary_cross_entropy_with_logits(logits, y, reduction="none") * weight).sum(dim=1).mean()


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
