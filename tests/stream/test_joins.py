"""What scores join of products: from demand in several partitions, through the store, as parity recomputes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from features.ids import IdCache, hash64
from features.store import MemoryStore
from features.vectors import contract, joined, next_best_offer, regional, reorder
from stream.events import Offer, SourceOffset
from stream.joins import JOINED_VERSION, Joins
from stream.metrics import Metrics
from stream.parity.events import rows_of_records
from stream.parity.joined import behind, product_values
from stream.scorers import NextBestOfferScorer, ReorderScorer, Touched
from stream.settings import FeatureSettings, ModelSettings, Settings
from stream.ticks import Ticks
from tests.stream.build import (
    DAY_MS,
    T0,
    Engine,
    Message,
    RecordingSink,
    Unreliable,
    fake_model,
    fed,
    line,
    message,
    metric,
    offer_outputs,
    order,
    reorder_outputs,
    stock,
)

SKUS = ("A", "B", "C")
IDS = np.array([hash64(sku) for sku in SKUS], np.uint64)
TODAY = T0 + 2 * DAY_MS
#: Two customers order on two days, and one of them today.
ORDERS = [
    order("1", [line("A"), line("B")], T0, event_id="o0"),
    order("2", [line("A")], T0 + DAY_MS, event_id="o1"),
    order("1", [line("A")], T0 + DAY_MS + 5, event_id="o2"),
    order("1", [line("A"), line("C")], TODAY, event_id="o3"),
]


def messages() -> list[Message]:
    return [message("orders", event["customer_id"], event, i) for i, event in enumerate(ORDERS)]


def taken_in(store: MemoryStore, demand: int | None = None, orders: int | None = None) -> Engine:
    """An engine that has taken in so many orders, and records of demand, which went to two partitions in turn."""
    engine = Engine(store, RecordingSink())
    engine.assign({(topic, p): None for topic in ("orders", "demand") for p in range(2)})
    engine.commit.process(messages()[:orders])
    lines = [p for p in engine.sink.published if p.topic == "demand"][:demand]
    back = [Message(("demand", n % 2, n // 2), p.key, p.value) for n, p in enumerate(lines)]
    engine.commit.process(back)
    Ticks(store, engine.state.watermarks, engine.ownership).write()
    return engine


def joins(engine: Engine, **settings: Any) -> Joins:
    return Joins(engine.store, engine.state.ids, FeatureSettings(**settings), engine.metrics)


def as_of(days: float = 0.0) -> np.ndarray[Any, Any]:
    return np.full(len(IDS), TODAY + int(days * DAY_MS))


def test_all_partitions_are_joined_until_the_end_of_yesterday() -> None:
    found = joins(taken_in(MemoryStore())).products(IDS, as_of(0.5))
    names = list(joined.FEATURES)
    week = found.columns[:, names.index("shop_ppm_7d")]
    np.testing.assert_allclose(week, [1e6 * 3 / 4 * 2 / 7, 1e6 / 4 * 2 / 7, 0.0], rtol=1e-6)
    again = found.columns[:, names.index("shop_again")]
    np.testing.assert_allclose(again, [3 / 2, 1, np.nan], rtol=0.02)
    assert found.version.tolist() == [4.0] * 3
    assert found.event_time_ms == TODAY


def test_they_are_what_parity_recomputes_bit_for_bit() -> None:
    found = joins(taken_in(MemoryStore(buckets=8))).products(IDS, as_of())
    rows = rows_of_records(messages(), 2, Settings(), lambda entity, key: True)
    expected = product_values(rows.streams["product_lines"], IDS, as_of())
    assert found.columns.tobytes() == expected.columns.tobytes()
    assert found.version.tolist() == expected.version.tolist()


def test_each_row_is_as_of_its_own_yesterday() -> None:
    both = np.array([TODAY, T0 + DAY_MS])
    found = joins(taken_in(MemoryStore())).products(IDS[:1].repeat(2), both)
    np.testing.assert_allclose(found.columns[:, 0], [1e6 * 3 / 4 * 2 / 7, 1e6 / 2 / 7], rtol=1e-6)
    assert found.version.tolist() == [4.0, 2.0]


def test_a_shard_that_is_behind_is_told_by_the_version() -> None:
    found = joins(taken_in(MemoryStore(), demand=3)).products(IDS, as_of())
    assert found.version.tolist() == [3.0] * 3


def test_a_product_whose_name_is_lost_is_unknown() -> None:
    found = joins(taken_in(MemoryStore())).products(np.array([5, IDS[0]], np.uint64), as_of()[:2])
    assert np.isnan(found.columns[0]).all()
    assert not np.isnan(found.columns[1]).any()


def test_without_the_store_all_is_unknown_and_counted() -> None:
    store = Unreliable()
    engine = taken_in(store)
    reader = joins(engine)
    store.away = True
    found = reader.products(IDS, as_of())
    assert np.isnan(found.columns).all()
    assert np.isnan(found.version).all()
    assert metric(engine.metrics, "tidecast_unjoined_rows_total") == 3


def test_it_can_be_turned_off() -> None:
    store = Unreliable()
    reader = joins(taken_in(store), joined_for_s=0)
    store.away = True
    assert np.isnan(reader.products(IDS, as_of()).columns).all()


def test_nothing_to_join_asks_nothing() -> None:
    store = Unreliable()
    store.away = True
    reader = Joins(store, IdCache(), FeatureSettings(), Metrics())
    assert reader.products(IDS[:0], as_of()[:0]).columns.shape == (0, len(joined.FEATURES))


def shops() -> list[Message]:
    """Two shops of a region, in two partitions, one of which runs out today at noon; and a place without a region."""
    noon = TODAY + DAY_MS // 2
    told = [
        stock("units_sold", "A", T0, "x/1", quantity=3, period_ms=3_600_000, event_id="i0"),
        stock("units_sold", "A", T0, "x/2", quantity=3, period_ms=3_600_000, event_id="i1"),
        stock("ran_out", "A", noon, "x/2", event_id="i2"),
        stock("ran_out", "A", noon, "w", event_id="i3"),
    ]
    return [message("inventory", f"{e['location']}:A", e, n // 2, n % 2) for n, e in enumerate(told)]


def test_the_shops_of_a_region_are_joined_to_an_item_until_the_end_of_the_hour_before() -> None:
    engine = Engine(MemoryStore(buckets=4), RecordingSink())
    engine.assign({("inventory", 0): None, ("inventory", 1): None})
    engine.commit.process(shops())
    Ticks(engine.store, engine.state.watermarks, engine.ownership).write()
    noon = TODAY + DAY_MS // 2
    hours = np.array([noon + 1, noon + DAY_MS // 24, noon + DAY_MS // 24])
    told = joins(engine).regions(["x/1:A", "x/1:A", "w:A"], hours)
    found = told.columns
    names = list(regional.FEATURES)
    np.testing.assert_allclose(found[:2, names.index("region_shops")], 2, rtol=0.02)
    np.testing.assert_allclose(found[:2, names.index("region_out_share")], [0, 0.5], rtol=0.02)
    assert np.isnan(found[2]).all()
    np.testing.assert_allclose(told.version[:2], [6 + 2, 6 + 2 + 1], rtol=0.01)  # units, shops, and a turn
    assert np.isnan(told.version[2])
    assert told.event_time_ms.tolist() == [noon, noon, 0]


def test_regions_without_the_store_are_unknown() -> None:
    store = Unreliable()
    reader = Joins(store, IdCache(), FeatureSettings(), Metrics())
    store.away = True
    assert np.isnan(reader.regions(["x/1:A"], np.array([TODAY])).columns).all()


# --- in a score -------------------------------------------------------------------------------------------------------


@pytest.fixture
def joining(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reorder vector has the joined columns, as the last of its own."""
    own = [name for name in reorder.FEATURES if name not in reorder.JOINED]
    monkeypatch.setattr(reorder, "FEATURES", dict.fromkeys(own, "") | joined.FEATURES)


