"""Leave one campaign out: each is ranked by what all the others taught, beside baselines on the same rows; pooled.

A list is a household that a campaign was mailed to and that bought something of it within five days of its start.
Every campaign with at least 20 such lists is held out once. LightGBM is fitted on the same real lists with the same
columns; the network has practised before (`export.tasks.practice`), on days that share no label with any held list.
"LightGBM, practised" has had those lists too, so that one can tell what practice gives from what the network gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from export.datasets.campaignrows import FEATURES, Catalog, Rows, Sales, rows_of
from export.datasets.campaigns import campaigns_of, purchases_of
from export.datasets.products import Products
from export.evaluations.bootstrap import Figures, Resamples, interval, ones, resamples
from export.evaluations.weighted import means, rankings
from export.history import Log, read_log
from export.tasks.practice import practice_lists, practised, thinned, tuned
from models.manifest import Metric

PLACES = 10
#: A campaign is held out if so many lists have a success.
SMALLEST = 20
#: Lists to practise on.
PRACTICE = 5_000
_ROUNDS = 80
_NEW_BASKETS = 10

Tell = Callable[[str, float], None]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists with a success.

    Args:
        rows: their rows.
        campaign: index of each list's campaign, int64 of shape (l,).
        customer: code of each list's household, int64 of shape (l,).
        names: of the campaigns.
        kinds: the type of each.
    """

    rows: Rows
    campaign: NDArray[np.int64]
    customer: NDArray[np.int64]
    names: list[str]
    kinds: list[str]

    @property
    def held(self) -> list[int]:
        """The campaigns with enough lists."""
        return np.flatnonzero(np.bincount(self.campaign, minlength=len(self.names)) >= SMALLEST).tolist()


def lists_of(events: Path, practice: int, seed: int) -> tuple[Lists, Rows] | None:
    """The real lists of an event log, and rows to practise on; None for a log without campaigns."""
    log = read_log(events, of_customers=True)
    products = Products(log)
    purchases = purchases_of(log, products)
    campaigns = campaigns_of(events, products, purchases.customers)
    asked = [
        (at, int(customer))
        for at, campaign in enumerate(campaigns)
        for customer in campaign.mailed
        if len(purchases.taken(campaign, int(customer), campaign.begins_ms))
    ]
    if not asked:
        return None
    of, customer = (np.array(column, np.int64) for column in zip(*asked, strict=True))
    sales, catalog = Sales(purchases, len(products.price)), _catalog(log, products)
    real = rows_of([(campaigns[at], who, campaigns[at].begins_ms) for at, who in asked], purchases, sales, catalog)
    apart = np.array([campaigns[at].begins_ms for at in np.unique(of)])
    drawn = practice_lists(campaigns, purchases, apart, practice, seed)
    kinds = [campaign.kind for campaign in campaigns]
    lists = Lists(real, of, customer, [campaign.name for campaign in campaigns], kinds)
    return lists, rows_of(drawn, purchases, sales, catalog)


def _catalog(log: Log, products: Products) -> Catalog:
    category = log.catalog["category"] if "category" in log.catalog.columns else log.catalog["name"]
    codes = [
        np.unique(np.array([text or "" for text in column.to_list()]), return_inverse=True)[1].astype(np.int64)
        for column in (log.catalog["name"], category)
    ]
    return Catalog(products.price.astype(np.float64), *codes)


def held_out(lists: Lists, practice: Rows, seed: int, tell: Tell) -> dict[str, Floats]:
    """Scores of all rows by who gives them, float64 of shape (n,); the model's under ""."""
    rows = lists.rows
    sold, half = rows.column("sold_60"), rows.column("own_decayed_30")
    fitted = {name: np.zeros(len(sold)) for name in ("", "LightGBM", "LightGBM, practised")}
    tell("practising", 0.0)
    network = practised(practice, seed)
    for at, campaign in enumerate(lists.held):
        tell(f"holding out {lists.names[campaign]}", (at + 1) / (len(lists.held) + 1))
        others = lists.campaign != campaign
        here = ~others[rows.list_of]
        features = rows.features[here]
        fitted[""][here] = tuned(network, rows, others, seed).score(features)
        learnt = _part(rows, thinned(rows, others, seed))
        more = _part(practice, thinned(practice, np.ones(len(practice.wanted), np.bool_), seed))
        fitted["LightGBM"][here] = _lambdarank([learnt], features, seed)
        fitted["LightGBM, practised"][here] = _lambdarank([learnt, more], features, seed)
    known = {"coupon popularity": sold, "personal decayed count": half + 1e-9 * sold, "oracle": rows.label}
    return fitted | {name: np.asarray(score, np.float64) for name, score in known.items()}


