"""The simulated warehouse: a stock ledger an item, driven by the real order lines and the real stock corrections.

The ledger's truth, at every moment of an item:

* stock = last count + received + adjusted - ordered + cancelled + returned, all since that count. Below zero it is
  what customers wait for (backorders); the next delivery goes to them first. On the shelf is max(stock, 0).
* `ran_out` is sent when the shelf becomes empty, `restocked` when it is no longer so. They carry no quantity: stock
  may be below zero when the shelf runs out.
* Counts come at the end of the day, when all of the day's demand is over. An empty shelf is not counted, but when a
  real write-off takes more than the simulated shelf had: then a count settles it the same evening.

The policy of an item sees only that item's past; an item's random numbers depend on the seed and its name alone. So
the ledger up to a moment does not change with what comes after it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

import xxhash

from stream.events import (
    InventoryEvent,
    OrderEvent,
    OrderPlaced,
    Product,
    PurchaseOrderPlaced,
    RanOut,
    Restocked,
    StockAdjusted,
    StockCounted,
    StockReceived,
)
from stream.simulation.policy import DemandForecast, StockPolicy

DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
#: Counts, and then the buyers' review, are as of the last moment of the day.
_EVENING_MS = DAY_MS - 1
_EXPECTED_TIME_MS = 9 * _HOUR_MS
_DELIVERY_TIMES_MS = (7 * _HOUR_MS, 11 * _HOUR_MS)
_COUNT_WEEKDAYS = 5


class Movement(NamedTuple):
    """A real change of an item's stock: an order line (demand) or a stock correction."""

    event_time_ms: int
    quantity: float
    is_demand: bool


class _Task(NamedTuple):
    due_ms: int
    kind: str  # "count" comes before "review", as it sorts
    number: int
    quantity: float = 0.0
    purchase_order_id: str | None = None


def simulate_stock(
    orders: Sequence[OrderEvent],
    adjustments: Sequence[StockAdjusted],
    catalog: Sequence[Product],
    until_ms: int,
    seed: int,
    policy: StockPolicy | None = None,
) -> list[InventoryEvent]:
    """Stock events of every item that has a real movement.

    Args:
        orders: topic `orders`, in event-time order.
        adjustments: real stock corrections, in event-time order.
        catalog: prices and lead times.
        until_ms: no event is later.
        seed: the same seed gives the same events.
        policy: how the buyers work.

    Returns:
        The simulated events and `adjustments`, in event-time order.
    """
    known = {product.sku: product for product in catalog}
    events: list[InventoryEvent] = list(adjustments)
    # In order of the items: what happens at one moment then has an order that nothing later can change.
    for (location, sku), movements in sorted(movements_by_item(orders, adjustments).items()):
        ledger = _ItemLedger(location, known[sku], movements[0].event_time_ms, seed, policy or StockPolicy())
        events += ledger.run(movements, until_ms)
    events.sort(key=lambda event: event.event_time_ms)
    return events


def movements_by_item(
    orders: Iterable[OrderEvent], adjustments: Iterable[StockAdjusted]
) -> dict[tuple[str, str], list[Movement]]:
    """Real movements by (location, sku), by event time; at equal times orders come before corrections."""
    items: dict[tuple[str, str], list[Movement]] = {}
    for order in orders:
        sign = -1.0 if isinstance(order, OrderPlaced) else 1.0
        for line in order.lines:
            movement = Movement(order.event_time_ms, sign * line.quantity, True)
            items.setdefault((order.location, line.sku), []).append(movement)
    for adjusted in adjustments:
        movement = Movement(adjusted.event_time_ms, adjusted.quantity, False)
        items.setdefault((adjusted.location, adjusted.sku), []).append(movement)
    for movements in items.values():
        movements.sort(key=lambda movement: movement.event_time_ms)
    return items


