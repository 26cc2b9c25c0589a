from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from features.discovery import views_of
from features.ids import hash64
from features.store import FenceConflict, Guard, MemoryStore, StoreUnavailable, Wanted, Write
from features.store.base import Record
from stream.alerts import AlertState
from stream.commit import Commit
from stream.decode import DecodedBatch, Decoder
from stream.fold import Folded, State
from stream.metrics import Metrics
from stream.ownership import Ownership
from tests.stream.build import T0, click, demand, line, message, metric, order, stock


class Counting(MemoryStore):
    """Counts what is loaded, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[tuple[str, str, tuple[str, ...]]] = []
        self.away: set[str] = set()
        self.trips = 0

    def load_all(self, wanted: Sequence[Wanted], guards: Sequence[Guard] = ()) -> list[list[bytes | None]]:
        if "load" in self.away:
            raise StoreUnavailable("away")
        self.trips += 1
        self.loads += [(kind, name, tuple(entities)) for kind, name, entities in wanted]
        return super().load_all(wanted, guards)

    def names(self, ids: Sequence[int]) -> dict[int, str]:
        if "names" in self.away:
            raise StoreUnavailable("away")
        return super().names(ids)


def batch_of(*events: tuple[str, str, dict[str, Any]], first: int = 0) -> DecodedBatch:
    records = [message(topic, key, event, offset=first + i) for i, (topic, key, event) in enumerate(events)]
    batch = Decoder(0, 10**6).decode(records, T0 + 10**9)
    assert batch.dead_letters == []
    return batch


def all_owned(store: MemoryStore) -> Ownership:
    ownership = Ownership(store.buckets)
    for topic in ("orders", "clicks", "demand", "inventory"):
        ownership.take((topic, 0), 0, store.claim(topic, 0))
    return ownership


@pytest.fixture
def store() -> Counting:
    return Counting()


@pytest.fixture
def state(store: Counting) -> State:
    return State(store, 1_000, Metrics())


def save(state: State, store: MemoryStore, folded: Folded) -> None:
    """As step 5 does, without fences."""
    records = Commit._changed(_WithState(state), folded)  # type: ignore[arg-type]
    store.commit([Write(0, [], records)])
    store.remember_names(state.ids.pending())


class _WithState:
    def __init__(self, state: State) -> None:
        self._state = state
        self._grace_ms = 600_000


def test_a_batch_is_folded_into_every_view_of_its_streams(store: Counting, state: State) -> None:
    batch = batch_of(
        ("orders", "7", order("7", [line("A"), line("B")])),
        ("clicks", "8", click("8")),
        ("demand", "w:A", demand("A")),
        ("inventory", "w:B", stock("stock_counted", "B", quantity=4)),
    )
    folded = state.fold(batch, all_owned(store))
    assert {view: list(keys) for view, keys in folded.changed.items()} == {
        "customer_orders": ["7"],
        "customer_repertoire": ["7"],
        "customer_clicks": ["8"],
        "customer_session": ["8"],
        "item_demand": ["w:A"],
        "product_demand": ["A#0", "*#0"],
        "item_stock": ["w:B"],
        "product_stock": ["B#0"],
    }
    customers, items = state.tables["customer"], state.tables["item"]
    at = np.array([T0])
    assert customers.read("customer_orders", customers.slots_of(["7"]), at)["orders"].tolist() == [1.0]
    assert items.read("item_demand", items.slots_of(["w:A"]), at)["units_1d"].tolist() == [1.0]
    assert items.read("item_stock", items.slots_of(["w:B"]), at)["stock_before_demand"].tolist() == [4.0]


def test_touched_entities_are_loaded_once_a_view_and_stay(store: Counting, state: State) -> None:
    ownership = all_owned(store)
    state.fold(
        batch_of(("clicks", "7", click("7")), ("clicks", "8", click("8")), ("clicks", "7", click("7"))), ownership
    )
    assert sorted(store.loads) == [("f", view.name, ("7", "8")) for view in views_of("customer")]
    store.loads.clear()
    state.fold(batch_of(("clicks", "8", click("8")), ("clicks", "9", click("9")), first=3), ownership)
    assert {keys for _, _, keys in store.loads} == {("9",)}


def test_customers_and_items_share_one_read(store: Counting, state: State) -> None:
    state.fold(batch_of(("orders", "7", order("7")), ("inventory", "w:B", stock("restocked", "B"))), all_owned(store))
    assert store.trips == 1
    assert {keys for _, _, keys in store.loads} == {("7",), ("w:B",), ("B#0",)}


def test_items_bring_their_alert_state(store: Counting, state: State) -> None:
    alert = b'{"severity":"warning","sequence":2,"raised_at_ms":5,"status":"raised"}'
    store.commit([Write(0, [], [Record("a", "supply", "w:A", alert, 60_000)])])
    state.fold(batch_of(("demand", "w:A", demand("A")), ("demand", "w:B", demand("B"))), all_owned(store))
    assert state.alert("w:A") == AlertState("warning", 2, 5, "raised")
    assert state.alert("w:B") == AlertState()


def test_rows_that_are_in_the_state_touch_but_do_not_change(store: Counting, state: State) -> None:
    ownership = all_owned(store)
    moves = ownership.moves({("clicks", 0): 1}, 0)
    store.commit([Write(0, moves, [])])
    ownership.moved(moves, 0)
    folded = state.fold(batch_of(("clicks", "7", click("7")), ("clicks", "8", click("8"))), ownership)
    assert list(folded.changed["customer_clicks"]) == ["8"]
    assert list(folded.feeds["clicks"][0].rows.entities) == ["7", "8"]
    customers = state.tables["customer"]
    views = customers.read("customer_clicks", customers.slots_of(["7", "8"]), np.array([T0, T0]))["views"]
    assert views.tolist() == [0.0, 1.0]


def test_records_are_read_beside_fences_that_are_where_they_are_believed_to_be(store: Counting, state: State) -> None:
    """Another worker has folded what this one is about to fold: its record must not be folded into again."""
    ownership = all_owned(store)
    store.claim("clicks", 0)
    with pytest.raises(FenceConflict, match=r"clicks\[0\] bucket 0: the fence is at no offset of epoch 2"):
        state.fold(batch_of(("clicks", "7", click("7"))), ownership)
    assert len(state.tables["customer"]) == 0


def test_demand_that_was_published_twice_is_folded_once_and_counted(store: Counting) -> None:
    metrics = Metrics()
    state = State(store, 1_000, metrics)
    again = [("demand", "w:A", demand("A", source=(0, 5, 0)))] * 3
    state.fold(batch_of(*again), all_owned(store))
    items = state.tables["item"]
    read = items.read("item_demand", items.slots_of(["w:A"]), np.array([T0]))
    assert read["units_1d"].tolist() == [1.0]
    assert metric(metrics, "tidecast_demand_duplicates_total") == 2


def test_late_events_are_folded_and_counted(store: Counting) -> None:
    metrics = Metrics()
    state = State(store, 1_000, metrics, late_after_ms=1_000)
    events = [("clicks", "7", click("7", at=T0)), ("clicks", "7", click("7", at=T0 - 1_001))]
    state.fold(batch_of(*events), all_owned(store))
    assert metric(metrics, "tidecast_late_events_total", topic="clicks") == 1
    assert metric(metrics, "tidecast_records_total", topic="clicks") == 2
    assert metric(metrics, "tidecast_watermark_seconds", topic="clicks", partition="0") == T0 / 1000
    customers = state.tables["customer"]
    assert customers.read("customer_clicks", customers.slots_of(["7"]), np.array([T0]))["views"].tolist() == [2.0]


def test_a_fresh_state_learns_the_names_behind_stored_ids(store: Counting, state: State) -> None:
    save(state, store, state.fold(batch_of(("orders", "7", order("7", [line("A")]))), all_owned(store)))
    save(state, store, state.fold(batch_of(("clicks", "7", click("7", "V"))), all_owned(store)))
    fresh = State(store, 1_000, Metrics())
    fresh.load({"customer": ["7"]})
    assert fresh.ids.name(hash64("A")) == "A"
    assert fresh.ids.name(hash64("V")) == "V"
    assert fresh.ids.pending() == {}


@pytest.mark.parametrize("away", ["load", "names"])
def test_a_store_that_is_away_while_loading_leaves_no_trace(store: Counting, state: State, away: str) -> None:
    save(state, store, state.fold(batch_of(("orders", "7", order("7", [line("A")]))), all_owned(store)))
    fresh, ownership = State(store, 1_000, Metrics()), all_owned(store)
    batch = batch_of(("orders", "7", order("7", [line("B")])), first=1)
    store.away = {away}
    with pytest.raises(StoreUnavailable):
        fresh.fold(batch, ownership)
    store.away.clear()
    fresh.fold(batch, ownership)
    assert fresh.ids.name(hash64("A")) == "A", "names are asked for again"
    state.fold(batch, ownership)
    left, right = fresh.tables["customer"], state.tables["customer"]
    for view in left.views:
        assert left.pack(view, left.slots_of(["7"])) == right.pack(view, right.slots_of(["7"]))


def test_a_batch_may_touch_more_entities_than_are_kept(store: Counting) -> None:
    """Making room for new entities must not push out those that the same micro-batch touches."""
    state, ownership = State(store, 8, Metrics()), all_owned(store)
    first = [("clicks", f"c{i}", click(f"c{i}")) for i in range(1_024)]
    save(state, store, state.fold(batch_of(*first), ownership))
    second = [("clicks", "c0", click("c0")), ("clicks", "new", click("new")), ("clicks", "c1", click("c1"))]
    state.fold(batch_of(*second, first=2_000), ownership)
    customers = state.tables["customer"]
    slots = customers.slots_of(["c0", "c1", "new"])
    views = customers.read("customer_clicks", slots, np.full(3, T0))["views"]
    assert views.tolist() == [2.0, 2.0, 1.0]
    assert len(customers) < 1_024, "others were let go"


def test_alert_states_are_bounded_too(store: Counting) -> None:
    state = State(store, 2, Metrics())
    state.alerts = {f"w:{i}": AlertState("warning", 1, 1, "raised") for i in range(5)}
    state.load({"item": ["w:A"]})
    assert state.alerts == {}


def test_forget_drops_everything(store: Counting, state: State) -> None:
    state.fold(batch_of(("demand", "w:A", demand("A"))), all_owned(store))
    state.alerts["w:A"] = AlertState("warning", 1, 1, "raised")
    state.forget()
    assert len(state.tables["item"]) == 0
    assert state.alert("w:A") == AlertState()


def test_a_batch_of_guests_only_folds_nothing(store: Counting, state: State) -> None:
    folded = state.fold(batch_of(("orders", "", order(None))), all_owned(store))
    assert folded.changed == {}