def _part(rows: Rows, at: NDArray[np.int64]) -> tuple[Any, Any, Any]:
    return rows.features[at], rows.label[at], np.unique(rows.list_of[at], return_counts=True)[1]


def _lambdarank(parts: list[tuple[Any, Any, Any]], asked: NDArray[np.float32], seed: int) -> Floats:
    features, label, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
    how = {
        "objective": "lambdarank", "lambdarank_truncation_level": 15, "learning_rate": 0.06, "num_leaves": 15,
        "min_data_in_leaf": 50, "feature_fraction": 0.7, "bagging_fraction": 0.8, "bagging_freq": 1, "max_bin": 63,
        "deterministic": True, "force_row_wise": True, "verbose": -1, "seed": seed,
    }  # fmt: skip
    data = lgb.Dataset(features, label.astype(int), group=sizes, feature_name=list(FEATURES))
    return np.asarray(lgb.train(how, data, num_boost_round=_ROUNDS).predict(asked), np.float64)


def measure(events: Path, draws: int, seed: int, tell: Tell, practice: int = PRACTICE) -> list[Metric]:
    """Figures of all held campaigns together, and of segments; nothing for a log without campaigns.

    Args:
        events: the event log.
        draws: of households, for intervals; 0 leaves them out.
        seed: of training and draws.
        tell: hears what is being done.
        practice: lists to practise on, at most.
    """
    found = lists_of(events, practice, seed)
    if found is None or not found[0].held:
        return []
    lists, to_practise = found
    scores = held_out(lists, to_practise, seed, tell)
    return figures(lists, scores, resamples(int(lists.customer.max()) + 1, draws, seed))


def figures(lists: Lists, scores: dict[str, Floats], drawn: Resamples) -> list[Metric]:
    """Metrics of the held lists, by who scored, with the paired difference to LightGBM."""
    rows = lists.rows
    held = np.isin(lists.campaign, lists.held)
    gains = {name: rankings(rows.list_of, rows.label, score, rows.wanted, PLACES)[1] for name, score in scores.items()}
    of = {name: means(gain, PLACES) for name, gain in gains.items()}
    baskets = rows.column("household_baskets")[rows.starts[:-1]]
    found = _metrics("campaigns held out", of, lists.customer, held, drawn)
    few = held & (baskets <= _NEW_BASKETS)
    found += _metrics(f"households of at most {_NEW_BASKETS} baskets", of, lists.customer, few, drawn)
    for kind in sorted({lists.kinds[at] for at in lists.held}):
        inside = held & (np.array(lists.kinds)[lists.campaign] == kind)
        found += _metrics(f"campaigns of type {kind}", of, lists.customer, inside, drawn)
    return found


def _metrics(
    what: str, of: dict[str, Figures], owner: NDArray[np.int64], inside: NDArray[np.bool_], drawn: Resamples
) -> list[Metric]:
    if not inside.any():
        return []
    weight = ones(owner) * inside
    values = {name: figure(weight) for name, figure in of.items()}
    spread = {name: drawn.of(_within(of[name], weight), owner) for name in ("", "LightGBM")}
    found = []
    for key, value in values[""].items():
        others = {name: figure[key] for name, figure in values.items() if name}
        mine, theirs = (spread[name].get(key, np.empty(0)) for name in ("", "LightGBM"))
        found.append(Metric(name=f"{key}, {what}", value=value, baselines=others, ci95=interval(mine)))
        apart = interval(mine - theirs)
        found.append(Metric(name=f"{key}, {what}, less LightGBM", value=value - others["LightGBM"], ci95=apart))
    return found


def _within(figures_: Figures, inside: Floats) -> Figures:
    return lambda weight: figures_(weight * inside)
