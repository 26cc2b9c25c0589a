"""Training the heads of hours and days: the number of epochs is chosen on validation, then both parts are fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.datasets.hourset import TEST, TRAIN, VALIDATION, Arrays, of_head
from export.fit import Recipe, seeded, train
from export.networks.hazard import HazardNet, likelihood
from export.networks.nextday import NextDayNet, censored_pinball
from export.networks.rescaled import Rescaled
from export.tasks.base import Tell

_HOURS = Recipe(epochs=3, batch=4096, rate=2e-3, decay=1e-2, patience=2, averaged=0.999)
_DAYS = Recipe(epochs=6, batch=2048, rate=2e-3, decay=1e-2, patience=2, averaged=0.999)
#: Of days that ran out. They are 43% of the days; more than this lifts the median of days that did not.
_CENSORED = 0.1
#: Epochs of the hazards are chosen on every sixth row; what is usual of a feature is learnt on fewer.
_CHOSEN_ON, _LEARNT_ON = 6, 4
_CHUNK = 65_536

Rows = NDArray[np.int64]
Loss = Callable[[Rows], Any]


def fit_hours(net: HazardNet, arrays: Arrays, seed: int, epochs: int, tell: Tell) -> dict[str, float]:
    """Trains the hazards in place.

    Args:
        net: fresh.
        arrays: as `datasets.hourset.build` gives them.
        seed: of weights and order of rows.
        epochs: at most; the recipe has a limit of its own.
        tell: hears how far it is.

    Returns:
        The number of epochs, and the mean loss an hour at risk on validation before the last fit.
    """
    rows = of_head(arrays, "hours")
    features, part = torch.from_numpy(rows["features"]), rows["part"]
    out, open_ = (torch.from_numpy(rows[name].astype(np.float32)) for name in ("out", "open"))

    def loss(at: Rows) -> Any:
        return likelihood(net.logits(features[at].float()), out[at], open_[at])

    teaching, checked = (np.flatnonzero(part == of)[::_CHOSEN_ON] for of in (TRAIN, VALIDATION))
    net.learn(rows["features"][teaching[::_LEARNT_ON]].astype(np.float32))
    recipe = replace(_HOURS, seed=seed, epochs=min(epochs, _HOURS.epochs))
    return _fit(net, net.net, loss, (teaching, checked, np.flatnonzero(part != TEST)), recipe, "hours", tell)


def fit_days(net: NextDayNet, arrays: Arrays, seed: int, epochs: int, tell: Tell) -> dict[str, float]:
    """Trains the quantiles of the next day in place; arguments and figures as those of `fit_hours`."""
    rows = of_head(arrays, "days")
    features, part = torch.from_numpy(rows["features"]), rows["part"]
    teaching, both = np.flatnonzero(part == TRAIN), np.flatnonzero(part != TEST)
    checked = np.flatnonzero((part == VALIDATION) & rows["whole"])
    net.learn(rows["features"][teaching])
    with torch.no_grad():
        expanded, level = net.expanded(features), net.level(features)
    sold, whole = torch.from_numpy(rows["sold"]), torch.from_numpy(rows["whole"].astype(np.float32))

    def loss(at: Rows) -> Any:
        return censored_pinball(net.quantiles(expanded[at], level[at]), sold[at], whole[at], _CENSORED)

    recipe = replace(_DAYS, seed=seed, epochs=min(epochs, _DAYS.epochs))
    return _fit(net, net.net, loss, (teaching, checked, both), recipe, "days", tell)


def _fit(
    net: Any, layers: Rescaled, loss: Loss, rows: tuple[Rows, Rows, Rows], recipe: Recipe, what: str, tell: Tell
) -> dict[str, float]:
    """Chooses on the first and second rows, fits on the third, both from the same first weights."""
    teaching, checked, both = rows
    first = _fresh(layers, recipe.seed)

    def validate() -> float:
        with torch.no_grad():
            return _mean(loss, checked)

    layers.load_state_dict(first)
    best = train(
        layers,
        lambda i: loss(teaching[i]),
        len(teaching),
        recipe,
        validate,
        lambda text, share: tell(f"choosing {what}: {text}", 0.3 * share),
    )
    figure = validate()
    layers.load_state_dict(first)
    train(
        layers,
        lambda i: loss(both[i]),
        len(both),
        replace(recipe, epochs=best),
        None,
        lambda text, share: tell(f"fitting {what}: {text}", 0.3 + 0.7 * share),
    )
    net.eval()
    return {f"{what}_epochs": best, f"{what}_validation_loss": figure}


def _fresh(layers: Rescaled, seed: int) -> Any:
    """First weights by a seed; the last biases are kept as they are."""
    seeded(seed)
    made = Rescaled([layers.layers[0].in_features, *(layer.out_features for layer in layers.layers)])
    with torch.no_grad():
        made.layers[-1].bias.copy_(layers.layers[-1].bias)
    return made.state_dict()


def _mean(loss: Loss, rows: Rows) -> float:
    parts = [rows[at : at + _CHUNK] for at in range(0, len(rows), _CHUNK)]
    return float(np.average([float(loss(part)) for part in parts], weights=[len(part) for part in parts]))
