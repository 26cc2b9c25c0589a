from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import Span
from features.client import FeatureClient
from features.discovery import discover
from features.ids import hash64
from features.layout import Layouts
from features.rows import OrderKind
from features.shards import load_merged, merged, shard_key
from features.store import MemoryStore, Tick
from features.view import SHARDED, View
from tests.features.streams import START_MS, Event, folded, seeded, streams
from tests.features.test_client import put

VIEWS = [view for view in discover().values() if view.stream in SHARDED]
PRODUCT = discover()["product_demand"]


def order(customer: int, sku: str = "A") -> Event:
    return Event(OrderKind.PLACED, START_MS, sku, {"customer": hash64(str(customer))})


def shards_of(view: View, events: Sequence[Event], where: Sequence[int], shards: int) -> bytes:
    parts = [[e for e, at in zip(events, where, strict=True) if at == shard] for shard in range(shards)]
    records = [folded(view, part)[1] if part else view.empty(1) for part in parts]
    return merged(view, np.stack(records)).tobytes()


@pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])
@given(st.data())
@seeded
def test_merged_shards_are_what_one_record_of_all_rows_is(view: View, data: st.DataObject) -> None:
    """Whichever partition has which row."""
    events = data.draw(streams(view.stream))
    where = data.draw(st.lists(st.integers(0, 2), min_size=len(events), max_size=len(events)))
    assert shards_of(view, events, where, 3) == folded(view, events)[1].tobytes()


@pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])
def test_no_shard_is_a_record_in_its_initial_state(view: View) -> None:
    assert merged(view, view.empty(0).reshape(0, 2)).tobytes() == view.empty(2).tobytes()


def test_a_sharded_stream_takes_only_what_can_be_merged() -> None:
    with pytest.raises(ValueError, match=r"view 'v': \['s'\] cannot be merged.*'product_lines'.*DailyDistinct"):
        View("v", "product_lines", "", (Span("s", "", (0,)),), 1)


@pytest.fixture
def store() -> MemoryStore:
    """Two partitions have ordered A, by one customer in common; nobody has ordered B."""
    store = MemoryStore()
    for shard, customers in enumerate([(1, 2), (2, 3, 3)]):
        _, records = folded(PRODUCT, [order(customer) for customer in customers])
        put(store, "product_demand", {shard_key("A", shard): records[0].tobytes()})
    store.tick({"demand:1": Tick(START_MS, 1)})
    return store


def test_all_partitions_are_read_and_merged(store: MemoryStore) -> None:
    records = load_merged(store, PRODUCT, ["A", "B"], 2, Layouts())
    columns = PRODUCT.read(records, np.arange(2), np.full(2, START_MS))
    assert columns["placed"].tolist() == [5.0, 0.0]
    assert columns["lines_7d"].tolist() == [5.0, 0.0]
    assert columns["customers"].round().tolist() == [3.0, 0.0]


def test_the_client_reads_a_product_as_one(store: MemoryStore) -> None:
    known, unknown = FeatureClient(store=store).get_many("product", ["A", "B"], as_of_ms=START_MS)
    view = known["product_demand"]
    assert (view.status, view.values["placed"], view.version) == ("fresh", 5.0, 5)
    assert unknown["product_demand"].status == "missing"


def test_the_client_reads_products_as_columns(store: MemoryStore) -> None:
    found = FeatureClient(store=store).matrix("product", ["B", "A"], ["product_demand__placed"], as_of_ms=START_MS)
    assert found.values[:, 0].tolist() == [0.0, 5.0]


def test_without_partitions_there_is_nothing() -> None:
    found = FeatureClient(store=MemoryStore()).get("product", "A", as_of_ms=START_MS)
    assert found["product_demand"].status == "missing"
