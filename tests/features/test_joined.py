from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from features.discovery import discover
from features.joined import JoinedView
from features.rows import ALL, OrderKind
from features.shards import shard_key
from features.store import Guard, MemoryStore, Tick, Wanted
from tests.features.streams import START_MS, Event, folded
from tests.features.test_client import put

VIEW = discover()["product_demand"]


class Counting(MemoryStore):
    """Remembers the keys that are loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[list[str]] = []

    def load_all(self, wanted: Sequence[Wanted], guards: Sequence[Guard] = ()) -> list[list[bytes | None]]:
        self.loads += [list(w.entities) for w in wanted]
        return super().load_all(wanted, guards)


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def ordered(store: MemoryStore, lines: int) -> None:
    """So many order lines of A, and of all products."""
    _, records = folded(VIEW, [Event(OrderKind.PLACED, START_MS)] * lines)
    put(store, VIEW.name, {shard_key(key, 0): records[0].tobytes() for key in ("A", ALL)})


@pytest.fixture
def store() -> Counting:
    store = Counting()
    ordered(store, 2)
    store.tick({"demand:0": Tick(START_MS, 1)})
    return store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def products(store: Counting, clock: Clock) -> JoinedView:
    return JoinedView(store, VIEW, ALL, keep_s=60, max_entities=3, now_s=clock)


def placed(products: JoinedView, *keys: str, period: int = 7) -> list[int]:
    records: list[int] = products.records(keys, period).records["placed.n"].tolist()
    return records


def test_each_has_its_own_record_and_that_of_the_whole(products: JoinedView) -> None:
    read = products.records(["B", "A", "B"], 7)
    assert read.records["placed.n"].tolist() == [0, 2, 0]
    assert read.whole["placed.n"].tolist() == [2, 2, 2]


def test_what_is_at_hand_is_not_read_again(products: JoinedView, store: Counting) -> None:
    placed(products, "A", "B", "A")
    placed(products, "B", "C")
    assert store.loads == [["*#0", "A#0", "B#0"], ["*#0", "C#0"]]


def test_it_is_kept_for_a_while(products: JoinedView, store: Counting, clock: Clock) -> None:
    assert placed(products, "A") == [2]
    ordered(store, 5)
    clock.now_s = 59.9
    assert placed(products, "A") == [2]
    clock.now_s = 60.0
    assert placed(products, "A") == [5]


def test_in_a_later_period_it_is_read_again(products: JoinedView, store: Counting) -> None:
    placed(products, "A", period=7)
    ordered(store, 5)
    assert placed(products, "A", period=6) == [2]
    assert placed(products, "A", period=8) == [5]


def test_the_whole_is_of_the_moment_of_each_read(products: JoinedView, store: Counting) -> None:
    """So that a share is of what was known together."""
    placed(products, "B")
    ordered(store, 5)
    assert products.records(["A", "B"], 7).whole["placed.n"].tolist() == [5, 2]


def test_those_read_longest_ago_go_first(products: JoinedView, store: Counting) -> None:
    placed(products, "A", "B", "C")
    placed(products, "D")
    store.loads.clear()
    placed(products, "B", "C", "D")
    assert store.loads == []
    placed(products, "A")
    assert store.loads == [["*#0", "A#0"]]


def test_more_than_are_kept_can_be_asked_for_at_once(products: JoinedView) -> None:
    assert placed(products, "A", "B", "C", "D", "E") == [2, 0, 0, 0, 0]


def test_what_is_forgotten_is_read_again(products: JoinedView, store: Counting) -> None:
    placed(products, "A")
    ordered(store, 5)
    products.forget()
    assert placed(products, "A") == [5]


def test_a_partition_that_comes_later_is_found(store: Counting, products: JoinedView, clock: Clock) -> None:
    placed(products, "A")
    store.tick({"demand:1": Tick(START_MS, 1)})
    _, records = folded(VIEW, [Event(OrderKind.PLACED, START_MS)])
    put(store, VIEW.name, {shard_key("A", 1): records[0].tobytes()})
    clock.now_s = 60.0
    assert placed(products, "A") == [3]
