"""The next product to buy, as the released model ranks it, beside counting.

At each order of the test period of a customer with an order before it, the 200 products that sold best in the 60 days
before are offered, all at their price and with the same margin. The graph names its five best, as the engine shows
them. Baselines rank the same candidates: by popularity, and by how many of the customer's orders held each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets import next_best_offer as dataset
from export.datasets.popularity import Popularity
from export.errors import UsageError
from export.evaluations.bootstrap import Figures, Resamples, beside, resamples
from export.evaluations.segments import by_customers, heaviest
from export.evaluations.weighted import calibration, means, tops
from export.history import read_log
from export.split import date_of, split_of
from export.tasks.candidates import POPULAR, Candidates, by_lot, candidates_of
from models.manifest import Metric
from models.session import Session

#: Offers that are shown.
SHOWN = 5
_TEST_DAYS = 46
_SHARED = frozenset({"words", "offer_words", "offer_numbers", "offer_sold", "offer_product"})

_COUNTING = "personal frequency"

Tell = Callable[[str, float], None]
Arrays = dict[str, NDArray[Any]]


def measure(model_dir: Path, events: Path, from_ms: int | None, draws: int, seed: int, tell: Tell) -> list[Metric]:
    """NDCG and recall of the five that are shown, and the calibration of their probabilities.

    Raises:
        UsageError: no order to test.
    """
    log = read_log(events, of_customers=True)
    split = split_of(log.first_ms, log.last_ms, horizon_days=0, test_days=_TEST_DAYS)
    start = split.test_from_ms if from_ms is None else from_ms
    tell("orders and what was before them", 0.0)
    arrays = dataset.build(log, start)
    at = by_lot(np.unique(arrays["target_row"]).astype(np.int64), seed)
    if not len(at):
        raise UsageError(f"{events}: no order from {date_of(start)} on has an order of its customer before it")
    candidates = candidates_of(arrays, at, POPULAR)
    tell("scoring", 0.3)
    score, chance = shown(Session(model_dir / "model.onnx"), arrays, candidates)
    drawn = resamples(int(arrays["customer"].max()) + 1, draws, seed)
    return figures(candidates, score, chance, arrays["customer"][at], arrays["features"][at, dataset.ORDERS], drawn)


def shown(session: Session, arrays: Arrays, candidates: Candidates) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the graph shows of the popular candidates of each order.

    Returns:
        Scores that order the five as shown and leave the rest at 0, and probabilities, NaN where nothing is shown;
        float64 of shape (n, popular).
    """
    size = len(candidates.rows), candidates.popular
    score, chance = np.zeros(size), np.full(size, np.nan)
    words = np.concatenate([arrays["product_words"], np.zeros((1, arrays["product_words"].shape[1]), np.int64)])
    shop = Popularity(arrays)
    for i, row in enumerate(candidates.rows.tolist()):
        # A graph is asked of as many offers as it shows, at least; those that fill up may not be shown.
        offered = np.pad(candidates.product[i, : candidates.popular], (0, max(SHOWN - candidates.popular, 0)), "edge")
        of_row = {"product": offered, "as_of_ms": np.repeat(arrays["as_of_ms"][row], len(offered))}
        feeds = _feed(arrays, words, row, offered) | {"offer_sold": shop.columns(of_row)}
        feeds["eligible"] = (np.arange(len(offered)) < candidates.popular).astype(np.float32)[None]
        found = session.run(feeds, 1, shared=_SHARED)
        top = found["top"][0]
        there = top < candidates.popular
        score[i, top[there]] = np.arange(SHOWN, 0, -1)[there]
        chance[i, top[there]] = found["probability"][0][there]
    return score, chance


def _feed(arrays: Arrays, words: NDArray[np.int64], row: int, offered: NDArray[np.int64]) -> Arrays:
    held, place = np.unique(arrays["product"][row], return_inverse=True)
    price = arrays["product_price"][offered]
    return {
        "features": arrays["features"][row : row + 1],
        "words": words[held],
        "place": place.reshape(1, -1).astype(np.int64),
        "age_days": arrays["age_days"][row : row + 1],
        "viewed": arrays["viewed"][row : row + 1],
        # Any numbers of products will do, if 0 is none.
        "own_product": arrays["own_product"][row : row + 1].astype(np.int64) + 1,
        "own": arrays["own"][row : row + 1],
        "offer_product": offered.astype(np.int64) + 1,
        "offer_words": arrays["product_words"][offered],
        "offer_numbers": np.stack([price, np.zeros_like(price), np.ones_like(price)], axis=1),
    }


def figures(
    candidates: Candidates,
    score: NDArray[np.float64],
    chance: NDArray[np.float64],
    customer: NDArray[np.int64],
    orders: NDArray[Any],
    drawn: Resamples,
) -> list[Metric]:
    """Metrics of the orders that hold a popular product, and the calibration of all that is shown.

    Args:
        candidates: of each order.
        score, chance: from `shown`.
        customer: of each order, int64 of (n,).
        orders: that the customer had before, (n,).
        drawn: of customers.
    """
    popular = slice(0, candidates.popular)
    label = candidates.label[:, popular]
    sold = candidates.popularity[:, popular].astype(np.float64)
    scores = {"": score, "popularity": sold, _COUNTING: candidates.personal[:, popular] + 1e-6 * sold}
    wanted = label.sum(axis=1).astype(np.int64)
    some = np.flatnonzero(wanted)
    of: dict[str, Figures] = {}
    for name, one in scores.items():
        of[name] = means(tops(label[some], one[some], wanted[some], SHOWN), SHOWN)
    found = beside(of, customer[some], drawn, "{}, next product of 200 popular ones", less=_COUNTING)
    seen, what = np.isfinite(chance), "{}, next product, of the five that are shown"
    label, chance, customer, orders = label[seen], chance[seen], _each(customer, seen), _each(orders, seen)
    found += beside({"": calibration(label, chance)}, customer, drawn, what)
    for name, at in by_customers(orders, customer, heaviest(customer)).items():
        found += beside({"": calibration(label[at], chance[at])}, customer[at], drawn, f"{what}, {name}")
    return found


def _each(of_rows: NDArray[Any], cells: NDArray[np.bool_]) -> NDArray[Any]:
    """What is told of rows, of each of some cells of them."""
    return np.broadcast_to(of_rows[:, None], cells.shape)[cells]
