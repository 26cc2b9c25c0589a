"""What the past days of an item, and of others like it, tell of its demand on the next day.

Features of a day know the days before it, the calendar, and the price that was set for it before it began; nothing else
of the day itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.days import Days, Floats
from export.datasets.hazardfeatures import GROUPS
from export.datasets.ownhours import Features
from export.datasets.periods import WARM_UP_DAYS

#: Days that are looked back.
DAYS_BACK = 28
#: The column of the level.
LEVEL = 1
#: Days back of which the mean discount is the usual one.
_USUAL_DAYS = 14
#: Half-lives of decayed means.
_HALF_LIVES = (1.5, 4.0, 10.0)
_SPANS = (3, 7, 14, 28)
_LITTLE = 0.05
#: Groups of which the evening tells something.
_EVENINGS = ("region", "chain")


#: The features of which it says something that they are unknown.
DAY_FLAGGED = (
    "mean_3d",
    "demand_1d_ago",
    "demand_2d_ago",
    "demand_7d_ago",
    "demand_14d_ago",
    "full_mean_3d",
    "full_mean_7d",
    "full_mean_14d",
    "last_full",
)


#: What the names of features begin with that are told in units.
_UNITS = ("mean_", "sold_", "demand_", "same_weekday", "full_", "last_full", "most")


@cache
def day_names() -> tuple[str, ...]:
    """The names of the features, in column order; the first two are the weekday and the level."""
    shape = (WARM_UP_DAYS + 1, 1)
    zeros, yes = np.zeros(shape), np.ones(shape, bool)
    days = Days(0, zeros, zeros, zeros, zeros, zeros, zeros, yes, yes, zeros, ~yes, zeros)
    groups = {name: np.zeros(1, np.int64) for name in GROUPS}
    return tuple(_of_day(days, days.demand, groups, WARM_UP_DAYS))


@cache
def day_units() -> tuple[str, ...]:
    """The features that are told in units; what they say hangs on the level."""
    return tuple(name for name in day_names() if name.startswith(_UNITS))


def day_features(
    days: Days, groups: Mapping[str, NDArray[np.int64]], day: NDArray[np.int64], item: NDArray[np.int64]
) -> tuple[list[str], NDArray[np.float32]]:
    """The features of some (day, item), as of the close of the day before.

    Args:
        days: of all items: the others tell as well.
        groups: from `groups_of`.
        day: counted from 1970, int64 of shape (n,).
        item: int64 of shape (n,).

    Returns:
        Names, and float32 of shape (n, features); the first two are the weekday and the level (`LEVEL`) that demand is
        measured against.
    """
    names: list[str] = []
    found = np.empty((0, 0), np.float32)
    demand = days.demand
    for number in np.unique(day).tolist():
        told = _of_day(days, demand, groups, number - days.first_day)
        if not names:
            names, found = list(told), np.empty((len(day), len(told)), np.float32)
        at = np.flatnonzero(day == number)
        found[at] = np.column_stack([values[item[at]] for values in told.values()])
    return names, found


def _of_day(days: Days, demand: Floats, groups: Mapping[str, NDArray[np.int64]], number: int) -> Features:
    back = slice(max(number - DAYS_BACK, 0), number)
    weekday = (days.first_day + number + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    past = demand[back][::-1]
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing are NaN here
        own = _own(days, past, back)
        found: Features = {"weekday": np.full(past.shape[1], weekday), **own, **_selling(days, back)}
        for name, group in groups.items():
            told = _of_group(past, np.nan_to_num(own["level"]), days.closed_out[number - 1], group)
            found |= {f"{name}_{what}": values for what, values in told.items()}
        for name in _EVENINGS:
            found[f"{name}_evening_share"] = _evening(days.late[number - 1], days.sold[number - 1], groups[name])
        return found | _price(days.discount, number)


def _price(discount: Floats, number: int) -> Features:
    """The day's discount, and what it is less yesterday's, a week ago's and the usual one; NaN where none was told."""
    today, usual = discount[number], np.nanmean(discount[max(number - _USUAL_DAYS, 0) : number], axis=0)
    less = {"1d_ago": discount[number - 1], "7d_ago": discount[number - 7], "usual": usual}
    return {"discount": today} | {f"discount_less_{what}": today - before for what, before in less.items()}


