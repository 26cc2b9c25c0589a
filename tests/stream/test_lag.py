"""Lag: what the broker, the store and the group say of each input partition, put together."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from features.store import FenceMove, Tick, Write
from features.store.memory import MemoryStore
from stream.embedded import free_port
from stream.errors import UsageError
from stream.groupstate import GroupState, Kept, Member, Members
from stream.lag import COUNTED, Lag, PartitionLag, Stored, exceeded, measure, stored
from stream.settings import KafkaSettings
from stream.source import Partition
from tests.support import Shop

#: The module; the name in `stream.cli` is the command.
cli = import_module("stream.cli.lag")
NOW = 1_700_000_000_000
ORDERS = ("orders", 0)
WORKER = Member("worker-1", None, "/10.0.0.7")


class FakeBroker:
    """One partition of orders."""

    def __init__(
        self, first: int, end: int, committed: int | None, marks: int = 0, owner: Member | None = WORKER
    ) -> None:
        self._kept, self._committed, self._marks, self._owner = Kept(first, end), committed, marks, owner

    def partitions(self, topics: Sequence[str]) -> list[Partition]:
        assert topics == ["orders", "clicks", "demand", "inventory"]
        return [ORDERS]

    def kept(self, partitions: Collection[Partition]) -> dict[Partition, Kept]:
        return dict.fromkeys(partitions, self._kept)

    def committed(self, partitions: Collection[Partition]) -> dict[Partition, int | None]:
        return dict.fromkeys(partitions, self._committed)

    def records(self, begin: Mapping[Partition, int], at_most: int) -> dict[Partition, int]:
        return {p: self._kept.end - offset - self._marks for p, offset in begin.items()}

    def members(self) -> Members:
        owners = {} if self._owner is None else {ORDERS: self._owner}
        return Members("stable", "consumer", 1, owners)


def measured(broker: FakeBroker, held: Stored | None = None) -> PartitionLag:
    found = measure(broker, "shop", lambda _: None if held is None else {ORDERS: held}, NOW)
    (one,) = found.partitions
    assert found.lag == one.lag
    return one


@pytest.mark.parametrize(
    ("broker", "lag", "counted", "marks"),
    [
        (FakeBroker(0, 0, None), 0, True, 0),
        (FakeBroker(0, 12, None), 12, True, 0),
        (FakeBroker(0, 12, 12), 0, True, 0),
        (FakeBroker(0, 12, 9, marks=1), 2, True, 1),
        (FakeBroker(0, 12, 11, marks=1), 0, True, 1),
        (FakeBroker(5, 12, 2), 7, True, 0),
        (FakeBroker(0, COUNTED + 10, 5, marks=3), COUNTED + 5, False, 0),
    ],
    ids=["empty", "never committed", "done", "marks", "only a mark", "retention", "many"],
)
def test_lag_counts_records_that_are_there(broker: FakeBroker, lag: int, counted: bool, marks: int) -> None:
    one = measured(broker)
    assert (one.lag, one.counted, one.marks) == (lag, counted, marks)


def test_event_time_is_behind_by_the_watermark_and_as_old_as_it_was_written() -> None:
    one = measured(FakeBroker(0, 12, 9), Stored(9, 3, NOW - 60_000, NOW - 2_000))
    assert (one.behind_ms, one.clock_age_ms, one.owner) == (60_000, 2_000, WORKER)
    nothing = measured(FakeBroker(0, 12, 9), Stored(9, 3, None, None))
    assert (nothing.behind_ms, nothing.clock_age_ms) == (None, None)


@pytest.mark.parametrize(
    ("first", "committed", "folded", "lost"),
    [(0, 9, 9, 0), (5, 9, 9, 0), (5, 9, 3, 2), (5, 3, 9, 2), (5, 9, None, 5), (5, None, None, 0)],
)
def test_what_retention_took_before_it_was_folded_and_published_is_lost(
    first: int, committed: int | None, folded: int | None, lost: int
) -> None:
    assert measured(FakeBroker(first, 12, committed), Stored(folded, 1, None, None)).lost == lost


def test_the_store_tells_the_least_fence_of_all_buckets() -> None:
    store = MemoryStore(buckets=2)
    store.claim(*ORDERS)
    assert stored(store, [ORDERS]) == {ORDERS: Stored(None, 1, None, None)}
    store.commit([Write(0, [FenceMove("orders", 0, 1, None, 7)], [])])
    assert stored(store, [ORDERS])[ORDERS].folded_to == 0, "the other bucket has folded nothing"
    store.commit([Write(1, [FenceMove("orders", 0, 1, None, 5)], [])])
    store.tick({"orders:0": Tick(NOW, NOW + 1)})
    assert stored(store, [ORDERS]) == {ORDERS: Stored(5, 1, NOW, NOW + 1)}


def test_limits_are_for_partitions_in_which_records_wait() -> None:
    def beyond(broker: FakeBroker, held: Stored, max_lag: int | None, max_age_s: float | None) -> list[str]:
        return exceeded(measure(broker, "shop", lambda _: {ORDERS: held}, NOW), max_lag, max_age_s)

    old, never = Stored(9, 1, NOW - 60_000, NOW), Stored(None, 1, None, None)
    assert beyond(FakeBroker(0, 12, 9), old, 3, 60) == []
    assert beyond(FakeBroker(0, 12, 9), old, 2, None) == ["orders[0]: 3 records wait, more than --max-lag 2"]
    assert beyond(FakeBroker(0, 12, 9), old, None, 59) == [
        "orders[0]: event time is 60 s behind, more than --max-age 59"
    ]
    assert beyond(FakeBroker(0, 12, 12), old, 0, 0) == []
    (told,) = beyond(FakeBroker(0, 12, 9), never, None, 1e9)
    assert "the store has no watermark of it" in told


# --- on a broker and a store ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Records on orders, some committed and folded; no worker."""
    with Shop(tmp_path_factory.mktemp("lag"), 2) as shop:
        shop.environment["COLUMNS"] = "200"
        kafka = shop.settings.kafka
        for _ in range(2):  # two batches: this broker tells the end of the last but one
            shop.produce([("orders", b"7", b"{}")] * 20)
        (place,) = [p for p, kept in kept_of(kafka).items() if kept.end]
        consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": kafka.group_id})
        consumer.commit(offsets=[TopicPartition(*place, 30)], asynchronous=False)
        consumer.close()
        store = shop.store()
        store.claim(*place)
        store.commit([Write(0, [FenceMove(*place, 1, None, 32)], [])])
        store.tick({f"{place[0]}:{place[1]}": Tick(NOW, NOW)})
        store.close()
        yield shop


