"""A made-up shop for benchmarks: ten clicks an order, the same records for the same seed.

A visit is ten clicks within ten minutes (six product pages, two carts, a search, an offer shown) and then an order of
one to five lines, three on average. Who comes is skewed (log-normal), and so is what is sold (Zipf's law); of the lines
half are of what the customer bought before. Visits follow each other evenly, so few are under way at a time. Items are
counted once a week and get a purchase order and a delivery. Nothing of it is real; its records say `simulated`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np

from stream.events import (
    AddToCart,
    Offer,
    OfferImpression,
    OrderLine,
    OrderPlaced,
    Product,
    ProductView,
    PurchaseOrderPlaced,
    Search,
    StockCounted,
    StockReceived,
)

DAY_MS = 86_400_000
START_MS = 1_700_006_400_000
VISIT_MS = 600_000
CLICKS = 10
MOST_LINES = 5
_COLOURS = ("red", "blue", "green", "white", "black", "pink", "grey", "brass")
_THINGS = ("bowl", "lamp", "mug", "box", "clock", "bag", "frame", "candle", "tray", "hook")


class Made(NamedTuple):
    """A record to produce."""

    topic: str
    key: bytes
    value: bytes
    event_time_ms: int


@dataclass(frozen=True)
class Shop:
    """How large it is.

    Args:
        orders: placed in all; each after ten clicks.
        customers: who may come; some do not.
        items: products, all at one location.
        offers: valid all the time.
        days: that the orders are spread over.
        seed: the same seed gives the same records.
    """

    orders: int = 25_000
    customers: int = 10_000
    items: int = 2_000
    offers: int = 40
    days: int = 28
    seed: int = 7

    @staticmethod
    def add_to(parser: argparse.ArgumentParser) -> None:
        """Options for the size."""
        parser.add_argument("--orders", type=int, default=Shop.orders, help="placed, each after ten clicks")
        parser.add_argument("--customers", type=int, default=Shop.customers, help="who may come")
        parser.add_argument("--items", type=int, default=Shop.items, help="products, at one location")

    @staticmethod
    def of(options: argparse.Namespace) -> Shop:
        """As the options say."""
        return Shop(options.orders, options.customers, options.items)

    def reference(self) -> list[Made]:
        """Catalog and offers."""
        out = []
        for i in range(self.items):
            name = f"{_COLOURS[i % 8]} {_THINGS[i // 8 % 10]} no. {i}"
            product = Product(sku=_sku(i), name=name, unit_price=_price(i), simulated=["name", "unit_price"])
            out.append(_made("catalog", product.sku, product, 0))
        for i in range(self.offers):
            offer = Offer(
                offer_id=f"offer-{i}",
                sku=_sku(i * 3 % self.items),
                title=f"{5 + i % 6 * 5}% off {_COLOURS[i % 8]} {_THINGS[i % 10]}",
                discount=(5 + i % 6 * 5) / 100,
                margin=1.0 + i % 7,
                valid_from_ms=START_MS - DAY_MS,
                valid_until_ms=START_MS + (self.days + 1) * DAY_MS,
                simulated=True,
            )
            out.append(_made("offers", offer.offer_id, offer, 0))
        return out

    def records(self) -> list[Made]:
        """Orders, clicks and inventory in the order of event time."""
        random = np.random.default_rng(self.seed)
        made = self._visits(random) + self._inventory(random)
        made.sort(key=lambda record: record.event_time_ms)
        return made

    def _visits(self, random: np.random.Generator) -> list[Made]:
        weight = random.lognormal(0.0, 1.0, self.customers)
        customers = random.choice(self.customers, self.orders, p=weight / weight.sum()).tolist()
        popular = 1.0 / np.arange(1, self.items + 1)
        drawn = random.choice(self.items, (self.orders, CLICKS + MOST_LINES), p=popular / popular.sum()).tolist()
        lines = random.integers(1, MOST_LINES + 1, self.orders).tolist()
        again = (random.random((self.orders, MOST_LINES)) < 0.5).tolist()
        moments = np.sort(random.integers(0, VISIT_MS, (self.orders, CLICKS)), axis=1).tolist()
        begun = START_MS + np.arange(self.orders) * (self.days * DAY_MS // self.orders)
        bought: dict[int, list[int]] = defaultdict(list)
        out: list[Made] = []
        for i, (customer, begin) in enumerate(zip(customers, begun.tolist(), strict=True)):
            out += _clicks(i, customer, begin, drawn[i], moments[i])
            before = bought[customer]
            chosen = [
                before[drawn[i][CLICKS + j] % len(before)] if before and again[i][j] else drawn[i][CLICKS + j]
                for j in range(lines[i])
            ]
            before += chosen
            out.append(_order(i, customer, begin + VISIT_MS, chosen))
        return out

    def _inventory(self, random: np.random.Generator) -> list[Made]:
        out: list[Made] = []
        at = random.integers(0, 7 * DAY_MS, self.items).tolist()
        units = random.integers(20, 400, self.items).tolist()
        for i in range(self.items):
            common: dict[str, Any] = {"location": "w", "sku": _sku(i), "simulated": True}
            for week in range(self.days // 7):
                t = START_MS + week * 7 * DAY_MS + at[i]
                n = f"{i}-{week}"
                events = (
                    StockCounted(event_id=f"n{n}", event_time_ms=t, quantity=units[i], **common),
                    PurchaseOrderPlaced(
                        event_id=f"p{n}",
                        event_time_ms=t + 1,
                        quantity=50.0,
                        expected_at_ms=t + 5 * DAY_MS,
                        purchase_order_id=f"po{n}",
                        **common,
                    ),
                    StockReceived(
                        event_id=f"r{n}",
                        event_time_ms=min(t + 5 * DAY_MS, START_MS + self.days * DAY_MS),
                        quantity=50.0,
                        purchase_order_id=f"po{n}",
                        **common,
                    ),
                )
                out += [_made("inventory", f"w:{_sku(i)}", e, e.event_time_ms) for e in events]
        return out


def _sku(i: int) -> str:
    return f"P{i:05d}"


def _price(i: int) -> float:
    return 1.25 + i % 40 * 0.5


_encode = msgspec.json.Encoder().encode


def _made(topic: str, key: str, record: Any, event_time_ms: int) -> Made:
    return Made(topic, key.encode(), _encode(record), event_time_ms)


def _clicks(visit: int, customer: int, begin: int, items: list[int], moments: list[int]) -> list[Made]:
    out = []
    for j, moment in enumerate(moments):
        common: dict[str, Any] = {
            "event_id": f"v{visit}-{j}",
            "event_time_ms": begin + moment,
            "customer_id": f"c{customer}",
            "session_id": f"s{visit}",
            "simulated": True,
        }
        sku = _sku(items[j])
        event: Any
        if j == 0:
            event = Search(query=_THINGS[items[j] // 8 % 10], **common)
        elif j == 1:
            event = OfferImpression(offer_id=f"offer-{visit % 40}", **common)
        elif j in (5, 9):
            event = AddToCart(sku=_sku(items[j - 1]), **common)
        else:
            event = ProductView(sku=sku, **common)
        out.append(_made("clicks", event.customer_id, event, event.event_time_ms))
    return out


def _order(visit: int, customer: int, at: int, items: list[int]) -> Made:
    order = OrderPlaced(
        event_id=f"o{visit}",
        event_time_ms=at,
        order_id=f"o{visit}",
        location="w",
        lines=[OrderLine(sku=_sku(i), quantity=float(1 + i % 3), unit_price=_price(i)) for i in items],
        customer_id=f"c{customer}",
    )
    return _made("orders", f"c{customer}", order, at)