def scorer(engine: Engine, reader: Joins | None) -> ReorderScorer:
    model = fake_model("m", "reorder", reorder_outputs)
    return ReorderScorer(model, engine.reference, ModelSettings(), reader)


@pytest.mark.usefixtures("joining")
def test_a_score_says_how_far_what_it_joined_had_come() -> None:
    engine = taken_in(MemoryStore())
    table = engine.state.tables["customer"]
    slots = table.slots_of(["1", "2"])
    touched = Touched(["1", "2"], slots, np.full(2, TODAY), [[SourceOffset("orders", 0, 0)]] * 2)
    reading = scorer(engine, joins(engine))
    scored, _ = reading.score(table, touched)
    assert [s.record.feature_time_ms["product_demand"] for s in scored] == [TODAY, TODAY]
    assert [s.context for s in scored] == [{JOINED_VERSION: 4.0}] * 2
    column = fed(reading.model)[0]["features"][:, list(reorder.FEATURES).index("shop_ppm_84d")]
    np.testing.assert_allclose(column, np.array([3, 1, 0, 3]) * 1e6 / 4 * 2 / 84, rtol=1e-6)


@pytest.mark.usefixtures("joining")
def test_a_score_without_joins_is_as_before() -> None:
    engine = taken_in(MemoryStore())
    table = engine.state.tables["customer"]
    touched = Touched(["1"], table.slots_of(["1"]), np.full(1, TODAY), [[SourceOffset("orders", 0, 0)]])
    scored, _ = scorer(engine, None).score(table, touched)
    assert scored[0].record.feature_time_ms.keys() == {"customer_orders", "customer_repertoire"}
    assert scored[0].context == {}


