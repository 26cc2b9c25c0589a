"""Repertoire: a bounded table of a customer's products, with statistics of each, for reorder scores.

A basket is all lines of one customer in one second of event time. A product that does not fit evicts the one with the
smallest decayed weight.

Of what was evicted, `GONE` products are remembered by two bytes each: 12 bits of the id and how often it was bought, at
most 15. Those bought least often are forgotten first, of equal ones the oldest. A product that comes back has its
purchases of earlier baskets counted, and half of them, two at most, added to its weight: else a wholesale order of a
hundred lines makes strangers of all that is bought again and again. With all places taken, 32 in 4,096 products that
were never bought are taken for one of those.

A product that is held takes 26 bytes:

* Its first purchase is kept as a day and taken to be noon of it, so a mean gap of n purchases is exact to half a day
  over n - 1. The mean gap itself is not kept: gaps between ordered times add up to the span. With a product that comes
  back, first purchase, gaps and units begin anew.
* Its latest basket is kept by its number modulo 65,536: past as many baskets without the product, the count of those
  begins anew.
* Its weight is kept as the logarithm of what it was at the latest purchase, to the base of 2, in steps of 1/4,096, so
  products compare by a sum. An update is exact to 0.01%. Of what is bought many times a day, decay is lost in that: a
  product that is bought hourly for months weighs 15% too little.
* `past` are the newest 12 baskets, a bit each, below four bits for how often it was bought before it was evicted.
* Numbers of purchases and of baskets end at 65,535.

Late lines (older than the newest basket) count, but move no last time back, except that one on the day of the product's
first purchase is taken for that purchase. A late line counts a basket unless it is of the same second as the late line
before it: two late orders that come interleaved, line by line, count a basket a line. A late order that names a product
on two lines counts it twice. Neither lets a product have more purchases than there are baskets. A late line that is
newer than the product's own last purchase is taken to be of the newest basket: which one it was is not known any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel
from features.aggregations.seconds import second_age_days

_DAY_S = 86_400.0
#: Numbers of purchases and baskets end here; numbers of the latest basket begin anew after it.
_MOST = 65_535
#: Steps of a weight's logarithm.
_STEPS = 4096.0
#: Evicted products that are remembered.
GONE = 32
#: Purchases of one of them end here.
MOST_BEFORE = 15
#: Fields that are a column of the table, in the order of the record.
TABLE = ("product", "last_s", "strength", "units", "first_day", "n", "past", "basket")


@kernel
def bought_ever(n: Any, past: Any, baskets: Any) -> int:
    """Purchases since a product has been held and those that were remembered; no more than there were baskets."""
    return int(min(np.int64(n) + (np.int64(past) >> 12), np.int64(baskets)))


@kernel
def weight_of(strength: Any, decayed: float) -> float:
    """The weight after so many half-lives."""
    return float(2.0 ** (np.float64(strength) / 4096.0 - decayed))


@kernel
def _strength_of(weight: float) -> int:
    """A weight of at least 1 as it is kept."""
    return int(min(np.log2(weight) * 4096.0 + 0.5, 65535.0))


@kernel
def _find(product: Any, last: Any, strength: Any, s: int, wanted: Any, now: int, half_life_s: float) -> int:
    """The place of `wanted`, or of the first free place, or of the weakest product."""
    weakest = -1
    lowest = 1e300
    for j in range(product.shape[1]):
        if product[s, j] == wanted:
            return j
        if product[s, j] == 0:
            return j
        # As a power of two: an exponent cannot overflow, however late the row is. Of equal ones the first gives way.
        power = np.float64(strength[s, j]) / 4096.0 + np.float64(last[s, j]) / half_life_s
        if power < lowest:
            lowest = power
            weakest = j
    return weakest


@kernel
def _recall(gone: Any, s: int, product: Any) -> int:
    """How often a product was bought before it was evicted, which is forgotten now; 0 where nothing is known."""
    mark = np.int64(product) & 0xFFF
    for q in range(gone.shape[1]):
        held = np.int64(gone[s, q])
        if held == 0:
            return 0
        if held >> 4 == mark:
            for later in range(q, gone.shape[1] - 1):
                gone[s, later] = gone[s, later + 1]
            gone[s, gone.shape[1] - 1] = 0
            return int(held & 0xF)
    return 0


@kernel
def _remember(gone: Any, s: int, product: Any, n: int) -> None:
    """Puts an evicted product in front; the one that was bought least often gives way, of equal ones the oldest."""
    if n == 0:
        return
    last = 0
    for q in range(gone.shape[1]):
        if np.int64(gone[s, q]) & 0xF <= np.int64(gone[s, last]) & 0xF:
            last = q
    for q in range(last, 0, -1):
        gone[s, q] = gone[s, q - 1]
    gone[s, 0] = ((np.int64(product) & 0xFFF) << 4) | min(n, MOST_BEFORE)


@kernel
def _count_basket(baskets: Any, number: Any, newest: Any, late: Any, s: int, now: int) -> None:
    """A line begins a basket where its second is newer than all, or late and not that of the late line before it."""
    if now > np.int64(newest[s]):
        number[s] = (np.int64(number[s]) + 1) & 0xFFFF
        newest[s] = now
    elif now < np.int64(newest[s]) and now != np.int64(late[s]):
        late[s] = now
    else:
        return
    baskets[s] = min(np.int64(baskets[s]) + 1, 0xFFFF)


@kernel
def _update(
    baskets: Any,
    number: Any,
    product: Any,
    last: Any,
    strength: Any,
    units: Any,
    first_day: Any,
    n: Any,
    past: Any,
    basket: Any,
    newest: Any,
    late: Any,
    gone: Any,
    slots: Any,
    kinds: Any,
    times: Any,
    products: Any,
    quantities: Any,
    mask: int,
    half_life_s: float,
) -> None:
    for i in range(slots.shape[0]):
        if not mask & (1 << kinds[i]) or products[i] == 0:
            continue
        s = slots[i]
        now = times[i] // 1000
        day = now // 86400
        _count_basket(baskets, number, newest, late, s, now)
        j = _find(product, last, strength, s, products[i], now, half_life_s)
        amount = quantities[i] / 1000.0
        if product[s, j] != products[i]:
            before = _recall(gone, s, products[i])
            if product[s, j] != 0:
                # Not the purchase of this very basket: another line of it may name the product again.
                of_now = 1 if np.int64(last[s, j]) == now else 0
                _remember(gone, s, product[s, j], bought_ever(n[s, j], past[s, j], baskets[s]) - of_now)
            product[s, j] = products[i]
            last[s, j] = now
            strength[s, j] = _strength_of(1.0 + min(before, 4) / 2.0)
            units[s, j] = amount
            first_day[s, j] = day
            n[s, j] = 1
            past[s, j] = (before << 12) | 1
            basket[s, j] = number[s]
            continue
        units[s, j] += amount
        latest = np.int64(last[s, j])
        if now > latest:
            shift = (np.int64(number[s]) - np.int64(basket[s, j])) & 0xFFFF
            kept = (np.int64(past[s, j]) << shift) & 0xFFF if shift < 12 else 0
            past[s, j] = (np.int64(past[s, j]) & 0xF000) | kept | 1
            strength[s, j] = _strength_of(weight_of(strength[s, j], (now - latest) / half_life_s) + 1.0)
            last[s, j] = now
            basket[s, j] = number[s]
        elif now < latest and day != np.int64(first_day[s, j]):
            strength[s, j] = _strength_of(weight_of(strength[s, j], 0.0) + 2.0 ** ((now - latest) / half_life_s))
            first_day[s, j] = min(day, np.int64(first_day[s, j]))
        else:
            continue
        n[s, j] = min(np.int64(n[s, j]) + 1, np.int64(baskets[s]))


@dataclass(frozen=True)
class Repertoire(Aggregation):
    """Per-product statistics of the `size` products that matter most to a customer.

    Args:
        size: how many products are held, at least two.
        half_life_days: of a product's weight.
    """

    size: int = 32
    half_life_days: float = 60.0
    undone: ClassVar[str] = (
        "Cancellations and returns take no part: a basket that was undone was still a wish. Count them on their own."
    )

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"repertoire {self.name!r}: a table has at least two places, not {self.size}")

    def fields(self) -> list[Field]:
        """Baskets so far and the newest one's number; a column a statistic; seconds of the newest and a late basket."""
        k = self.size
        return [
            Field("baskets", "u2"),
            Field("number", "u2"),
            Field("product", "u8", k),
            Field("last_s", "u4", k),
            Field("strength", "u2", k),
            Field("units", "f4", k),
            Field("first_day", "u2", k),
            Field("n", "u2", k),
            Field("past", "u2", k),
            Field("basket", "u2", k),
            Field("newest_s", "u4"),
            Field("late_s", "u4"),
            Field("gone", "u2", GONE),
        ]

    def update(self, state: State, slots: Slots, columns: Columns) -> int:
        """Applies order lines."""
        _update(
            state["baskets"],
            state["number"],
            state["product"],
            state["last_s"],
            state["strength"],
            state["units"],
            state["first_day"],
            state["n"],
            state["past"],
            state["basket"],
            state["newest_s"],
            state["late_s"],
            state["gone"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            columns["product"],
            columns["quantity"],
            self.mask,
            self.half_life_days * _DAY_S,
        )
        return 0

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """How many products and baskets there are; the table itself is in `read_lists`."""
        return {
            f"{self.name}_products": (state["product"][slots] != 0).sum(axis=1).astype(np.float64),
            f"{self.name}_baskets": state["baskets"][slots].astype(np.float64),
        }

    def describe(self) -> dict[str, str]:
        """Two columns."""
        return {
            f"{self.name}_products": f"{self.doc}: how many are held, at most {self.size}",
            f"{self.name}_baskets": f"baskets so far, at most {_MOST:,}",
        }

    def read_lists(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[Any]]:
        """The table, a column a statistic; places keep their order."""
        product, n = state["product"][slots], state["n"][slots].astype(np.float64)
        ever = np.minimum(n + (state["past"][slots] >> 12), state["baskets"][slots][:, None])
        last, first = state["last_s"][slots].astype(np.int64), first_seconds(state["first_day"][slots])
        held = product != 0
        age = second_age_days(state["last_s"][slots], as_of_ms[:, None])
        gap = np.where(n > 1, np.maximum(last - first, 0) / _DAY_S / np.maximum(n - 1, 1), np.nan)
        weight = np.exp2(state["strength"][slots] / _STEPS - np.nan_to_num(age) / self.half_life_days)
        since = (state["number"][slots].astype(np.int64)[:, None] - state["basket"][slots].astype(np.int64)) & _MOST
        first_age = np.maximum(as_of_ms[:, None] // 1000 - first, 0) / _DAY_S
        columns = {
            "n": ever,
            "last_age_days": age,
            "first_age_days": first_age,
            "gap_days": gap,
            "weight": weight,
            "units": state["units"][slots].astype(np.float64),
            "baskets_since": since.astype(np.float64),
        }
        lists: dict[str, NDArray[Any]] = {f"{self.name}_product": product}
        return lists | {f"{self.name}_{name}": np.where(held, column, np.nan) for name, column in columns.items()}

    def describe_lists(self) -> dict[str, str]:
        """Eight columns."""
        return {
            f"{self.name}_product": f"{self.doc}: 64-bit product ids (0: none)",
            f"{self.name}_n": "baskets with the product, with those remembered of before it was held",
            f"{self.name}_last_age_days": "days since the product was last bought",
            f"{self.name}_first_age_days": "days since the product was first bought, of what is held (to half a day)",
            f"{self.name}_gap_days": "mean days between purchases of the product, of what is held (NaN: one)",
            f"{self.name}_weight": f"baskets with the product, decayed (half-life {self.half_life_days:g} days)",
            f"{self.name}_units": "units of the product bought since it has been held",
            f"{self.name}_baskets_since": "baskets since the product was last bought",
        }

    def understands(self, kinds: Mapping[str, str]) -> bool:
        """Its own fields, and those of before evicted products were remembered."""
        own = {f.name: f.dtype for f in self.fields()}
        same = {name: kind for name, kind in own.items() if name not in ("strength", "past", "gone")}
        return dict(kinds) in (own, same | {"weight": "f4", "bits": "u2"})

    def carry(self, old: Mapping[str, str], source: State, target: State) -> bool:
        """Keeps the strongest products that fit; anew where another half-life made the weights."""
        new = self.parameters()
        if any(old.get(name) != new[name] for name in new if name != "size"):
            return False
        if "strength" not in source:
            source = _of_before(source)
        kept = _strongest(source, self.size, self.half_life_days * _DAY_S)
        for name in target.keys() & source.keys():
            if name in TABLE:
                target[name][0, : len(kept)] = source[name][0, kept]
            elif name == "gone":
                most = min(source[name].shape[1], GONE)
                target[name][0, :most] = source[name][0, :most]
            else:
                target[name][...] = source[name]
        return True


def first_seconds(first_day: NDArray[Any]) -> NDArray[np.int64]:
    """Noon of a day as seconds: where a first purchase is taken to be, int64 of the shape of `first_day`."""
    return first_day.astype(np.int64) * 86_400 + 43_200


def _of_before(source: State) -> State:
    """A record of before evicted products were remembered: weights as they are, and bits of 16 baskets."""
    logarithm = np.log2(np.maximum(source["weight"].astype(np.float64), 1.0))
    strength = np.minimum(logarithm * _STEPS + 0.5, _MOST).astype(np.uint16)
    return {**source, "strength": strength, "past": source["bits"] & 0xFFF}


def _strongest(source: State, size: int, half_life_s: float) -> NDArray[np.intp]:
    """The places of the `size` products with the largest weight at one time, in their order in the table."""
    places = np.flatnonzero(source["product"][0])
    strength = source["strength"][0, places] / _STEPS + source["last_s"][0, places].astype(np.float64) / half_life_s
    return np.sort(places[np.argsort(-strength, kind="stable")[:size]])
