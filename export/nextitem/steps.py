"""The steps of next-item, each from the work directory to the work directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.datasets.prefixes import Prefixes, prefixes_of
from export.datasets.sessions import Sessions, default_from_ms, parted, read_sessions
from export.datasets.transitions import followers, neighbours
from export.errors import UsageError
from export.evaluations.nextitem import figures_of, next_item_metrics, ranks
from export.evaluations.sessionknn import SessionKnn
from export.networks.nextitem import NextItem
from export.networks.session import SessionNet
from export.nextitem.fit import Stage
from export.nextitem.fit import train as fit
from export.nextitem.plan import Plan, read_plan, training_sessions
from export.split import date_of
from export.tasks.base import Tell
from export.work import Work
from models.manifest import Metric

EPOCHS = 8
WIDTH = 96
NEIGHBOURS = 100

_RATE = 4e-3
#: Epochs over everything before the test, from the chosen weights on.
_AGAIN = 2
_PATIENCE = 2
#: Rows that a validation looks at, at most.
_VALIDATED = 10_000
_MIXES = (0.0, 0.15, 0.3, 0.45, 0.6)


def train(work: Work, epochs: int | None, tell: Tell) -> dict[str, float]:
    """Chooses the number of epochs and the mix on the last days before the test, then learns those days as well.

    Writes checkpoint.pt and training.json; what is broken off is gone on from by the same command.
    """
    plan, everything = read_plan(work), training_sessions(work)
    earlier, later = parted(everything, default_from_ms(everything), plan.rules)
    later = later.known(everything.names, plan.rules.least_views)
    earlier = earlier.known(everything.names, plan.rules.least_views)
    torch.manual_seed(plan.seed)
    model = NextItem(plan.products, WIDTH, NEIGHBOURS)
    asked = _some(prefixes_of(later), plan.seed)
    first = _stage(plan, "choosing", earlier, epochs or EPOCHS, _RATE)
    best, figure = fit(
        model.network,
        first,
        work.directory,
        lambda: _quality(model.network, asked),
        lambda t, s: tell(f"choosing: {t}", s * 0.8),
    )
    model.seen.learn(*neighbours(first.rows, plan.products, NEIGHBOURS))
    mix = _mixed(model, asked)
    again = _stage(plan, "learning all", everything, _AGAIN, _RATE / 2)
    fit(model.network, again, work.directory, None, lambda t, s: tell(f"learning all: {t}", 0.8 + s * 0.2))
    model.seen.learn(*neighbours(again.rows, plan.products, NEIGHBOURS))
    model.mix.fill_(mix)
    work.save_network(model)
    found = {"epochs": float(best), "mix": mix, "validation": figure}
    work.save("training.json", found)
    return found


def _stage(plan: Plan, name: str, sessions: Sessions, epochs: int, rate: float) -> Stage:
    seen = np.bincount(sessions.item, minlength=plan.products)
    key = f"{plan.key} {epochs}"
    return Stage(name.replace(" ", "-"), key, prefixes_of(sessions), seen, epochs, rate, _PATIENCE, plan.seed)


def _some(rows: Prefixes, seed: int) -> Prefixes:
    if len(rows) <= _VALIDATED:
        return rows
    return rows.take(np.sort(np.random.default_rng(seed).choice(len(rows), _VALIDATED, replace=False)))


def _scores(model: NextItem, rows: Prefixes) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
    def scores(at: NDArray[np.int64]) -> NDArray[Any]:
        with torch.no_grad():
            return np.asarray(model.chances(torch.from_numpy(rows.window(at))).numpy())

    return scores


def _quality(network: SessionNet, rows: Prefixes) -> float:
    """P@20 and MRR@20 together: the first alone does not see what happens at the top."""
    return _sum(ranks(lambda at: np.asarray(network(torch.from_numpy(rows.window(at))).numpy()), rows))


def _sum(rank: NDArray[np.float64]) -> float:
    figures = figures_of(rank)(np.ones(len(rank)))
    return figures["P@20"] + figures["MRR@20"]


def _mixed(model: NextItem, rows: Prefixes) -> float:
    """The best mix of those tried; of equal ones the smallest."""
    found = []
    for mix in _MIXES:
        model.mix.fill_(mix)
        found.append(_sum(ranks(_scores(model, rows), rows)))
    return _MIXES[int(np.argmax(found))]


def trained(work: Work) -> NextItem:
    """The model that `train` has left."""
    plan = read_plan(work)
    model: NextItem = work.network(NextItem(plan.products, WIDTH, NEIGHBOURS))
    return model


def evaluate(work: Work, events: Path | None, since_ms: int | None, tell: Tell) -> tuple[list[Metric], list[str]]:
    """Measures sessions that end from a moment on, beside baselines that learnt from what the model learnt from.

    Args:
        work: of a trained model.
        events: an event log; None is that of the training.
        since_ms: the moment; None is where training ended.
        tell: hears a text and the share done.

    Returns:
        Figures, and a sentence on what was tested.

    Raises:
        UsageError: the model has seen what is asked for, or there is nothing to test.
    """
    plan, train, model = read_plan(work), training_sessions(work), trained(work)
    from_ms = plan.from_ms if since_ms is None else since_ms
    if from_ms < plan.from_ms:
        raise UsageError(
            f"{work.directory} has learnt from sessions until {date_of(plan.from_ms)}, so a test from "
            f"{date_of(from_ms)} on would be of what it knows; give `train` the same --from"
        )
    sessions = read_sessions(Path(plan.events) if events is None else events, plan.rules)
    test = sessions.take(sessions.end_ms >= from_ms).known(train.names, plan.rules.least_views)
    if len(test) == 0:
        raise UsageError(f"no session of products that the model knows ends from {date_of(from_ms)} on")
    rows = prefixes_of(test)
    metrics = next_item_metrics(rows, _ranks(model, train, rows, tell), seed=plan.seed)
    note = f"{len(test):,} sessions were tested, {len(rows):,} views in them; {plan.products:,} products are ranked."
    work.save("metrics.json", metrics)
    return metrics, [note]


def _ranks(model: NextItem, train: Sessions, rows: Prefixes, tell: Tell) -> dict[str, NDArray[np.float64]]:
    """The ranks of the model and of its baselines, which break ties by popularity."""
    popular = np.bincount(train.item, minlength=len(train.names)).astype(np.float64)
    chain, knn, few = followers(prefixes_of(train), len(train.names)), SessionKnn(train), 1e-6 / popular.max()
    scorers: dict[str, Callable[[NDArray[np.int64]], NDArray[Any]]] = {
        "next-item": _scores(model, rows),
        "popularity": lambda at: np.broadcast_to(popular, (len(at), len(popular))),
        "Markov chain": lambda at: chain[rows.item[rows.place[at] - 1]].toarray() + few * popular,
        "session-kNN": lambda at: knn.scores(rows, at) + few * popular,
    }
    found = {}
    for done, (who, scores) in enumerate(scorers.items()):
        tell(who, done / len(scorers))
        found[who] = ranks(scores, rows)
    return found