def _selling(days: Days, back: slice) -> Features:
    """In how many of its hours in stock it sold: where that is rare, it tells more of the demand than units do."""
    selling, here, sold = (of[back][::-1] for of in (days.selling, days.in_stock, days.sold))
    found = {f"sell_rate_{d}d": selling[:d].sum(axis=0) / (here[:d].sum(axis=0) + 1.0) for d in (3, 7, 14)}
    found |= {f"sell_rate_{d}d_ago": selling[d - 1] / (here[d - 1] + 1.0) for d in (3, 7)}
    return found | {
        "units_a_selling_hour": sold[:14].sum(axis=0) / (selling[:14].sum(axis=0) + 0.5),
        "most_an_hour_7d_ago": days.most[back][-7],
        "sold_early_yesterday": days.early[back][-1],
        "hours_in_stock_yesterday": here[0],
        "evening_share_yesterday": days.late[back][-1] / (sold[0] + 0.1),
    }


def _evening(late: Floats, sold: Floats, group: NDArray[np.int64]) -> Floats:
    """Which share of a day's sales of the others came late."""
    late, sold = (np.bincount(group, weights=of)[group] - of for of in (late, sold))
    return np.asarray(late / (sold + 0.5))


def _own(days: Days, past: Floats, back: slice) -> Features:
    sold, full = days.sold[back][::-1], days.full[back][::-1]
    whole = np.where(full, sold, np.nan)
    means = {f"mean_{span}d": np.nanmean(past[:span], axis=0) for span in _SPANS}
    full_mean = np.nanmean(whole, axis=0)
    level = np.where(np.isfinite(full_mean), full_mean, means["mean_28d"])
    found: Features = {"level": level, **means}
    found |= {f"mean_decayed_{half}d": _decayed(past, half) for half in _HALF_LIVES}
    found |= {f"sold_{k}d_ago": sold[k - 1] for k in range(1, 8)} | {"sold_14d_ago": sold[13]}
    found |= {f"demand_{k}d_ago": past[k - 1] for k in (1, 2, 7, 14)}
    found |= {f"share_{k}d_ago": days.share[back][-k] for k in (1, 2, 3, 7)}
    same = past[6::7]
    found |= {"same_weekday": np.nanmean(same, axis=0), "same_weekday_last_two": np.nanmean(same[:2], axis=0)}
    found |= {f"full_mean_{span}d": np.nanmean(whole[:span], axis=0) for span in (3, 7, 14)}
    found |= {
        "full_high": np.nanquantile(whole, 0.9, axis=0),
        "full_median": np.nanmedian(whole, axis=0),
        "full_deviation": np.nanstd(whole, axis=0),
        "last_full": _first_known(whole),
        "most": np.nanmax(past, axis=0),
    }
    found |= {f"days_full_{span}d": full[:span].sum(axis=0) for span in (7, 28)}
    found |= {
        "days_known": days.known[back].sum(axis=0),
        "days_without_sale": ((sold == 0) & full).mean(axis=0),
        "late_yesterday": days.late[back][-1],
        "closed_out": days.closed_out[back][-1],
        "growth": means["mean_7d"] / (means["mean_28d"] + _LITTLE),
        "growth_3d": means["mean_3d"] / (means["mean_14d"] + _LITTLE),
    }
    return found


def _decayed(past: Floats, half_life: float) -> Floats:
    weight = 0.5 ** (np.arange(len(past)) / half_life)[:, None] * np.isfinite(past)
    return np.asarray((weight * np.nan_to_num(past)).sum(axis=0) / weight.sum(axis=0))


def _first_known(newest_first: Floats) -> Floats:
    known = np.isfinite(newest_first)
    first = np.take_along_axis(newest_first, known.argmax(axis=0)[None], axis=0)[0]
    return np.where(known.any(axis=0), first, np.nan)


def _of_group(past: Floats, level: Floats, closed_out: NDArray[np.bool_], group: NDArray[np.int64]) -> Features:
    """Demand of the others against their level, by days back; the item itself is left out."""
    known = np.isfinite(past) & (level > 0)

    def others(of_items: NDArray[Any]) -> Floats:
        return np.asarray(np.bincount(group, weights=of_items)[group] - of_items, np.float64)

    def against(days: slice) -> Floats:
        wanted = others(np.where(known[days], past[days], 0.0).sum(axis=0))
        usual = others((known[days] * level).sum(axis=0))
        return np.asarray((wanted + 1.0) / (usual + 1.0))

    count = others(np.ones(len(group)))
    found: Features = {f"{k}d_ago": against(slice(k - 1, k)) for k in (1, 2, 3, 7, 14)}
    found |= {f"pace_{span}d": against(slice(0, span)) for span in (3, 7)}
    return found | {
        "same_weekday": against(slice(6, None, 7)),
        "level": others(level) / np.maximum(count, 1.0),
        "others": count,
        "closed_out": others(closed_out.astype(np.float64)) / np.maximum(count, 1.0),
    }
