"""What an item's own hours tell of running out: sales against what is usual, and what was sold when it ran out before.

Walked hour by hour: features of an hour know that hour and those before, nothing later. Units are told as they are,
times in hours on the clock, and NaN is unknown.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.hourly import IN_STOCK, OUT_OF_STOCK, UNKNOWN

Floats = NDArray[np.float64]
Features = dict[str, NDArray[Any]]

#: Half-lives in days of what is usual, and of where it ran out lately.
USUAL_DAYS, LATELY_DAYS = 14.0, 3.0
_DAYS, _LEVELS, _CAPACITIES, _HOURS = 28, 8, 14, 6
_LONG_AGO, _LONGEST = -1e4, 500.0
_LITTLE = 0.1


class OwnHours:
    """The state of s items.

    Args:
        items: how many.
        a_day: opening hours a day.
        opens: the first of them.

    `usual` is the sales rate of each opening hour, of shape (s, a_day); `onsets` says who has just run out, `ran_out`
    who has today, `level` how much of the day was sold by then.
    """

    def __init__(self, items: int, a_day: int, opens: int) -> None:
        def zeros(*shape: int) -> Floats:
            return np.zeros((*shape, items))

        self.a_day, self.opens, self.day, self.hour, self.clock = a_day, opens, 0, 0, 0.0
        self.state = np.full(items, UNKNOWN, np.int8)
        self.units, self.exposure = np.zeros((items, a_day)), np.zeros((items, a_day))
        self.run_outs, self.run_outs_lately = np.zeros((items, a_day)), np.zeros((items, a_day))
        self.usual = np.zeros((items, a_day))
        self.today, self.since_restock, self.in_stock_today = zeros(), zeros(), zeros()
        self.ran_out, self.level = np.zeros(items, bool), np.full(items, np.nan)
        self.onsets = np.zeros(items, bool)
        self.last_sale, self.last_restock, self.last_run_out = (np.full(items, _LONG_AGO) for _ in range(3))
        self.recent, self.recent_usual, self.recent_onsets = zeros(_HOURS), zeros(_HOURS), zeros(_HOURS)
        self.fast, self.fast_usual = zeros(), zeros()
        self.day_units, self.day_hours = zeros(_DAYS), zeros(_DAYS)
        self.day_full, self.day_known = np.zeros((_DAYS, items), bool), np.zeros((_DAYS, items), bool)
        self.day_out = np.zeros((_DAYS, a_day, items), bool)
        self.out_today = np.zeros((a_day, items), bool)
        self.levels, self.restock_levels = (np.full((items, _LEVELS), np.nan) for _ in range(2))
        self.capacity, self.censored = np.full((items, _CAPACITIES), np.nan), np.ones((items, _CAPACITIES), bool)
        self.busy_units, self.busy_hours = zeros(), zeros()

    def begin_day(self, day: int) -> None:
        """Morning: nothing was sold today. `day` is counted from 1970."""
        self.day = day
        self.usual = self.units / np.maximum(self.exposure, 0.5)
        for held in (self.today, self.in_stock_today, self.ran_out, self.out_today):
            held[:] = 0
        self.level[:] = np.nan

    def observe(self, hour: int, sold: NDArray[Any], state: NDArray[np.int8]) -> None:
        """Takes in an opening hour (0 is the first) of all items."""
        self.hour, self.clock = hour, self.day * 24.0 + self.opens + hour
        units = sold.astype(np.float64)
        out, here = state == OUT_OF_STOCK, state == IN_STOCK
        self.onsets = out & (self.state == IN_STOCK)
        self._run_out(np.flatnonzero(self.onsets), units)
        restocked = here & (self.state == OUT_OF_STOCK)
        self.last_restock[restocked] = self.clock
        self.since_restock[restocked] = 0.0
        self.today += units
        self.since_restock += units
        self.in_stock_today += here
        self.last_sale[units > 0] = self.clock
        self.busy_units += units
        self.busy_hours += units > 0
        self.out_today[hour] = out
        expected = self.usual[:, hour]
        for ring, newest in ((self.recent, units), (self.recent_usual, expected), (self.recent_onsets, self.onsets)):
            ring[1:] = ring[:-1].copy()
            ring[0] = newest
        self.fast, self.fast_usual = 0.6 * self.fast + units, 0.6 * self.fast_usual + expected
        self.state = state.copy()

    def _run_out(self, at: NDArray[np.int64], units: Floats) -> None:
        for ring, level in ((self.levels, self.today), (self.restock_levels, self.since_restock)):
            ring[at, 1:] = ring[at, :-1]
            ring[at, 0] = level[at] + units[at]
        first = at[~self.ran_out[at]]
        self.level[first] = self.today[first] + units[first]
        self.ran_out[at] = True
        self.last_run_out[at] = self.clock
        self.run_outs[at, self.hour] += 1
        self.run_outs_lately[at, self.hour] += 1

    def end_day(self, sold: NDArray[Any], state: NDArray[np.int8]) -> None:
        """Evening: takes the day's opening hours, of shape (a_day, s), into what is usual."""
        known = (state != UNKNOWN).any(axis=0)
        here = (state == IN_STOCK).astype(np.float64)
        keep = np.where(known, 0.5 ** (1 / USUAL_DAYS), 1.0)
        self.units = self.units * keep[:, None] + (sold * here).T
        self.exposure = self.exposure * keep[:, None] + here.T
        self.run_outs *= keep[:, None]
        self.run_outs_lately *= 0.5 ** (1 / LATELY_DAYS)
        self.busy_units, self.busy_hours = self.busy_units * keep, self.busy_hours * keep
        full = self.in_stock_today == self.a_day
        for ring, newest in (
            (self.day_units, self.today),
            (self.day_hours, self.in_stock_today),
            (self.day_full, full),
            (self.day_known, known),
            (self.day_out, self.out_today),
        ):
            ring[1:] = ring[:-1].copy()
            ring[0] = newest
        capacity = np.where(self.ran_out, self.level, np.where(known, self.today, np.nan))
        for by_item, last in ((self.capacity, capacity), (self.censored, ~self.ran_out)):
            by_item[:, 1:] = by_item[:, :-1].copy()
            by_item[:, 0] = last

    def features(self, at: NDArray[np.int64]) -> Features:
        """The features of some items as of the hour taken in last."""
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing are NaN here
            expected = self._expected(at)
            return {
                "opening_hour": np.full(len(at), self.hour),
                "weekday": np.full(len(at), (self.day + 3) % 7),  # 1970-01-01 was a Thursday; Monday is 0
                **self._sales(at, expected),
                **{f"usual_{name}": units for name, units in expected.items()},
                **self._days(at),
                **self._ages(at),
                **self._risk_by_hour(at),
                **self._levels(at, expected),
                **self._capacities(at, expected),
            }

    def _expected(self, at: NDArray[np.int64]) -> dict[str, Floats]:
        usual, now = self.usual[at], self.hour
        spans = {
            "this_hour": (now, now + 1),
            "so_far": (0, now + 1),
            "day": (0, self.a_day),
            "rest": (now + 1, self.a_day),
        }
        spans |= {f"next_{k}h": (now + 1, now + 1 + k) for k in (1, 2, 4)}
        return {name: usual[:, a:b].sum(axis=1) for name, (a, b) in spans.items()}

    def _sales(self, at: NDArray[np.int64], expected: dict[str, Floats]) -> Features:
        recent, today = self.recent[:, at], self.today[at]
        found = {f"sold_{k}h": recent[:k].sum(axis=0) for k in (1, 2, 3, 6)}
        return found | {
            "sold_hour_before": recent[1],
            "sold_today": today,
            "sold_since_restock": self.since_restock[at],
            "sold_decayed": self.fast[at],
            "pace_3h": found["sold_3h"] / (self.recent_usual[:3, at].sum(axis=0) + _LITTLE),
            "pace_decayed": self.fast[at] / (self.fast_usual[at] + _LITTLE),
            "pace_today": today / (expected["so_far"] + _LITTLE),
            "busy_hour_units": self.busy_units[at] / np.maximum(self.busy_hours[at], 1.0),
            "busy_hour_share": self.busy_hours[at] / np.maximum(self.exposure[at].sum(axis=1), 1.0),
        }

    def _days(self, at: NDArray[np.int64]) -> Features:
        units, hours, full = self.day_units[:, at], self.day_hours[:, at], self.day_full[:, at]
        found: Features = {"sold_yesterday": units[0]}
        for days in (1, 7, 28):
            found[f"rate_{days}d"] = units[:days].sum(axis=0) / np.maximum(hours[:days].sum(axis=0), 1.0)
            found[f"hours_in_stock_{days}d"] = hours[:days].mean(axis=0)
        return found | {f"days_short_{days}d": (~full[:days]).sum(axis=0) for days in (7, 28)}

    def _ages(self, at: NDArray[np.int64]) -> Features:
        times = {"sale": self.last_sale, "restock": self.last_restock, "run_out": self.last_run_out}
        found: Features = {f"hours_since_{name}": np.minimum(self.clock - t[at], _LONGEST) for name, t in times.items()}
        return found | {"ran_out_today": self.ran_out[at]}

    def _risk_by_hour(self, at: NDArray[np.int64]) -> Features:
        now = self.hour
        found: Features = {"hours_seen_then": self.exposure[at, now], "hours_seen_next": self.exposure[at, now + 1]}
        for name, held in (("", self.run_outs[at]), ("_lately", self.run_outs_lately[at])):
            found |= {f"run_outs{name}_{k}h": held[:, now + k : now + k + 1].sum(axis=1) for k in (1, 2)}
            found[f"run_outs{name}_within_4h"] = held[:, now + 1 : now + 5].sum(axis=1)
            found[f"run_outs{name}"] = held.sum(axis=1)
        found["run_outs_before"] = self.run_outs[at, : now + 1].sum(axis=1)
        out, known = self.day_out[:, :, at], self.day_known[:, at]
        here = ~out[:, now] & known
        for days in (7, 28):
            found[f"days_here_{days}d"] = here[:days].sum(axis=0)
            for k in (1, 2, 4):
                then = out[:days, min(now + k, self.a_day - 1)]
                found[f"days_out_{k}h_later_{days}d"] = (here[:days] & then).sum(axis=0)
        later = out[:, now + 1 :]
        first = np.where(later.any(axis=1), later.argmax(axis=1) + 1, self.a_day + 4)
        for day in (1, 2, 7):
            gone = np.where(known[day - 1], -1, np.nan)
            found[f"ran_out_hours_later_{day}d_ago"] = np.where(here[day - 1], first[day - 1], gone)
        return found

    def _levels(self, at: NDArray[np.int64], expected: dict[str, Floats]) -> Features:
        """What was sold when it ran out the last eight times: since the morning, and since it was restocked."""
        found: Features = {}
        for name, held, sold in (
            ("", self.levels[at], self.today[at]),
            ("_restock", self.restock_levels[at], self.since_restock[at]),
        ):
            mean, known = np.nanmean(held, axis=1), np.isfinite(held)
            below = (held <= sold[:, None]).sum(axis=1) / known.sum(axis=1)
            found |= {f"level{name}_last": held[:, 0], f"level{name}_mean": mean}
            found |= {f"level{name}_share": sold / mean, f"level{name}_below": below}
        return found | {"level_min": np.nanmin(self.levels[at], axis=1)}

    def _capacities(self, at: NDArray[np.int64], expected: dict[str, Floats]) -> Features:
        """The last fourteen days: what each could sell, at least that where it did not run out."""
        held, event, sold = self.capacity[at], ~self.censored[at], self.today[at]
        above = held > sold[:, None]
        step = expected["next_1h"] + 0.05
        gap = np.where(above & event, held - sold[:, None], np.inf).min(axis=1)
        ran_out = np.where(event, held, np.nan)
        found = {
            f"days_above_within_{n}": self._within(held, event, sold, u) for n, u in expected.items() if n in _AHEAD
        }
        return found | {
            "days_above": above.sum(axis=1),
            "hours_to_next_level": np.where(np.isinf(gap), np.nan, gap / step),
            "hours_to_yesterdays": (held[:, 0] - sold) / step,
            "hours_to_last_weeks": (held[:, 6] - sold) / step,
            "capacity_yesterday": held[:, 0],
            "capacity_last_week": held[:, 6],
            "ran_out_yesterday": event[:, 0],
            "ran_out_last_week": event[:, 6],
            "capacity_share_median": sold / (np.nanmedian(ran_out, axis=1) + 0.05),
            "capacity_share_max": sold / (np.nanmax(held, axis=1) + 0.05),
            "capacity_spread": np.nanstd(held, axis=1) / (np.nanmean(held, axis=1) + _LITTLE),
            "capacity_of_usual": np.nanmean(ran_out, axis=1) / (expected["day"] + _LITTLE),
            "days_ran_out": event.sum(axis=1),
        }

    @staticmethod
    def _within(held: Floats, event: NDArray[np.bool_], sold: Floats, units: Floats) -> NDArray[np.int64]:
        now = sold[:, None]
        return np.asarray((event & (held > now) & (held <= now + units[:, None] + _LITTLE)).sum(axis=1))


_AHEAD = ("next_1h", "next_2h", "next_4h", "rest")