class _ItemLedger:
    def __init__(self, location: str, product: Product, first_ms: int, seed: int, policy: StockPolicy) -> None:
        self._location = location
        self._sku = product.sku
        self._lead_time_days = product.lead_time_days
        self._policy = policy
        self._name = xxhash.xxh3_64_hexdigest(f"{location}:{product.sku}".encode())
        self._rng = random.Random(f"{seed}:{location}:{product.sku}")
        self._weekday = self._rng.randrange(_COUNT_WEEKDAYS)
        first_day = first_ms // DAY_MS
        self._stock: float = policy.opening_stock(product.unit_price, self._rng)
        factor = policy.forecast_factor(self._rng)
        self._forecast = DemandForecast(policy, self._stock, factor, first_day)
        self._on_order = 0.0
        self._day_demand = 0.0
        self._written_off_too_much = 0.0
        self._planned: set[tuple[int, str]] = set()
        self._tasks: list[_Task] = []
        self._task_number = 0
        self._events: list[InventoryEvent] = []
        self._count((first_day - 1) * DAY_MS + _EVENING_MS)

    def run(self, movements: Sequence[Movement], until_ms: int) -> list[InventoryEvent]:
        for movement in movements:
            self._work_until(movement.event_time_ms)
            self._move(movement)
        self._work_until(until_ms + 1)
        return self._events

    def _work_until(self, now_ms: int) -> None:
        while self._tasks and self._tasks[0].due_ms < now_ms:
            task = heappop(self._tasks)
            self._planned.discard((task.due_ms, task.kind))
            if task.kind == "delivery":
                self._receive(task)
            elif task.kind == "review":
                self._review(task.due_ms)
            elif self._stock > 0 or self._written_off_too_much:
                self._count(task.due_ms)

    def _move(self, movement: Movement) -> None:
        shelf = max(self._stock, 0.0)
        self._change(movement.quantity, movement.event_time_ms)
        day = movement.event_time_ms // DAY_MS
        count_day = day + (self._weekday - day) % 7
        if movement.is_demand:
            self._day_demand -= movement.quantity
            self._plan("review", day * DAY_MS + _EVENING_MS)
        elif -movement.quantity > shelf:
            self._written_off_too_much += -movement.quantity - shelf
            count_day = day
        self._plan("count", count_day * DAY_MS + _EVENING_MS)

    def _change(self, quantity: float, now_ms: int) -> None:
        before = self._stock
        self._stock += quantity
        if before > 0 >= self._stock:
            self._events.append(RanOut(**self._common(now_ms)))
        elif before <= 0 < self._stock:
            self._events.append(Restocked(**self._common(now_ms)))

    def _receive(self, task: _Task) -> None:
        self._events.append(
            StockReceived(**self._common(task.due_ms), quantity=task.quantity, purchase_order_id=task.purchase_order_id)
        )
        self._on_order -= task.quantity
        self._change(task.quantity, task.due_ms)

    def _count(self, now_ms: int) -> None:
        there = max(self._stock + self._written_off_too_much, 0.0)
        self._written_off_too_much = 0.0
        self._events.append(StockCounted(**self._common(now_ms), quantity=there))
        self._change(there - self._stock, now_ms)

    def _review(self, now_ms: int) -> None:
        day = now_ms // DAY_MS
        self._forecast.learn(day, self._day_demand)
        self._day_demand = 0.0
        position = self._stock + self._on_order
        quantity = self._policy.order_quantity(position, self._forecast, self._lead_time_days)
        if quantity:
            self._order(float(quantity), now_ms)

    def _order(self, quantity: float, now_ms: int) -> None:
        day = now_ms // DAY_MS + max(1, round(self._lead_time_days))
        common = self._common(now_ms)
        purchase_order_id = f"po-{common['event_id']}"
        expected_at_ms = day * DAY_MS + _EXPECTED_TIME_MS
        self._events.append(
            PurchaseOrderPlaced(
                **common, quantity=quantity, expected_at_ms=expected_at_ms, purchase_order_id=purchase_order_id
            )
        )
        self._on_order += quantity
        arrives_day = max(day + self._policy.delay_days(self._rng), now_ms // DAY_MS + 1)
        arrives_ms = arrives_day * DAY_MS + self._rng.randrange(*_DELIVERY_TIMES_MS)
        self._plan("delivery", arrives_ms, quantity, purchase_order_id)

    def _plan(self, kind: str, due_ms: int, quantity: float = 0.0, purchase_order_id: str | None = None) -> None:
        if kind != "delivery":
            if (due_ms, kind) in self._planned:
                return
            self._planned.add((due_ms, kind))
        self._task_number += 1
        heappush(self._tasks, _Task(due_ms, kind, self._task_number, quantity, purchase_order_id))

    def _common(self, now_ms: int) -> dict[str, Any]:
        return {
            "event_id": f"sim-{self._name}-{len(self._events)}",
            "event_time_ms": now_ms,
            "location": self._location,
            "sku": self._sku,
            "simulated": True,
        }