def kept_of(kafka: KafkaSettings) -> dict[Partition, Kept]:
    state = GroupState(kafka)
    try:
        return state.kept(state.partitions(["orders"]))
    finally:
        state.close()


def test_the_end_is_where_nothing_more_comes(shop: Shop) -> None:
    assert sorted(kept_of(shop.settings.kafka).values()) == [Kept(0, 0), Kept(0, 40)]


def test_the_command_works_while_no_worker_runs(shop: Shop) -> None:
    ran = shop.command("lag")
    assert ran.returncode == 0, ran.stderr
    (line,) = [line.split() for line in ran.stdout.splitlines() if " 40 " in line]
    assert line[0].startswith("orders[")
    assert line[1:7] == ["40", "30", "32", "10", "2023-11-14", "22:13:20"]
    assert line[-2:] == ["1", "nobody"]
    assert "0 members" in ran.stdout
    assert "10 records wait" in ran.stdout


def test_probes_are_told_by_exit_codes(shop: Shop) -> None:
    fine = shop.command("lag", "--max-lag", "10", "--json")
    assert fine.returncode == 0, fine.stderr
    told = json.loads(fine.stdout)
    assert told["lag"] == 10
    assert len(told["partitions"]) == 8
    late = shop.command("lag", "--max-lag", "9")
    assert (late.returncode, "10 records wait, more than --max-lag 9" in late.stderr) == (1, True)
    old = shop.command("lag", "--max-age", "60")
    assert (old.returncode, "s behind, more than --max-age 60" in old.stderr) == (1, True)
    assert shop.command("lag", "--max-lag", "many").returncode == 2


def test_without_a_store_the_brokers_part_is_told(shop: Shop) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    ran = shop.command("lag", "--store-url", url)
    assert ran.returncode == 0
    assert f"R, event time and epoch are not known: no Redis or Valkey server answers at {url}" in ran.stdout
    assert "10 records wait" in ran.stdout
    asked = shop.command("lag", "--store-url", url, "--max-age", "60")
    assert (asked.returncode, f"no Redis or Valkey server answers at {url}" in asked.stderr) == (2, True)


def test_a_missing_topic_is_told(shop: Shop) -> None:
    state = GroupState(shop.settings.kafka)
    with pytest.raises(UsageError, match="missing topics: gone; make them"):
        state.partitions(["orders", "gone"])
    state.close()


@pytest.fixture
def twice(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Ctrl-C at the second look."""
    looks = 0

    def look(*_: Any) -> tuple[Lag, str]:
        nonlocal looks
        looks += 1
        if looks > 2:
            raise KeyboardInterrupt
        return measure(FakeBroker(0, 12, 9), "shop", lambda _: {ORDERS: Stored(4, 1, NOW, NOW)}, NOW), ""

    monkeypatch.setattr(cli, "_look", look)
    return lambda: looks


@pytest.mark.parametrize("as_json", [True, False])
def test_watching_goes_on_until_it_is_stopped(
    as_json: bool, shop: Shop, twice: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    cli._watch(shop.settings, None, 0.0, as_json)
    assert twice() == 3
    out = capsys.readouterr().out
    if as_json:
        assert [json.loads(line)["lag"] for line in out.splitlines()] == [3, 3]
    else:
        assert "the store has lost events (R is before K)" in " ".join(out.split())


def test_what_retention_took_needs_a_person() -> None:
    found = measure(FakeBroker(20, 30, 25, owner=None), "shop", lambda _: {ORDERS: Stored(5, 1, None, None)}, NOW)
    told = "\n".join(cli._notes(found))
    assert "orders[0]: 15 offsets that are needed are gone from Kafka" in told.replace("\\[", "[").replace("[/]", "")
    assert "records wait in partitions that nobody has: orders" in told
