"""What is out of stock everywhere is not offered: from inventory in several partitions, through the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from features.store import MemoryStore
from stream.events import NextBestOffers, Offer, SourceOffset
from stream.joins import Joins
from stream.scorers import NextBestOfferScorer, Touched
from stream.settings import FeatureSettings, ModelSettings
from stream.ticks import Ticks
from tests.stream.build import (
    DAY_MS,
    T0,
    Engine,
    Message,
    RecordingSink,
    Unreliable,
    fake_model,
    message,
    metric,
    offer_outputs,
    order,
    stock,
)

#: Where each product is left: A nowhere, B in one of two places, C nobody has told of.
TOLD = [
    stock("stock_counted", "A", T0, "w", quantity=7, event_id="i0"),
    stock("stock_counted", "A", T0, "v", quantity=0, event_id="i1"),
    stock("ran_out", "A", T0 + 1, "w", event_id="i2"),
    stock("ran_out", "B", T0, "w", event_id="i3"),
    stock("ran_out", "B", T0 + 1, "w", event_id="i4"),
    stock("units_sold", "B", T0, "v", quantity=3, period_ms=3_600_000, event_id="i5"),
]
NOW = np.array([T0 + DAY_MS])


def inventory(told: Sequence[dict[str, Any]], first: int = 0) -> list[Message]:
    """Each location has a partition of its own."""
    return [
        message("inventory", f"{e['location']}:{e['sku']}", e, first + n, "vw".index(e["location"]))
        for n, e in enumerate(told)
    ]


def taken_in(store: MemoryStore) -> Engine:
    engine = Engine(store, RecordingSink())
    engine.assign({(topic, p): None for topic in ("orders", "inventory") for p in range(2)})
    engine.commit.process([message("orders", "1", order("1", at=T0 - 9 * DAY_MS), 0), *inventory(TOLD)])
    Ticks(store, engine.state.watermarks, engine.ownership).write()
    for number, sku in enumerate("ABC"):
        put(engine, f"o{number}", [sku])
    return engine


def put(engine: Engine, offer_id: str, skus: list[str]) -> None:
    engine.reference.offers[offer_id] = Offer(
        offer_id=offer_id,
        sku=skus[0],
        title=offer_id,
        discount=0.1,
        margin=1.0,
        valid_from_ms=T0 - 30 * DAY_MS,
        valid_until_ms=T0 + 30 * DAY_MS,
        skus=skus if len(skus) > 1 else [],
    )


def joins(engine: Engine, **settings: Any) -> Joins:
    return Joins(engine.store, engine.state.ids, FeatureSettings(**settings), engine.metrics)


def offered(engine: Engine, reader: Joins | None) -> list[str]:
    table = engine.state.tables["customer"]
    touched = Touched(["1"], table.slots_of(["1"]), NOW, [[SourceOffset("orders", 0, 0)]])
    scorer = NextBestOfferScorer(
        fake_model("m", "next_best_offer", offer_outputs), engine.reference, ModelSettings(), reader
    )
    ((scored,), _) = scorer.score(table, touched)
    assert isinstance(scored.record, NextBestOffers)
    return sorted(o.offer_id for o in scored.record.offers)


@pytest.mark.parametrize("buckets", [1, 8])
def test_a_product_is_gone_when_it_is_left_nowhere(buckets: int) -> None:
    engine = taken_in(MemoryStore(buckets=buckets))
    assert joins(engine).out_of_stock(["A", "B", "C"], NOW).tolist() == [True, False, False]
    assert offered(engine, joins(engine)) == ["o1", "o2"]


def test_it_is_offered_again_once_it_is_back_anywhere() -> None:
    engine = taken_in(MemoryStore())
    engine.commit.process(inventory([stock("stock_received", "A", T0 + 2, "v", quantity=5, event_id="i9")], 9))
    assert offered(engine, joins(engine)) == ["o0", "o1", "o2"]


def test_of_several_products_one_is_enough() -> None:
    engine = taken_in(MemoryStore())
    put(engine, "both", ["A", "B"])
    put(engine, "twice", ["A", "A"])
    assert offered(engine, joins(engine)) == ["both", "o1", "o2"]


def test_if_all_are_gone_there_is_no_offer() -> None:
    engine = taken_in(MemoryStore())
    engine.reference.offers = {"o0": engine.reference.offers["o0"]}
    assert offered(engine, joins(engine)) == []


def test_without_the_store_all_are_offered_and_that_is_counted() -> None:
    store = Unreliable()
    engine = taken_in(store)
    reader = joins(engine)
    store.away = True
    assert offered(engine, reader) == ["o0", "o1", "o2"]
    assert metric(engine.metrics, "tidecast_unjoined_rows_total") == 3


def test_it_can_be_turned_off() -> None:
    engine = taken_in(MemoryStore())
    assert offered(engine, joins(engine, joined_for_s=0)) == ["o0", "o1", "o2"]
    assert offered(engine, None) == ["o0", "o1", "o2"]


def test_what_is_kept_is_read_again_after_its_time() -> None:
    engine = taken_in(MemoryStore())
    reader = joins(engine)
    assert reader.out_of_stock(["A"], NOW).tolist() == [True]
    engine.commit.process(inventory([stock("restocked", "A", T0 + 2, "w", event_id="i9")], 9))
    assert reader.out_of_stock(["A"], NOW).tolist() == [True], "kept"
    assert reader.out_of_stock(["A"], NOW + DAY_MS).tolist() == [False], "another day"
