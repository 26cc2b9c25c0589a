"""Makes up, around real orders, what a data set lacks: clicks, stock levels, offers. All of it says `simulated`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stream.eventlog import Progress
from stream.events import ClickEvent, InventoryEvent, Offer, OrderEvent, Product, StockAdjusted
from stream.simulation.clicks import simulate_clicks
from stream.simulation.history import sales_history
from stream.simulation.offers import simulate_offers
from stream.simulation.policy import StockPolicy
from stream.simulation.stock import simulate_stock

__all__ = ["Simulated", "StockPolicy", "simulate"]


@dataclass(frozen=True, slots=True)
class Simulated:
    """Made-up records around real ones; each says `simulated`. `inventory` includes the real adjustments.

    Args:
        clicks: topic `clicks`, in event-time order.
        inventory: topic `inventory`, in event-time order.
        offers: topic `offers`.
    """

    clicks: list[ClickEvent] = field(default_factory=list)
    inventory: list[InventoryEvent] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)


def simulate(
    orders: Sequence[OrderEvent],
    adjustments: Sequence[StockAdjusted],
    catalog: Sequence[Product],
    seed: int = 7,
    progress: Progress | None = None,
) -> Simulated:
    """Clicks, stock and offers around real orders; nothing is later than the last real event.

    Args:
        orders: topic `orders`, in event-time order.
        adjustments: real stock corrections, in event-time order; they are part of the stock events returned.
        catalog: every product that is ordered or corrected.
        seed: the same input and seed give the same records.
        progress: told about each step.

    Returns:
        Records in event-time order.
    """
    tell = progress or (lambda step, share: None)
    if not orders:
        return Simulated(inventory=list(adjustments))
    until_ms = max(event.event_time_ms for event in (*orders, *adjustments))
    history = sales_history(orders, catalog)
    tell("simulating offers", 0.0)
    offers = simulate_offers(history, until_ms, seed)
    tell("simulating clicks", 0.1)
    clicks = simulate_clicks(history, offers, until_ms, seed)
    tell("simulating stock", 0.5)
    inventory = simulate_stock(orders, adjustments, catalog, until_ms, seed)
    tell("simulated", 1.0)
    return Simulated(clicks, inventory, offers)
