"""Poison: records that cannot be taken in, one of every kind that there is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any

#: Ten years ahead: past whatever a worker's clock may be shifted by.
_FUTURE_MS = 10 * 365 * 86_400_000
_CUSTOMER, _ITEM = b"17850", b"uk:85123A"


@dataclass(frozen=True)
class Wire:
    """A record as it is produced."""

    topic: str
    key: bytes | None
    value: bytes | None


def _click(**changed: Any) -> bytes:
    event = {
        "type": "product_view",
        "event_id": "poison",
        "event_time_ms": 1_291_200_000_000,
        "customer_id": _CUSTOMER.decode(),
        "sku": "85123A",
    }
    return json.dumps(event | changed).encode()


def _count(**changed: Any) -> bytes:
    event = {
        "type": "stock_counted",
        "event_id": "poison",
        "event_time_ms": 1_291_200_000_000,
        "location": "uk",
        "sku": "85123A",
        "quantity": 5,
    }
    return json.dumps(event | changed).encode()


def poison(random: Random, now_ms: int) -> list[Wire]:
    """One record of every kind; those that are alike differ in their bytes, so that none hides behind another."""
    clicks: list[bytes | None] = [
        None,
        b"",
        b"{not json",
        b"\xff\xfe\x00",
        b"[" * 5_000,
        b"null",
        _click(type="teleported"),
        _click(customer_id=None),
        _click(customer_id="x" * 129),
        _click(event_time_ms="yesterday"),
        _click(event_time_ms=-1),
        _click(event_time_ms=now_ms + _FUTURE_MS),
        _click().replace(b"85123A", b"\xc3\x28"),
        random.randbytes(900),
        _click(session_id="s" * 1_000_500),
    ]
    inventory = [
        _count(quantity=-5),
        _count().replace(b"5}", b"NaN}"),
        _count(quantity="many"),
        _count(location="a:b"),
        _count(event_id=""),
    ]
    return [
        *(Wire("clicks", _CUSTOMER, value) for value in clicks),
        Wire("clicks", b"not its customer", _click()),
        Wire("clicks", None, _click()),
        *(Wire("inventory", _ITEM, value) for value in inventory),
        Wire("orders", _CUSTOMER, b'{"type":"order_placed","event_id":"poison"}'),
        Wire("orders", _CUSTOMER, None),
        Wire("demand", _ITEM, b"no order line"),
    ]


def reference_poison() -> list[Wire]:
    """Records of the catalog and the offers that cannot be taken in: every worker reads them, each gives one letter."""
    return [
        Wire("catalog", b"broken", b"{not json"),
        Wire("catalog", b"85123A:2", b'{"type":"product","sku":"85123A:2","name":7}'),
        Wire("offers", b"broken", b'{"type":"offer"}'),
    ]
