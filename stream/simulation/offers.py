"""Simulated offers: popular products at a discount, for some months each, many at any time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.events import Offer
from stream.simulation.history import SalesHistory

DAY_MS = 86_400_000

#: So many offers run side by side; each is followed by another one when it ends.
SIDE_BY_SIDE = 42
_RUN_DAYS = (110, 190)
_FIRST_RUN_DAYS = (20, 190)
_POPULARITY_DAYS = 60
#: Before the first order nothing is popular yet: the first offers are of what the first week sells.
_OPENING_DAYS = 7
_MARGIN_SHARE = 0.5


def simulate_offers(history: SalesHistory, until_ms: int, seed: int) -> list[Offer]:
    """Offers for the whole history; about 140 for a year, 42 valid at any time from a day before the first order.

    A product is drawn in proportion to its lines in the 60 days before the offer begins, and is not on offer twice at
    a time while there are others.

    Args:
        history: the real orders.
        until_ms: no offer begins later.
        seed: the same seed gives the same offers.

    Returns:
        Offers by the time they begin; `simulated` is set.
    """
    if not len(history.line_product):
        return []
    rng = np.random.default_rng([seed, 2])
    runs = sorted(_runs(int(history.order_time_ms[0]) - DAY_MS, until_ms, rng))
    running: list[tuple[int, int]] = []
    offers = []
    for number, (begins_ms, ends_ms) in enumerate(runs):
        running = [(end, product) for end, product in running if end > begins_ms]
        product = _draw_product(history, begins_ms, {product for _, product in running}, rng)
        running.append((ends_ms, product))
        offers.append(_offer(number, product, begins_ms, ends_ms, history, rng))
    return offers


def _runs(first_ms: int, until_ms: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    runs = []
    for _ in range(SIDE_BY_SIDE):
        begins_ms = first_ms
        low, high = _FIRST_RUN_DAYS
        while begins_ms <= until_ms:
            ends_ms = begins_ms + int(rng.integers(low, high + 1)) * DAY_MS
            runs.append((begins_ms, ends_ms))
            begins_ms = ends_ms
            low, high = _RUN_DAYS
    return runs


def _draw_product(history: SalesHistory, now_ms: int, taken: set[int], rng: np.random.Generator) -> int:
    past = _recent(history, now_ms)
    product = 0
    for _ in range(50):
        product = int(history.line_product[past[rng.integers(len(past))]])
        if product not in taken:
            break
    return product


def _recent(history: SalesHistory, now_ms: int) -> NDArray[np.int64]:
    times = np.array([now_ms - _POPULARITY_DAYS * DAY_MS, now_ms], dtype=np.int64)
    start, stop = history.lines_before(times)
    if stop == start:
        opening = history.order_time_ms[:1] + _OPENING_DAYS * DAY_MS
        start, stop = 0, history.lines_before(opening)[0]
    return np.arange(start, stop, dtype=np.int64)


def _offer(
    number: int, product: int, begins_ms: int, ends_ms: int, history: SalesHistory, rng: np.random.Generator
) -> Offer:
    sold = history.products[product]
    percent = int(rng.integers(1, 7)) * 5
    units = float(rng.integers(2, 13))
    return Offer(
        offer_id=f"offer-{number:03d}",
        sku=sold.sku,
        title=f"{percent}% off {sold.name}"[:1024],
        discount=percent / 100,
        margin=round(sold.unit_price * (_MARGIN_SHARE - percent / 100) * units, 2),
        valid_from_ms=begins_ms,
        valid_until_ms=ends_ms,
        simulated=True,
    )
