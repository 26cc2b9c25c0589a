"""Training the heads of hours and days: the number of epochs is chosen on validation, then both parts are fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.datasets.hazard import HOURS_AHEAD
from export.datasets.hourset import TEST, TRAIN, VALIDATION, Arrays, of_head
from export.fit import Recipe, seeded, train
from export.networks.hazard import HazardNet, likelihood
from export.networks.nextday import MEDIAN, NextDayNet, apart, censored_pinball
from export.networks.rescaled import Rescaled
from export.networks.stockheads import hazard_net, next_day_net
from export.tasks.base import Tell
from export.tasks.corrected import corrected

_HOURS = Recipe(epochs=3, batch=4096, rate=2e-3, decay=1e-2, patience=2, averaged=0.999)
_DAYS = Recipe(epochs=6, batch=2048, rate=2e-3, decay=1e-2, patience=2, averaged=0.999)
_SHELF = Recipe(epochs=12, batch=4096, rate=2e-3, decay=1e-2, averaged=0.999)
#: Networks of which the one that is kept learns as well, and what their mean weighs against what happened. They are
#: wider; what the one that is kept loses by its size, it makes good by seeing what they tell oftener.
_TEACHERS, _TAUGHT = 3, 0.7
_TEACHER_HIDDEN, _TAUGHT_EPOCHS = (192, 96), 8
#: Those of days learn with some of each layer left out, and there are more of them: they take seconds. What they tell
#: has less noise than what happened, so it is seen oftener here as well.
_DAY_TEACHERS, _DAY_TEACHER_HIDDEN, _DAY_DROPOUT, _DAY_TAUGHT_EPOCHS = 5, (192, 96), 0.2, 8
#: A row of days counts by its level to this power: units of small items are told more surely than those of large ones.
_WORTH = -0.75
#: Of days that ran out. They are 43% of the days; more than this lifts the median of days that did not. Those who ask
#: for a high quantile want to have enough: there they weigh more.
_CENSORED, _CENSORED_ABOVE = 0.1, 0.2
#: Epochs of the hazards are chosen on every sixth row; what is usual of a feature is learnt on fewer.
_CHOSEN_ON, _LEARNT_ON = 6, 4
_CHUNK = 65_536

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Goal:
    """What a network is fitted by.

    Args:
        seen: makes of rows what the loss is of, where no weight has a part in it.
        loss: of that.
    """

    seen: Callable[[Rows], Any]
    loss: Callable[[Any], Any]

    def mean(self, rows: Rows) -> float:
        """Mean loss of rows."""
        parts = [rows[at : at + _CHUNK] for at in range(0, len(rows), _CHUNK)]
        with torch.no_grad():
            losses = [float(self.loss(self.seen(part))) for part in parts]
        return float(np.average(losses, weights=[len(part) for part in parts]))


def fit_hours(net: HazardNet, arrays: Arrays, seed: int, epochs: int, tell: Tell) -> dict[str, float]:
    """Trains the hazards in place: first teachers, then the network that is kept, on what they tell and what happened.

    It is as good as half of what their mean gains over one of them, and costs less than one of them.

    Args:
        net: fresh.
        arrays: as `datasets.hourset.build` gives them.
        seed: of weights and order of rows.
        epochs: at most; the recipe has a limit of its own.
        tell: hears how far it is.

    Returns:
        The number of epochs of a teacher, and its mean loss an hour at risk on validation before the last fit.

    Source: G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network" (2015).
    """
    rows = of_head(arrays, "hours")
    features, part = torch.from_numpy(rows["features"]), rows["part"]
    out, open_ = (torch.from_numpy(rows[name].astype(np.float32)) for name in ("out", "open"))

    def seen(at: Rows) -> Any:
        return net.expanded(features[at].float()), out[at], open_[at]

    teacher = hazard_net(_TEACHER_HIDDEN)

    def loss(batch: Any) -> Any:
        return likelihood(teacher.net(batch[0]), *batch[1:])

    teaching, checked = (np.flatnonzero(part == of)[::_CHOSEN_ON] for of in (TRAIN, VALIDATION))
    for each in (net, teacher):
        each.learn(rows["features"][teaching[::_LEARNT_ON]].astype(np.float32))
    recipe, both = replace(_HOURS, seed=seed, epochs=min(epochs, _HOURS.epochs)), np.flatnonzero(part != TEST)
    goal, course = _Goal(seen, loss), (teaching, checked, both)
    figures = _fit(teacher, teacher.net, goal, course, recipe, "hours", lambda t, s: tell(t, 0.4 * s))
    recipe = replace(recipe, epochs=int(figures["hours_epochs"]))
    fitted = _Fitted(teacher.net, goal, both, lambda: _odds(teacher, features, both))
    odds = fitted.mean(_TEACHERS, recipe, lambda t, s: tell(f"teaching hours: {t}", 0.4 + 0.3 * s))
    told = torch.zeros(len(part), HOURS_AHEAD, dtype=torch.float16)
    told[both] = torch.sigmoid(odds).half()

    last = replace(recipe, seed=seed + _TEACHERS, epochs=min(epochs, _TAUGHT_EPOCHS))
    _refit(net.net, _taught(net, seen, told), both, last, lambda t, s: tell(f"fitting hours: {t}", 0.7 + 0.3 * s))
    net.eval()
    return figures


def fit_days(net: NextDayNet, arrays: Arrays, seed: int, epochs: int, tell: Tell) -> dict[str, float]:
    """Trains the quantiles of the next day in place; arguments, figures and course as those of `fit_hours`.

    Last come trees, of what the network that is kept misses on days in stock.
    """
    rows = of_head(arrays, "days")
    features, part = torch.from_numpy(rows["features"]), rows["part"]
    teaching, both = np.flatnonzero(part == TRAIN), np.flatnonzero(part != TEST)
    checked = np.flatnonzero((part == VALIDATION) & rows["whole"])
    teacher = next_day_net(_DAY_TEACHER_HIDDEN)
    for each in (net, teacher):
        each.learn(rows["features"][teaching])
    teacher.net.dropout = _DAY_DROPOUT
    with torch.no_grad():
        expanded, level = net.expanded(features), net.level(features)
    sold, whole = torch.from_numpy(rows["sold"]), torch.from_numpy(rows["whole"].astype(np.float32))
    worth = torch.exp(_WORTH * level)
    worth = worth / worth[teaching].mean()

    def missed(told: Any, at: Rows) -> Any:
        return censored_pinball(told, sold[at], whole[at], _CENSORED, _CENSORED_ABOVE, worth[at])

    def loss(at: Rows) -> Any:
        return missed(teacher.quantiles(expanded[at], level[at]), at)

    recipe, course = replace(_DAYS, seed=seed, epochs=min(epochs, _DAYS.epochs)), (teaching, checked, both)
    goal = _Goal(lambda at: at, loss)
    figures = _fit(teacher, teacher.net, goal, course, recipe, "days", lambda t, s: tell(t, 0.4 * s))
    recipe = replace(recipe, epochs=int(figures["days_epochs"]))
    fitted = _Fitted(teacher.net, goal, both, lambda: _quantiles(teacher, expanded, level))
    told = fitted.mean(_DAY_TEACHERS, recipe, lambda t, s: tell(f"teaching days: {t}", 0.4 + 0.4 * s))

    def taught(at: Rows) -> Any:
        quantiles = net.quantiles(expanded[at], level[at])
        return _TAUGHT * apart(quantiles, told[at], worth[at]) + (1.0 - _TAUGHT) * missed(quantiles, at)

    last = replace(recipe, seed=seed + _DAY_TEACHERS, epochs=min(epochs, _DAY_TAUGHT_EPOCHS))
    _refit(net.net, _Goal(lambda at: at, taught), both, last, lambda t, s: tell(f"fitting days: {t}", 0.8 + 0.15 * s))
    net.eval()
    tell("fitting days: trees", 0.95)
    known = both[rows["whole"][both]]
    median = _quantiles(net, expanded[known], level[known])[:, MEDIAN].numpy()
    usual = np.exp(level[known].numpy())
    of_loss = worth[known].numpy() * usual  # the loss is in units, a tree's is in levels
    net.trees.learn(corrected(rows["features"][known], rows["sold"][known] / usual, median / usual, of_loss, seed), 1.0)
    return figures


def fit_shelf(net: HazardNet, teacher: HazardNet, arrays: Arrays, seed: int, tell: Tell) -> dict[str, float]:
    """Trains what workers tell in place: from what happened, and from what the hazards tell that see all hours.

    Args:
        net: fresh.
        teacher: the hazards, fitted: they know more of the same rows than a worker will.
        arrays: as `datasets.hourset.build` gives them.
        seed: of weights and order of rows.
        tell: hears how far it is.

    Returns:
        Its mean loss an hour at risk on validation, before the last fit.

    Source: D. Lopez-Paz et al., "Unifying distillation and privileged information" (ICLR 2016).
    """
    rows, known = of_head(arrays, "hours"), of_head(arrays, "shelf")
    features, part = torch.from_numpy(known["features"]), known["part"]
    out, open_ = (torch.from_numpy(rows[name].astype(np.float32)) for name in ("out", "open"))
    teaching, checked, both = np.flatnonzero(part == TRAIN), np.flatnonzero(part == VALIDATION), part != TEST
    told = torch.zeros(len(part), HOURS_AHEAD, dtype=torch.float16)
    told[both] = torch.sigmoid(_odds(teacher, torch.from_numpy(rows["features"]), np.flatnonzero(both))).half()
    net.learn(known["features"][teaching[:: _CHOSEN_ON * _LEARNT_ON]].astype(np.float32))

    def seen(at: Rows) -> Any:
        return net.expanded(features[at].float()), out[at], open_[at]

    taught, recipe = _taught(net, seen, told), replace(_SHELF, seed=seed)
    _refit(net.net, taught, teaching, recipe, lambda t, s: tell(f"choosing shelves: {t}", 0.5 * s))
    figure = _Goal(seen, lambda batch: likelihood(net.net(batch[0]), *batch[1:])).mean(checked)
    _refit(net.net, taught, np.flatnonzero(both), recipe, lambda t, s: tell(f"fitting shelves: {t}", 0.5 + 0.5 * s))
    net.eval()
    return {"shelf_validation_loss": figure}


def _taught(net: HazardNet, seen: Callable[[Rows], Any], told: Any) -> _Goal:
    """To tell what happened, and what others tell of the same rows."""

    def loss(batch: tuple[Any, Any, Any, Any]) -> Any:
        x, out, open_, heard = batch
        logits = net.net(x)
        return _TAUGHT * likelihood(logits, out, open_, heard) + (1.0 - _TAUGHT) * likelihood(logits, out, open_)

    return _Goal(lambda at: (*seen(at), told[at].float()), loss)


def _fit(
    net: Any, layers: Rescaled, goal: _Goal, rows: tuple[Rows, Rows, Rows], recipe: Recipe, what: str, tell: Tell
) -> dict[str, float]:
    """Chooses on the first and second rows, fits on the third, both from the same first weights."""
    teaching, checked, both = rows
    layers.load_state_dict(_fresh(layers, recipe.seed))
    best = train(
        layers,
        goal.loss,
        len(teaching),
        recipe,
        lambda: goal.mean(checked),
        lambda text, share: tell(f"choosing {what}: {text}", 0.3 * share),
        lambda i: goal.seen(teaching[i]),
    )
    figure = goal.mean(checked)
    last = replace(recipe, epochs=best)
    _refit(layers, goal, both, last, lambda text, share: tell(f"fitting {what}: {text}", 0.3 + 0.7 * share))
    net.eval()
    return {f"{what}_epochs": best, f"{what}_validation_loss": figure}


def _refit(layers: Rescaled, goal: _Goal, rows: Rows, recipe: Recipe, tell: Tell) -> None:
    """Fits from fresh weights, as many epochs as the recipe says."""
    layers.load_state_dict(_fresh(layers, recipe.seed))
    train(layers, goal.loss, len(rows), recipe, None, tell, lambda i: goal.seen(rows[i]))


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A network that was fitted, and what it says of the rows that others are to learn from."""

    layers: Rescaled
    goal: _Goal
    rows: Rows
    says: Callable[[], Any]

    def mean(self, teachers: int, recipe: Recipe, tell: Tell) -> Any:
        """What it and others like it say on average; each of them is fitted in its place, with the next seed."""
        total = self.says()
        for number in range(1, teachers):
            again, done = replace(recipe, seed=recipe.seed + number), number - 1
            _refit(self.layers, self.goal, self.rows, again, lambda t, s, d=done: tell(t, (d + s) / (teachers - 1)))  # type: ignore[misc]
            total += self.says()
        return total / teachers


def _odds(net: HazardNet, features: Any, rows: Rows) -> Any:
    """Log-odds of the hazards of some rows."""
    with torch.no_grad():
        parts = [net.logits(features[rows[at : at + _CHUNK]].float()) for at in range(0, len(rows), _CHUNK)]
        return torch.cat(parts)


def _quantiles(net: NextDayNet, expanded: Any, level: Any) -> Any:
    """Quantiles of all rows."""
    with torch.no_grad():
        pieces = zip(expanded.split(_CHUNK), level.split(_CHUNK), strict=True)
        return torch.cat([net.quantiles(x, of) for x, of in pieces])


def _fresh(layers: Rescaled, seed: int) -> Any:
    """First weights by a seed; the last biases are kept as they are."""
    seeded(seed)
    made = Rescaled([layers.layers[0].in_features, *(layer.out_features for layer in layers.layers)])
    with torch.no_grad():
        made.layers[-1].bias.copy_(layers.layers[-1].bias)
    return made.state_dict()