def offering(engine: Engine, reader: Joins | None, heads: tuple[str, ...] = ("offer_sold",)) -> NextBestOfferScorer:
    for sku in SKUS:
        engine.reference.offers[sku] = Offer(
            offer_id=sku,
            sku=sku,
            title=sku,
            discount=0.1,
            margin=1.0,
            valid_from_ms=T0 - 30 * DAY_MS,
            valid_until_ms=T0 + 30 * DAY_MS,
        )
    model = fake_model("m", "next_best_offer", offer_outputs, heads=heads)
    return NextBestOfferScorer(model, engine.reference, ModelSettings(), reader)


def test_offers_are_told_with_what_the_shop_sells_on_the_day_of_each_score() -> None:
    """Customer 1 is scored today, customer 2 a day earlier, when only the first order was over."""
    engine = taken_in(MemoryStore())
    table = engine.state.tables["customer"]
    keys, times = ["1", "2", "1"], np.array([TODAY, TODAY - DAY_MS, TODAY])
    touched = Touched(keys, table.slots_of(keys), times, [[SourceOffset("orders", 0, 0)]] * 3)
    reading = offering(engine, joins(engine))
    scored, _ = reading.score(table, touched)
    assert [s.record.customer_id for s in scored] == keys
    assert {s.record.feature_time_ms["product_demand"] for s in scored} == {TODAY}
    yesterday, today = fed(reading.model)
    assert (len(yesterday["features"]), len(today["features"])) == (1, 2)
    column = list(joined.FEATURES).index("shop_ppm_84d")
    for feeds, lines, total, days in ((yesterday, [1, 1, 0], 2, 1), (today, [3, 1, 0], 4, 2)):
        wanted = np.array(lines) * 1e6 / total * days / 84
        np.testing.assert_allclose(feeds["offer_sold"][:3, column], wanted, rtol=1e-6)
        assert np.isnan(feeds["offer_sold"][3:]).all(), "places without an offer"
    ages = [
        feeds["features"][:, list(next_best_offer.FEATURES).index("customer_orders")] for feeds in fed(reading.model)
    ]
    assert [a.tolist() for a in ages] == [[1.0], [3.0, 3.0]]


def test_what_offers_are_told_is_kept_and_forgotten_with_what_was_read() -> None:
    engine = taken_in(MemoryStore())
    reader, day = joins(engine), TODAY // DAY_MS
    first = reader.offered(IDS, day)
    assert reader.offered(IDS, day) is first
    assert reader.offered(IDS[:2], day) is not first
    np.testing.assert_array_equal(reader.offered(IDS, day - 1).columns, reader.products(IDS, as_of(-1)).columns)
    np.testing.assert_array_equal(first.columns, reader.products(IDS, as_of()).columns)
    reader.forget()
    assert reader.offered(IDS, day) is not first


