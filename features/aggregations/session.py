"""Session: what a visitor has done since coming to the site.

A new session begins with an event that comes more than `gap_minutes` after the newest one, or whose session id is
another one; an event without an id (0) goes on with the session at hand. Times are whole seconds.

An event that is older than the newest one never moves time back and begins no session. It counts in the session at
hand if it is not older than its start and has no other id; otherwise it belongs to a session whose figures are gone
and is counted as too late. Two devices that are used at once take turns: each change of the id begins a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel, kinds_mask
from features.aggregations.seconds import second_age_days


@kernel
def _update(
    count: Any,
    session: Any,
    start: Any,
    last: Any,
    events: Any,
    products: Any,
    carts: Any,
    slots: Any,
    kinds: Any,
    times: Any,
    ids: Any,
    mask: int,
    product_mask: int,
    cart_mask: int,
    gap_s: int,
) -> int:
    late = 0
    for i in range(slots.shape[0]):
        bit = 1 << kinds[i]
        if not mask & bit:
            continue
        s = slots[i]
        now = times[i] // 1000
        another = ids[i] != 0 and session[s] != 0 and ids[i] != session[s]
        if now < np.int64(last[s]):
            if another or now < np.int64(start[s]):
                late += 1
                continue
        elif count[s] == 0 or another or now - np.int64(last[s]) > gap_s:
            count[s] += 1
            session[s] = 0
            start[s] = now
            events[s] = 0
            products[s] = 0
            carts[s] = 0
        last[s] = max(now, np.int64(last[s]))
        if ids[i] != 0:
            session[s] = ids[i]
        events[s] = min(np.int64(events[s]) + 1, 65535)
        if product_mask & bit:
            products[s] = min(np.int64(products[s]) + 1, 65535)
        if cart_mask & bit:
            carts[s] = min(np.int64(carts[s]) + 1, 65535)
    return late


@dataclass(frozen=True)
class Session(Aggregation):
    """The session at hand, or the last one: since when, how many events, products and carts; and how many sessions.

    Args:
        viewed: kinds that count as a product looked at.
        carted: kinds that count as a product put into the cart.
        gap_minutes: a longer pause ends a session.
    """

    viewed: tuple[int, ...] = ()
    carted: tuple[int, ...] = ()
    gap_minutes: int = 30
    undone: ClassVar[str] = "Takes clicks: what is taken out of a cart is an event of the session, and stays a cart."

    def fields(self) -> list[Field]:
        """How many sessions, then the id, times in whole seconds and counts (65,535 at most) of the newest."""
        return [
            Field("count", "u4"),
            Field("session", "u8"),
            Field("start_s", "u4"),
            Field("last_s", "u4"),
            Field("events", "u2"),
            Field("products", "u2"),
            Field("carts", "u2"),
        ]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Goes on with the session or begins one; events of earlier sessions are too late."""
        return _update(
            state["count"],
            state["session"],
            state["start_s"],
            state["last_s"],
            state["events"],
            state["products"],
            state["carts"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            columns["session"],
            self.mask,
            kinds_mask(self.viewed),
            kinds_mask(self.carted),
            self.gap_minutes * 60,
        )

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """The newest session's figures; `open` says whether it has not ended by `as_of_ms`."""
        last = state["last_s"][slots]
        ago_s = as_of_ms // 1000 - last.astype(np.int64)
        return {
            f"{self.name}_count": state["count"][slots].astype(np.float64),
            f"{self.name}_open": ((last > 0) & (ago_s <= self.gap_minutes * 60)).astype(np.float64),
            f"{self.name}_events": state["events"][slots].astype(np.float64),
            f"{self.name}_products": state["products"][slots].astype(np.float64),
            f"{self.name}_carts": state["carts"][slots].astype(np.float64),
            f"{self.name}_start_age_days": second_age_days(state["start_s"][slots], as_of_ms),
            f"{self.name}_last_age_days": second_age_days(last, as_of_ms),
        }

    def describe(self) -> dict[str, str]:
        """Seven columns."""
        return {
            f"{self.name}_count": f"{self.doc}: how many",
            f"{self.name}_open": f"1 where the latest session's last event is at most {self.gap_minutes} minutes ago",
            f"{self.name}_events": "events in the latest session",
            f"{self.name}_products": "products looked at in the latest session",
            f"{self.name}_carts": "products put into the cart in the latest session",
            f"{self.name}_start_age_days": "days since the latest session began (NaN: none yet)",
            f"{self.name}_last_age_days": "days since the latest session's last event (NaN: none yet)",
        }
