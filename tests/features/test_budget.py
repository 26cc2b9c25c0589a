"""What a customer, an item and shards of a product cost in the store, keys and all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from features.discovery import views_of
from features.view import View
from stream.embedded import Embedded
from tests.features.test_golden import GOLDEN

#: Keys of the data set at hand, and longer ones.
BUDGETS = [
    ("customer", "17850", 2048),
    ("customer", "C000017850", 2048),
    ("item", "warehouse:85123A", 1024),
    ("item", "warehouse-leeds-2:85123A-XL-RED", 1024),
    ("product", "85123A-XL-RED#11", 1024 + 256),  # two views: what is ordered of it, and where it is left
    ("region", "yorkshire:85123A-XL-RED#11", 2560),
]


@pytest.fixture(scope="module")
def store() -> Iterator[redis.Redis]:
    with Embedded(broker=False) as services:
        client = redis.Redis.from_url(services.store_url)
        yield client
        client.close()


def shipped(entity: str) -> list[View]:
    """The views that the budget is of: another one costs its own bytes."""
    return [view for view in views_of(entity) if view.name in GOLDEN]


def cost_bytes(store: redis.Redis, entity: str, key: str) -> dict[str, int]:
    """By view, what a record takes with its key and expiry; every byte of it differs from the next."""
    out = {}
    for view in shipped(entity):
        name = f"tidecast:{{b0}}:f:{view.name}:{key}"
        blob = bytes(n % 251 for n in range(view.dtype.itemsize))
        store.set(name, blob, px=view.ttl_ms)
        out[view.name] = int(store.memory_usage(name) or 0)
    return out


@pytest.mark.parametrize(("entity", "key", "limit_bytes"), BUDGETS)
def test_records_fit_the_memory_budget(store: redis.Redis, entity: str, key: str, limit_bytes: int) -> None:
    cost = cost_bytes(store, entity, key)
    assert all(cost[view.name] > view.dtype.itemsize for view in shipped(entity))
    assert sum(cost.values()) <= limit_bytes, cost
