"""When simulated customers visit the site, and which products each visit is about. Columns, one row a session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.simulation.history import SalesHistory

DAY_MS = 86_400_000
_MINUTE_MS = 60_000
#: Sessions without an order, for each session with one.
IDLE_SHARE = 0.25
_IDLE_AFTER_DAYS = (1, 21)


@dataclass(frozen=True, slots=True)
class Sessions:
    """Visits of known customers, k of them; int64 columns of shape (k,).

    Args:
        customer: index into the customers of the history.
        start_ms: when the visit begins.
        end_ms: when its last event can be; before the order, if there is one.
        first_line: first line of the order that the visit leads to, or, without one, of an order made before.
        lines: number of lines of that order.
        past_lines: lines of the history that are older than the visit.
        buys: 1 if the visit leads to an order.
    """

    customer: NDArray[np.int64]
    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]
    first_line: NDArray[np.int64]
    lines: NDArray[np.int64]
    past_lines: NDArray[np.int64]
    buys: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.customer)


def draw_sessions(history: SalesHistory, until_ms: int, rng: np.random.Generator) -> Sessions:
    """One session within the hour before each known customer's order, and some that end without an order.

    Args:
        history: the real orders.
        until_ms: sessions that would end later are left out.
        rng: source of all randomness.
    """
    buying = np.flatnonzero(history.order_customer >= 0)
    end_ms = history.order_time_ms[buying] - rng.integers(5_000, 2 * _MINUTE_MS, len(buying))
    start_ms = history.order_time_ms[buying] - rng.integers(8 * _MINUTE_MS, 59 * _MINUTE_MS, len(buying))
    idle = rng.choice(buying, int(len(buying) * IDLE_SHARE)) if len(buying) else buying
    low, high = _IDLE_AFTER_DAYS
    idle_start_ms = history.order_time_ms[idle] + rng.integers(low * DAY_MS, high * DAY_MS, len(idle))
    idle_end_ms = idle_start_ms + rng.integers(2 * _MINUTE_MS, 25 * _MINUTE_MS, len(idle))
    kept = idle_end_ms <= until_ms
    order = np.concatenate([buying, idle[kept]])
    starts = np.concatenate([start_ms, idle_start_ms[kept]])
    return Sessions(
        customer=history.order_customer[order],
        start_ms=starts,
        end_ms=np.concatenate([end_ms, idle_end_ms[kept]]),
        first_line=history.first_line[order],
        lines=history.first_line[order + 1] - history.first_line[order],
        past_lines=history.lines_before(starts),
        buys=np.repeat(np.array([1, 0], dtype=np.int64), [len(buying), int(kept.sum())]),
    )
