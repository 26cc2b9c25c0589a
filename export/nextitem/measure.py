"""Measuring next-item: later sessions, beside baselines that learnt from what the model learnt from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.datasets.prefixes import Prefixes, prefixes_of
from export.datasets.sessions import Sessions, read_sessions
from export.datasets.transitions import followers
from export.errors import UsageError
from export.evaluations.nextitem import Scores, next_item_metrics, ranks
from export.evaluations.sessionknn import SessionKnn
from export.networks.nextitem import NextItem
from export.nextitem.learn import scores_of, trained
from export.nextitem.plan import Plan, read_plan, training_sessions
from export.split import date_of
from export.tasks.base import Tell
from export.work import Work
from models.manifest import Metric


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
    plan, train = read_plan(work), training_sessions(work)
    test = _test(work, plan, train, Path(plan.events) if events is None else events, since_ms)
    rows = prefixes_of(test)
    metrics = next_item_metrics(rows, _ranks(trained(work), train, rows, tell), seed=plan.seed)
    note = f"{len(test):,} sessions were tested, {len(rows):,} views in them; {plan.products:,} products are ranked."
    work.save("metrics.json", metrics)
    return metrics, [note]


def _test(work: Work, plan: Plan, train: Sessions, events: Path, since_ms: int | None) -> Sessions:
    from_ms = plan.from_ms if since_ms is None else since_ms
    if from_ms < plan.from_ms:
        raise UsageError(
            f"{work.directory} has learnt from sessions until {date_of(plan.from_ms)}, so a test from "
            f"{date_of(from_ms)} on would be of what it knows; give `train` the same --from"
        )
    sessions = read_sessions(events, plan.rules)
    test = sessions.take(sessions.end_ms >= from_ms).known(train.names, plan.rules.least_views)
    if len(test) == 0:
        raise UsageError(f"no session of products that the model knows ends from {date_of(from_ms)} on")
    return test


def _ranks(model: NextItem, train: Sessions, rows: Prefixes, tell: Tell) -> dict[str, NDArray[np.float64]]:
    """The ranks of the model and of its baselines, which break ties by popularity."""
    popular = np.bincount(train.item, minlength=len(train.names)).astype(np.float64)
    chain, knn, few = followers(prefixes_of(train), len(train.names)), SessionKnn(train), 1e-6 / popular.max()
    scorers: dict[str, Scores] = {
        "next-item": scores_of(model, rows),
        "popularity": lambda at: np.broadcast_to(popular, (len(at), len(popular))),
        "Markov chain": lambda at: chain[rows.item[rows.place[at] - 1]].toarray() + few * popular,
        "session-kNN": lambda at: knn.scores(rows, at) + few * popular,
    }
    found = {}
    for done, (who, scores) in enumerate(scorers.items()):
        tell(who, done / len(scorers))
        found[who] = ranks(scores, rows)
    return found
