"""Which order a credit note undoes: all of it (a cancellation), or a part (goods came back)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from stream.events import OrderLine


class _Order:
    """An order, and what of it is still out with the customer (worked out when first asked for: few are)."""

    __slots__ = ("_outstanding", "lines", "order_id", "untouched")

    def __init__(self, order_id: str, lines: Sequence[OrderLine]) -> None:
        self.order_id = order_id
        self.lines = lines
        self.untouched = True
        self._outstanding: dict[str, float] | None = None

    @property
    def outstanding(self) -> dict[str, float]:
        if self._outstanding is None:
            self._outstanding = _by_sku(self.lines)
        return self._outstanding

    def has(self, quantities: dict[str, float]) -> bool:
        out = self.outstanding
        return all(out.get(sku, 0.0) >= quantity for sku, quantity in quantities.items())

    def take_back(self, quantities: dict[str, float]) -> None:
        out = self.outstanding
        for sku, quantity in quantities.items():
            out[sku] -= quantity
        self.untouched = False


class OpenOrders:
    """The orders of each customer so far. Guests are nobody: what they give back belongs to no known order.

    >>> cup = OrderLine(sku="22423", quantity=2.0, unit_price=12.75)
    >>> orders = OpenOrders()
    >>> orders.placed("17850", "536365", [cup])
    >>> orders.cancel("17850", [cup]), orders.cancel("17850", [cup])
    ('536365', None)
    """

    def __init__(self) -> None:
        self._orders: defaultdict[str, list[_Order]] = defaultdict(list)

    def placed(self, customer_id: str | None, order_id: str, lines: Sequence[OrderLine]) -> None:
        """Notes an order."""
        if customer_id is not None:
            self._orders[customer_id].append(_Order(order_id, lines))

    def cancel(self, customer_id: str | None, lines: Sequence[OrderLine]) -> str | None:
        """Closes the customer's newest untouched order with exactly these lines; None if there is no such order."""
        wanted = _multiset(lines)
        for order in self._newest_first(customer_id):
            if order.untouched and len(order.lines) == len(lines) and _multiset(order.lines) == wanted:
                order.take_back(_by_sku(lines))
                return order.order_id
        return None

    def give_back(self, customer_id: str | None, lines: Sequence[OrderLine]) -> str | None:
        """Takes goods back into the customer's newest order that has them all out; None if there is no such order."""
        wanted = _by_sku(lines)
        for order in self._newest_first(customer_id):
            if order.has(wanted):
                order.take_back(wanted)
                return order.order_id
        return None

    def _newest_first(self, customer_id: str | None) -> Iterator[_Order]:
        return iter(()) if customer_id is None else reversed(self._orders[customer_id])


def _multiset(lines: Sequence[OrderLine]) -> Counter[tuple[str, float]]:
    return Counter((line.sku, line.quantity) for line in lines)


def _by_sku(lines: Sequence[OrderLine]) -> dict[str, float]:
    total: dict[str, float] = {}
    for line in lines:
        total[line.sku] = total.get(line.sku, 0.0) + line.quantity
    return total
