"""Task stockout: the demand over the lead time as quantiles, and what follows for a stock position."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import stats  # type: ignore[import-untyped]  # ships no types

from export import metrics as m
from export.datasets import stockout as dataset
from export.fit import Recipe, seeded, train
from export.history import Log
from export.networks.quantiles import LEVELS
from export.networks.stockout import StockoutNet
from export.split import Split, split_of
from export.tasks.base import Arrays, Evaluation, Task, Tell, finite
from features.aggregations.base import DAY_MS
from features.vectors.stockout import FEATURES
from models.manifest import Metric

_BASE = list(FEATURES)
_SERVICE_LEVEL = 0.9


class Stockout(Task):
    """See the module."""

    name = "stockout"
    task = "stockout"
    shared = frozenset({"service_level"})
    epochs = 16
    simulated = ("lead_time_days of the catalog, the horizon of test rows", "stock positions in the risk figures")

    def split(self, log: Log) -> Split:
        """28 days of gap, the longest horizon."""
        return split_of(log.first_ms, log.last_ms, horizon_days=dataset.HORIZON_DAYS)

    def build(self, log: Log, split: Split, seed: int) -> Arrays:
        """A row an (item, day); four weeks are left for the windows to fill."""
        from_ms = split.first_ms + 28 * DAY_MS
        return dataset.build(log, from_ms, split.test_until_ms, split.test_from_ms, seed)

    def network(self) -> Any:
        """An additive network to quantiles."""
        return StockoutNet()

    def train(self, arrays: Arrays, split: Split, epochs: int, seed: int, tell: Tell) -> tuple[Any, dict[str, float]]:
        """Chooses the number of epochs on validation, then fits on both parts."""
        recipe = Recipe(epochs=epochs, batch=2048, rate=3e-3, decay=1e-3, patience=4, seed=seed)
        x, h, y = _tensors(arrays, split.train(arrays["as_of_ms"]))
        vx, vh, vy = _tensors(arrays, split.validation(arrays["as_of_ms"]))
        first = self._fresh(x, seed)

        def validate() -> float:
            return float(_loss(first, vx, vh, vy))

        def loss(i: Any) -> Any:
            return _loss(first, x[i], h[i], y[i])

        best = train(first, loss, len(x), recipe, validate, lambda t, s: tell(f"choosing: {t}", s / 2))
        first.net.freeze()
        with torch.no_grad():
            figure = validate()
        x, h, y = _tensors(arrays, split.fit(arrays["as_of_ms"]))
        final = self._fresh(x, seed)
        again = Recipe(epochs=best, batch=2048, rate=3e-3, decay=1e-3, seed=seed)

        def final_loss(i: Any) -> Any:
            return _loss(final, x[i], h[i], y[i])

        train(final, final_loss, len(x), again, None, lambda t, s: tell(f"fitting: {t}", 0.5 + s / 2))
        final.net.freeze()
        with torch.no_grad():
            parts = [final.parts(a, b)[:2] for a, b in zip(x.split(65536), h.split(65536), strict=True)]
            final.centre[:-1].copy_(torch.cat([terms for terms, _ in parts]).mean(dim=0))
            final.centre[-1].copy_(torch.cat([clock for _, clock in parts]).mean())
        return final, {"epochs": best, "validation_loss": figure}

    def _fresh(self, x: Any, seed: int) -> Any:
        seeded(seed)
        network = self.network()
        network.inputs.learn(x.numpy())
        return network

    def evaluate(self, network: Any, arrays: Arrays, split: Split) -> Evaluation:
        """Pinball loss, coverage, and the calibration of the risk at positions around the median."""
        test = split.test(arrays["as_of_ms"])
        x, h, y = _tensors(arrays, test)
        demand = y.numpy()
        with torch.no_grad():
            published = network(x, h, torch.zeros(len(x)), torch.tensor([_SERVICE_LEVEL]))[1].numpy()
        rng = np.random.default_rng(0)
        position = np.rint((published[:, 1] + 1) * np.exp(rng.normal(0.0, 1.0, len(x))) - 1).clip(0)
        with torch.no_grad():
            risk = network(x, h, torch.from_numpy(position.astype(np.float32)), torch.tensor([_SERVICE_LEVEL]))[
                0
            ].numpy()
        out = (demand > position).astype(np.float32)
        mean, variance = _rate(arrays, test)
        quantiles = {
            "": {level: published[:, i] for i, level in enumerate((0.1, 0.5, 0.9))},
            "Poisson, 28-day mean": {q: stats.poisson.ppf(q, mean) for q in (0.1, 0.5, 0.9)},
            "negative binomial, 28 days": {q: _negative_binomial(mean, variance).ppf(q) for q in (0.1, 0.5, 0.9)},
            "seasonal naive": dict.fromkeys((0.1, 0.5, 0.9), arrays["recent"][test]),
        }
        risks = {
            "": risk,
            "Poisson, 28-day mean": stats.poisson.sf(position, mean),
            "negative binomial, 28 days": _negative_binomial(mean, variance).sf(position),
        }
        metrics = [
            _metric(f"pinball {level}", {n: m.pinball(demand, q[level], level) for n, q in quantiles.items()})
            for level in (0.5, 0.9)
        ]
        logged = np.log1p(demand)
        metrics += [
            _metric(
                f"pinball {level}, log1p",
                {n: m.pinball(logged, np.log1p(q[level]), level) for n, q in quantiles.items()},
            )
            for level in (0.5, 0.9)
        ]
        metrics += [
            _metric(
                f"coverage of the {level} quantile",
                {n: float((demand <= q[level]).mean()) for n, q in quantiles.items()},
            )
            for level in (0.1, 0.5, 0.9)
        ]
        metrics += [
            _metric("ECE of P(demand > position)", {n: m.calibration_error(out, r) for n, r in risks.items()}),
            _metric("log loss of P(demand > position)", {n: m.log_loss(out, r) for n, r in risks.items()}),
        ]
        calibration = {
            "ece_risk": m.calibration_error(out, risk),
            "coverage_0.9": float((demand <= published[:, 2]).mean()),
            "mean_risk": float(risk.mean()),
            "rate_over_position": float(out.mean()),
        }
        return Evaluation(metrics, calibration, len(x), _notes(demand, published, h.numpy()))

    def inputs(self, arrays: Arrays, split: Split, rows: int, seed: int) -> Arrays:
        """Rows of the test period, at made-up positions; an eighth of them unknown."""
        at = np.flatnonzero(split.test(arrays["as_of_ms"]))
        rng = np.random.default_rng(seed)
        pick = rng.choice(at, rows, replace=len(at) < rows)
        position = np.rint(arrays["demand"][pick] * rng.lognormal(0.0, 1.0, rows)).astype(np.float32)
        position[::8] = np.nan
        return {
            "features": arrays["features"][pick],
            "lead_time_days": arrays["horizon_days"][pick].astype(np.float32),
            "position": position,
            "service_level": np.array([_SERVICE_LEVEL], np.float32),
        }

    def hostile(self, inputs: Arrays) -> list[Arrays]:
        """Each row input in turn, and all together, at NaN, zero, huge and negative values; odd service levels."""
        found = [inputs | {"service_level": np.array([level], np.float32)} for level in (0.0, 1.0, -1.0, np.nan, 1e30)]
        rows = ("features", "lead_time_days", "position")
        for value in (np.nan, 0.0, 1e30, -1e30, np.inf):
            changed = {name: np.full(inputs[name].shape, value, np.float32) for name in rows}
            found += [inputs | changed, *(inputs | {name: array} for name, array in changed.items())]
        return found

    def problems(self, inputs: Arrays, outputs: Arrays) -> list[str]:
        """Risks outside [0, 1], quantiles that cross, or anything not finite where the position is known."""
        found = finite(outputs, "demand_quantiles", "order_quantity", "contributions")
        unknown = np.isnan(inputs["position"])
        risk = outputs["p_stockout"]
        if not np.isnan(risk[unknown]).all():
            found.append("p_stockout is a number where the position is unknown")
        if not ((risk[~unknown] >= 0) & (risk[~unknown] <= 1)).all():
            found.append("p_stockout is outside [0, 1]")
        if not (np.diff(outputs["demand_quantiles"], axis=1) >= 0).all():
            found.append("quantiles cross")
        if not (outputs["demand_quantiles"] >= 0).all() or not (outputs["order_quantity"] >= 0).all():
            found.append("a quantile or an order quantity is negative")
        return found


def _tensors(arrays: Arrays, rows: Any) -> tuple[Any, Any, Any]:
    features, horizon = arrays["features"][rows], arrays["horizon_days"][rows].astype(np.float32)
    return torch.from_numpy(features), torch.from_numpy(horizon), torch.from_numpy(arrays["demand"][rows])


def _loss(network: Any, x: Any, horizon: Any, demand: Any) -> Any:
    """Mean pinball loss over all levels, in log1p of units: big items do not drown the small."""
    over = torch.log1p(demand)[:, None] - network.quantiles(x, horizon)
    levels = torch.tensor(LEVELS)
    return torch.maximum(levels * over, (levels - 1) * over).mean()


def _rate(arrays: Arrays, rows: Any) -> tuple[Any, Any]:
    features, horizon = arrays["features"][rows].astype(np.float64), arrays["horizon_days"][rows]
    daily = np.maximum(features[:, _BASE.index("units_28d")], 0.0) / 28.0
    spread = features[:, _BASE.index("units_std_28d")] ** 2
    mean = np.maximum(daily * horizon, 1e-3)
    return mean, np.maximum(spread * horizon, mean * 1.01)


def _negative_binomial(mean: Any, variance: Any) -> Any:
    """By moments: the 28-day mean and variance of daily units, as if days were independent."""
    p = mean / variance
    return stats.nbinom(mean * p / (1 - p), p)


def _metric(name: str, values: dict[str, float]) -> Metric:
    return Metric(name=name, value=values[""], baselines={n: float(v) for n, v in values.items() if n})


def _notes(demand: Any, published: Any, horizon: Any) -> list[str]:
    parts = []
    for low, high in ((1, 7), (8, 14), (15, 28)):
        rows = (horizon >= low) & (horizon <= high)
        if rows.any():
            parts.append(f"{low}–{high} days {(demand[rows] <= published[rows, 2]).mean():.3f}")
    error = np.abs(demand - published[:, 1]).sum() / max(demand.sum(), 1.0)
    return [
        f"Coverage of the 0.9 quantile by lead time: {', '.join(parts)}.",
        f"WAPE of the median: {error:.3f}; {(demand == 0).mean():.0%} of the test rows had no demand at all.",
    ]
