"""The stated replenishment policy of the simulated warehouse, and what it knows of an item's demand."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StockPolicy:
    """An (s, S) policy: in the evening, what is at or below s is ordered up to S.

    s covers the forecast demand over the lead time and the review day, and a safety stock; S another `cycle_days`.
    The forecast is a moving average, wrong by a factor that stays with the item: for most a little, for an
    `underforecast_share` of them much too low, so that they run out.

    Args:
        opening_value: money bound in an item's opening stock, on average; it depends on nothing but the price.
        window_days: days of demand that the forecast looks back.
        opening_weight_days: how many days of demand the opening guess is worth.
        safety_factor: standard deviations of demand over the lead time held as safety stock.
        cycle_days: days of demand between s and S.
        lot: orders are for multiples of so many units.
        forecast_error: standard deviation of the log of the usual forecast factor.
        underforecast_share: share of the items whose demand is underestimated.
        underforecast: their factors lie in this range.
        late_share: share of deliveries that come late.
        latest_days: the most that a delivery is late.
    """

    opening_value: float = 450.0
    window_days: int = 56
    opening_weight_days: float = 14.0
    safety_factor: float = 1.9
    cycle_days: float = 21.0
    lot: int = 6
    forecast_error: float = 0.15
    underforecast_share: float = 0.2
    underforecast: tuple[float, float] = (0.4, 0.75)
    late_share: float = 0.25
    latest_days: int = 6

    def opening_stock(self, unit_price: float, rng: random.Random) -> int:
        """Units on the shelf when an item is listed."""
        units = self.opening_value / max(unit_price, 0.1) * math.exp(rng.gauss(0.0, 0.5))
        return self.lot * max(1, round(units / self.lot))

    def forecast_factor(self, rng: random.Random) -> float:
        """How wrong the forecast of an item is: 1 is right, 0.5 sees half of the demand."""
        if rng.random() < self.underforecast_share:
            return rng.uniform(*self.underforecast)
        return math.exp(rng.gauss(0.0, self.forecast_error))

    def order_quantity(self, position: float, forecast: DemandForecast, lead_time_days: float) -> int:
        """Units to order for a stock position (on the shelf and on order, less backorders); 0 for none."""
        horizon = lead_time_days + 1.0
        safety = self.safety_factor * math.sqrt(forecast.daily_square * horizon)
        reorder_point = forecast.daily * horizon + safety
        if position > reorder_point:
            return 0
        missing = reorder_point + forecast.daily * self.cycle_days - position
        return self.lot * max(1, math.ceil(missing / self.lot))

    def delay_days(self, rng: random.Random) -> int:
        """Days between the expected and the real delivery: mostly 0, sometimes late, now and then a day early."""
        draw = rng.random()
        if draw < self.late_share:
            return 1 + int(draw / self.late_share * self.latest_days)
        return -1 if draw > 0.95 else 0


class DemandForecast:
    """What the buyer believes of an item's demand, from the days that are over.

    Demand is taken as compound Poisson: its variance a day is the mean of the squared daily demand.
    """

    __slots__ = ("_days", "_factor", "_first_day", "_guess", "_policy", "_square", "_sum", "daily", "daily_square")

    #: A single day counts at most as so many usual ones: nobody stocks up for one giant order.
    LARGEST_DAY = 15.0

    def __init__(self, policy: StockPolicy, opening_stock: float, factor: float, first_day: int) -> None:
        self._policy = policy
        self._factor = factor
        self._first_day = first_day
        self._guess = opening_stock / (3 * policy.opening_weight_days)
        self._days: deque[tuple[int, float]] = deque()
        self._sum = 0.0
        self._square = 0.0
        self.daily = self._guess * factor
        self.daily_square = 0.0

    def learn(self, day: int, demand: float) -> None:
        """Takes in the demand of a day that is over (units; returns of the day deducted)."""
        usual = max(self.daily / self._factor, self._guess)
        seen = min(max(demand, 0.0), math.ceil(self.LARGEST_DAY * usual))
        self._days.append((day, seen))
        self._sum += seen
        self._square += seen * seen
        while self._days[0][0] <= day - self._policy.window_days:
            _, gone = self._days.popleft()
            self._sum -= gone
            self._square -= gone * gone
        observed = min(day - self._first_day + 1, self._policy.window_days)
        weight = self._policy.opening_weight_days
        self.daily = self._factor * (self._guess * weight + self._sum) / (weight + observed)
        self.daily_square = self._factor**2 * self._square / (weight + observed)
