"""Simulated browsing: what is viewed next hangs on the last view, on what the whole session is after, and on revisits.

A shop of categories; every product leads to some others of its category. A session is after one of a few intents,
which makes some of these likelier, so that the last view alone tells only a part.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

DAY_MS = 86_400_000
FIRST_MS = 15_000 * DAY_MS
_INTENTS = 4
_AGAIN, _ELSEWHERE = 0.12, 0.06


def browse(
    sessions: int, products: int = 5_000, category: int = 250, links: int = 120, seed: int = 3
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Views of sessions.

    Args:
        sessions: how many.
        products, category: how many in the shop, and in a category.
        links: products that a product leads to.
        seed: of everything.

    Returns:
        Products, -1 after a session's end, int64 of shape (sessions, 16).
        Which of the intents each session is after.
    """
    rng = np.random.default_rng(seed)
    popular = rng.permutation(1.0 / (np.arange(products) + 20.0) ** 0.8)
    first = np.arange(products) // category * category
    to = first[:, None] + rng.integers(0, category, (products, links))
    meant = rng.integers(0, _INTENTS, products)
    weight = rng.pareto(1.0, (products, links)) + 0.2
    chance = [np.cumsum(weight * np.where(meant[to] == intent, 12.0, 1.0), axis=1) for intent in range(_INTENTS)]
    table = np.stack([c / c[:, -1:] for c in chance])
    intent = rng.integers(0, _INTENTS, sessions)
    length = 2 + rng.geometric(0.25, sessions).clip(1, 14) - 1
    views = np.full((sessions, 16), -1, np.int64)
    start = np.cumsum(popular) / popular.sum()
    views[:, 0] = np.searchsorted(start, rng.random(sessions)).clip(max=products - 1)
    for at in range(1, 16):
        now = views[:, at - 1]
        link = (table[intent, now] < rng.random(sessions)[:, None]).sum(axis=1).clip(max=links - 1)
        follows = to[now, link]
        again = views[np.arange(sessions), rng.integers(0, at, sessions)]
        elsewhere = np.searchsorted(start, rng.random(sessions)).clip(max=products - 1)
        kind = rng.random(sessions)
        follows = np.where(kind < _AGAIN, again, np.where(kind < _AGAIN + _ELSEWHERE, elsewhere, follows))
        views[:, at] = follows
    views[np.arange(16)[None, :] >= length[:, None]] = -1
    return views, intent


def write_clicks(directory: Path, views: NDArray[np.int64], days: int = 28, named: bool = True, seed: int = 5) -> Path:
    """Writes clicks.parquet and nothing else.

    Args:
        directory: of the event log; it is made.
        views: as `browse` gives them.
        days: over which the sessions are spread.
        named: whether views carry a session_id; without it, customers come back after hours.
        seed: of the times.
    """
    rng = np.random.default_rng(seed)
    session, at = np.nonzero(views >= 0)
    begin = np.sort(rng.integers(0, days * DAY_MS, len(views)))
    frame = pl.DataFrame(
        {
            "type": ["product_view"] * len(session),
            "event_id": [f"click-{i}" for i in range(len(session))],
            "event_time_ms": FIRST_MS + begin[session] + at * 60_000,
            "customer_id": [f"c{s}" if named else f"c{s // 2}" for s in session.tolist()],
            "session_id": [f"s{s}" for s in session.tolist()] if named else [None] * len(session),
            "sku": [f"p{p}" for p in views[session, at].tolist()],
        },
        schema_overrides={"session_id": pl.String},
    )
    directory.mkdir(parents=True, exist_ok=True)
    frame.sort("event_time_ms", maintain_order=True).write_parquet(directory / "clicks.parquet")
    return directory
