"""Days of items: what each sold, how much of the day it was there to be sold, and what it might have sold otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.datasets.hourly import IN_STOCK, UNKNOWN, Hourly

Floats = NDArray[np.float64]

#: A day of which less than this was in stock says little of the demand: its sales are scaled up as if it were this.
_LEAST_SHARE = 0.3
#: The first and the last opening hours of a day.
_EARLY, _LATE = 5, 6


@dataclass(frozen=True, slots=True)
class Days:
    """d days by s items.

    Args:
        first_day: counted from 1970.
        sold: units sold in opening hours, float64 of shape (d, s).
        early, late: those of the first five and the last six opening hours.
        most: those of the best hour.
        selling, in_stock: opening hours with a sale, and in stock; float64 of shape (d, s).
        full: in stock in every opening hour, bool of shape (d, s).
        known: anything was told of the item that day, bool of shape (d, s).
        share: of a day's usual sales that falls into the hours in stock, float64 of shape (d, s).
        closed_out: out of stock in the last opening hour, bool of shape (d, s).
        discount: share of the usual price taken off, as was told before the day began, NaN where none was; of the day
            after the last as well: float64 of shape (d + 1, s).
    """

    first_day: int
    sold: Floats
    early: Floats
    late: Floats
    most: Floats
    selling: Floats
    in_stock: Floats
    full: NDArray[np.bool_]
    known: NDArray[np.bool_]
    share: Floats
    closed_out: NDArray[np.bool_]
    discount: Floats

    @property
    def demand(self) -> Floats:
        """Sales scaled up to a whole day; NaN where the item was not there at all. Of shape (d, s)."""
        there = self.known & (self.share > 0)
        return np.where(there, self.sold / np.maximum(self.share, _LEAST_SHARE), np.nan)


def days_of(hours: Hourly) -> Days:
    """Adds up hours; the usual share of an hour is that of all items on the days before (on the first day, its own)."""
    shape = (-1, hours.a_day, len(hours.items))
    sold, state = hours.sold.astype(np.float64).reshape(shape), hours.state.reshape(shape)
    here = state == IN_STOCK
    untold = np.full((len(sold) + 1, sold.shape[2]), np.nan)
    return Days(
        first_day=hours.first_day,
        sold=sold.sum(axis=1),
        early=sold[:, :_EARLY].sum(axis=1),
        late=sold[:, -_LATE:].sum(axis=1),
        most=sold.max(axis=1),
        selling=(sold > 0).sum(axis=1).astype(np.float64),
        in_stock=here.sum(axis=1).astype(np.float64),
        full=here.all(axis=1),
        known=(state != UNKNOWN).any(axis=1),
        share=np.einsum("dh,dhs->ds", _shape_of_day(sold, here), here),
        closed_out=~here[:, -1],
        discount=untold if hours.discount is None else hours.discount.astype(np.float64),
    )


def _shape_of_day(sold: Floats, here: NDArray[np.bool_]) -> Floats:
    """The share of each opening hour in a day's sales, by what was known in the morning, of shape (d, a_day)."""
    units, exposure = (np.cumsum(of.sum(axis=2), axis=0) for of in (np.where(here, sold, 0.0), here))
    rate = (units + 1e-9) / np.maximum(exposure, 1.0)
    rate[1:] = rate[:-1].copy()
    return np.asarray(rate / rate.sum(axis=1, keepdims=True))