def test_what_offers_are_told_is_asked_again_after_a_while() -> None:
    engine, now = taken_in(MemoryStore()), [100.0]
    reader = Joins(engine.store, engine.state.ids, FeatureSettings(joined_for_s=60), engine.metrics, lambda: now[0])
    first = reader.offered(IDS, TODAY // DAY_MS)
    now[0] += 59.0
    assert reader.offered(IDS, TODAY // DAY_MS) is first
    now[0] += 1.0
    assert reader.offered(IDS, TODAY // DAY_MS) is not first


def test_a_replay_through_many_days_keeps_a_few() -> None:
    reader, day = joins(taken_in(MemoryStore())), TODAY // DAY_MS
    first = reader.offered(IDS, day)
    later = [reader.offered(IDS, day + n) for n in range(1, 4)]
    assert reader.offered(IDS, day) is first
    assert reader.offered(IDS, day + 3) is later[-1]
    reader.offered(IDS, day + 4)
    assert reader.offered(IDS, day + 3) is later[-1]
    assert reader.offered(IDS, day) is not first


@pytest.mark.parametrize("orders", [0, 1], ids=["empty", "first day"])
def test_before_the_first_day_is_over_offers_are_told_nothing_rather_than_that_nothing_sells(orders: int) -> None:
    engine = taken_in(MemoryStore(), orders=orders)
    assert [engine.state.ids.id(sku) for sku in SKUS] == IDS.tolist()
    reader = joins(engine)
    assert (reader.products(IDS, as_of(-2)).columns[:, 0] == 0).all()
    assert np.isnan(reader.offered(IDS, T0 // DAY_MS).columns).all()


def test_what_the_store_did_not_answer_is_asked_again() -> None:
    store = Unreliable()
    reader, day = joins(taken_in(store)), TODAY // DAY_MS
    store.away = True
    assert np.isnan(reader.offered(IDS, day).columns).all()
    store.away = False
    assert reader.offered(IDS, day).event_time_ms == TODAY


@pytest.mark.parametrize(("reads", "heads"), [(False, ("offer_sold",)), (True, ())])
def test_offers_without_joins_or_of_a_graph_that_does_not_ask_are_told_nothing(
    reads: bool, heads: tuple[str, ...]
) -> None:
    engine = taken_in(MemoryStore())
    table = engine.state.tables["customer"]
    touched = Touched(["1"], table.slots_of(["1"]), np.full(1, TODAY), [[SourceOffset("orders", 0, 0)]])
    reading = offering(engine, joins(engine) if reads else None, heads)
    scored, _ = reading.score(table, touched)
    assert "product_demand" not in scored[0].record.feature_time_ms
    assert np.isnan(fed(reading.model)[0]["offer_sold"]).all()


def test_a_vector_is_behind_unless_its_version_is_that_of_the_log() -> None:
    from stream.events import FeatureVector

    def vector(**context: float) -> FeatureVector:
        return FeatureVector(
            model="m", version="1", entity="customer", key="1", as_of_ms=T0, share=1.0, reflects=[], reads={},
            context=context, values={},
        )  # fmt: skip

    assert not behind(vector(joined_version=4.0), {4.0})
    assert behind(vector(joined_version=3.0), {4.0})
    assert behind(vector(), {4.0})
    assert not behind(vector(), set()), "there was nothing to join"


@pytest.mark.usefixtures("joining")
def test_a_contract_with_joined_columns_reads_their_views() -> None:
    assert set(joined.READS) <= contract("reorder").reads.keys()


def test_a_model_that_lists_no_joined_column_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {name: "" for name in reorder.FEATURES if name not in joined.FEATURES}
    monkeypatch.setattr(reorder, "FEATURES", own)
    engine = taken_in(store := Unreliable())
    table = engine.state.tables["customer"]
    touched = Touched(["1"], table.slots_of(["1"]), np.full(1, TODAY), [[SourceOffset("orders", 0, 0)]])
    store.away = True
    scorer(engine, joins(engine)).score(table, touched)
    assert metric(engine.metrics, "tidecast_unjoined_rows_total") == 0
