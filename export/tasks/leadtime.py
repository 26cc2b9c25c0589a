"""Training the head of the lead time: the number of epochs is chosen on validation, then both parts are fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import special  # type: ignore[import-untyped]  # ships no types

from export.datasets.stockout import Arrays
from export.fit import Recipe, seeded, train
from export.networks.quantiles import LEVELS
from export.networks.stockout import StockoutNet
from export.split import Split
from export.tasks.base import Tell
from export.tasks.level import shift_of

_CHUNK = 65_536
#: The risk is fitted to rows whose horizon is so near to the catalog's lead time, if each outcome has so many.
_NEAR_DAYS, _LEAST_EACH = 2, 100


def fit_leadtime(
    net: StockoutNet, arrays: Arrays, split: Split, epochs: int, seed: int, tell: Tell
) -> dict[str, float]:
    """Trains the demand over the lead time in place.

    Args:
        net: what becomes of its weights does not depend on those it has.
        arrays: as `datasets.stockout.build` gives them.
        split: of their as-of times.
        epochs: at most.
        seed: of weights and order of rows.
        tell: hears how far it is.

    Returns:
        The number of epochs, the loss on validation before the last fit, and what the log-odds of the risk were shifted
        by: 0 where the log tells no positions.
    """
    recipe = Recipe(epochs=epochs, batch=2048, rate=3e-3, decay=1e-3, patience=4, seed=seed)
    x, h, y = tensors(arrays, split.train(arrays["as_of_ms"]))
    vx, vh, vy = tensors(arrays, split.validation(arrays["as_of_ms"]))
    first = _fresh(x, seed)
    best = train(
        first,
        lambda i: _loss(first, x[i], h[i], y[i]),
        len(x),
        recipe,
        lambda: float(_loss(first, vx, vh, vy)),
        lambda t, s: tell(f"choosing: {t}", s / 2),
    )
    with torch.no_grad():
        figure = float(_loss(first, vx, vh, vy))
    x, h, y = tensors(arrays, split.fit(arrays["as_of_ms"]))
    final = _fresh(x, seed)
    again = Recipe(epochs=best, batch=2048, rate=3e-3, decay=1e-3, seed=seed)
    train(
        final,
        lambda i: _loss(final, x[i], h[i], y[i]),
        len(x),
        again,
        None,
        lambda t, s: tell(f"fitting: {t}", 0.5 + s / 2),
    )
    net.load_state_dict(final.state_dict())
    net.net.freeze()
    _centre(net, x, h)
    return {"epochs": best, "validation_loss": figure, "risk_shift": calibrate(net, arrays, split)}


def tensors(arrays: Arrays, rows: Any) -> tuple[Any, Any, Any]:
    """Features, horizon in days and demand of some rows."""
    features, horizon = arrays["features"][rows], arrays["horizon_days"][rows].astype("float32")
    return torch.from_numpy(features), torch.from_numpy(horizon), torch.from_numpy(arrays["demand"][rows])


def _fresh(x: Any, seed: int) -> StockoutNet:
    seeded(seed)
    net = StockoutNet()
    net.inputs.learn(x.numpy())
    return net


def _centre(net: StockoutNet, x: Any, horizon: Any) -> None:
    """Reasons are told against the mean of the training rows."""
    with torch.no_grad():
        parts = [net.parts(a, b)[:2] for a, b in zip(x.split(_CHUNK), horizon.split(_CHUNK), strict=True)]
        net.centre[:-1].copy_(torch.cat([terms for terms, _ in parts]).mean(dim=0))
        net.centre[-1].copy_(torch.cat([clock for _, clock in parts]).mean())


def calibrate(net: StockoutNet, arrays: Arrays, split: Split) -> float:
    """Fits the shift of the risk to what happened before the test, at lead times such as it will be asked for.

    On all that time, not on validation alone: four weeks of rising demand teach that no risk is too high.
    """
    near = np.abs(arrays["horizon_days"] - arrays["lead_days"]) <= _NEAR_DAYS
    at = np.flatnonzero(split.fit(arrays["as_of_ms"]) & near & np.isfinite(arrays["position"]))
    above = arrays["demand"][at] > arrays["position"][at]
    if min(above.sum(), (~above).sum()) < _LEAST_EACH:
        return 0.0
    names = ("features", "horizon_days", "position")
    asked = [torch.from_numpy(arrays[name][at].astype(np.float32)) for name in names]
    with torch.no_grad():
        risk = net(*asked, torch.ones(1))[0].numpy().astype(np.float64)
        shift = shift_of(special.logit(np.clip(risk, 1e-6, 1 - 1e-6)), above)
        net.shift.fill_(shift)
    return shift


def _loss(net: StockoutNet, x: Any, horizon: Any, demand: Any) -> Any:
    """Mean pinball loss over all levels, in log1p of units: big items do not drown the small."""
    over = torch.log1p(demand)[:, None] - net.quantiles(x, horizon)
    levels = torch.tensor(LEVELS)
    return torch.maximum(levels * over, (levels - 1) * over).mean()
