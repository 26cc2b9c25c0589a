"""Training of next-item: what is chosen on the last days, and then learnt from all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.datasets.prefixes import Prefixes, prefixes_of
from export.datasets.sessions import Sessions, default_from_ms, parted
from export.datasets.transitions import NEAR, NEXT, Reach, neighbours
from export.evaluations.nextitem import Scores, figures_of, ranks
from export.networks.nextitem import NextItem
from export.networks.session import SessionNet
from export.nextitem.fit import Stage
from export.nextitem.fit import train as fit
from export.nextitem.plan import Plan, read_plan, training_sessions
from export.tasks.base import Tell
from export.work import Work

EPOCHS = 8
WIDTH = 96
NEIGHBOURS = 100

_RATE = 4e-3
_PATIENCE = 2
#: Rows that a validation looks at, at most.
_VALIDATED = 10_000
_MIXES = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)


def train(work: Work, epochs: int | None, tell: Tell) -> dict[str, float]:
    """Chooses the number of epochs and the mix on the last days before the test, then learns anew with those days.

    (Going on from the chosen weights was quicker, and worse: what is new in the last days would be learnt too little.)
    Writes checkpoint.pt and training.json; what is broken off is gone on from by the same command.
    """
    plan, everything = read_plan(work), training_sessions(work)
    best, blend, figure = _chosen(work, plan, everything, epochs or EPOCHS, lambda t, s: tell(f"choosing: {t}", s / 2))
    model = _fresh(plan)
    stage = _stage(plan, "learning", everything, best)
    fit(model.network, stage, work.directory, None, lambda t, s: tell(f"learning: {t}", 0.5 + s / 2))
    reach, mix = blend
    _learn(model, stage.rows, reach)
    model.mix.fill_(mix)
    work.save_network(model)
    of_next = float(reach == NEXT)
    found = {"epochs": float(best), "mix": mix, "of what is next": of_next, "validation P@20 + MRR@20": figure}
    work.save("training.json", found)
    return found


def _chosen(
    work: Work, plan: Plan, everything: Sessions, epochs: int, tell: Tell
) -> tuple[int, tuple[Reach, float], float]:
    """The epochs, the tables and their mix, and what the network alone reaches, on the last days of the training."""
    earlier, later = (
        part.known(everything.names, plan.rules.least_views)
        for part in parted(everything, default_from_ms(everything), plan.rules)
    )
    model, asked = _fresh(plan), _some(prefixes_of(later), plan.seed)
    stage = _stage(plan, "choosing", earlier, epochs)
    best, figure = fit(model.network, stage, work.directory, lambda: _quality(model.network, asked), tell)
    return best, _blend(model, stage.rows, asked), figure


def _fresh(plan: Plan) -> NextItem:
    torch.manual_seed(plan.seed)
    return NextItem(plan.products, WIDTH, NEIGHBOURS)


def _stage(plan: Plan, name: str, sessions: Sessions, epochs: int) -> Stage:
    seen = np.bincount(sessions.item, minlength=plan.products)
    return Stage(name, f"{plan.key} {epochs}", prefixes_of(sessions), seen, epochs, _RATE, _PATIENCE, plan.seed)


def _some(rows: Prefixes, seed: int) -> Prefixes:
    if len(rows) <= _VALIDATED:
        return rows
    return rows.take(np.sort(np.random.default_rng(seed).choice(len(rows), _VALIDATED, replace=False)))


def scores_of(model: NextItem, rows: Prefixes) -> Scores:
    """The model's chances of all products, for some of the rows at a time."""

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


def _blend(model: NextItem, learnt: Prefixes, asked: Prefixes) -> tuple[Reach, float]:
    """The best tables and mix of those tried; of equal ones the smallest mix."""
    model.mix.fill_(0.0)
    found = {(NEAR, 0.0): _sum(ranks(scores_of(model, asked), asked))}
    for reach in (NEAR, NEXT):
        _learn(model, learnt, reach)
        for mix in _MIXES:
            model.mix.fill_(mix)
            found[reach, mix] = _sum(ranks(scores_of(model, asked), asked))
    return max(found, key=lambda blend: (found[blend], -blend[1]))


def _learn(model: NextItem, rows: Prefixes, reach: Reach) -> None:
    products = len(model.seen.who) - 1
    model.seen.learn(*neighbours(rows, products, NEIGHBOURS, reach), reach.decay)


def trained(work: Work) -> NextItem:
    """The model that `train` has left."""
    plan = read_plan(work)
    model: NextItem = work.network(NextItem(plan.products, WIDTH, NEIGHBOURS))
    return model
