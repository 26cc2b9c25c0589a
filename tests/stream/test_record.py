"""A range of the topics as an event log: against the embedded broker, and against messages that are made up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson
import polars as pl
import pytest

from features.eventlog import read_clicks
from stream import record as module
from stream.admin import create_topics
from stream.cli.history import history
from stream.embedded import Embedded
from stream.errors import UsageError
from stream.eventlog import read_records
from stream.events import Product, ProductView
from stream.record import Range, record
from stream.settings import KafkaSettings, load
from stream.sink import Sink


@pytest.fixture(scope="module")
def shop() -> Iterator[KafkaSettings]:
    """A broker of its own with two partitions a topic."""
    with Embedded() as services:
        kafka = load(environ=services.environment()).settings.kafka
        create_topics(kafka, 2)
        sink = Sink(kafka)
        for i in range(900):
            sink.produce("clicks", f"c{i % 7}".encode(), msgspec.json.encode(click(i)))
            if i % 300 == 0:
                sink.flush(30)
        sink.produce("clicks", b"c1", b"{}")
        sink.produce("clicks", b"c1", None)
        sink.produce(
            "clicks", b"c1", orjson.dumps(orjson.loads(msgspec.json.encode(click(900))), option=orjson.OPT_INDENT_2)
        )
        for price in (1.0, 2.0):
            sink.produce("catalog", b"A", msgspec.json.encode(Product(sku="A", name="bowl", unit_price=price)))
        sink.produce("catalog", b"B", msgspec.json.encode(Product(sku="B", name="cup", unit_price=price)))
        sink.produce("catalog", b"B", None)
        sink.flush(30)
        yield kafka


def click(number: int) -> ProductView:
    return ProductView(event_id=f"e{number}", event_time_ms=1_000 + number, customer_id=f"c{number % 7}", sku="A")


def test_every_record_is_there_once_in_the_order_of_its_customer(shop: KafkaSettings, tmp_path: Path) -> None:
    told: list[int] = []
    done = record(shop, tmp_path, ["clicks", "catalog", "orders"], progress=told.append)
    assert done.records == {"clicks": 901, "catalog": 1, "orders": 0}
    assert done.left_out == {"clicks": 2, "catalog": 0, "orders": 0}
    assert told[-1] == 907
    rows = read_clicks(tmp_path)
    for customer in range(7):
        times = [
            t for t, e in zip(rows.columns["event_time_ms"].tolist(), rows.entities, strict=True) if e == f"c{customer}"
        ]
        assert times == [1_000 + i for i in range(901) if i % 7 == customer]
    (product,) = read_records(tmp_path, ["catalog"])
    assert orjson.loads(product.value)["unit_price"] == 2.0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["catalog.jsonl", "clicks.jsonl", "orders.jsonl"]


def test_a_range_of_offsets(shop: KafkaSettings, tmp_path: Path) -> None:
    whole, part = (
        record(shop, tmp_path / "a", ["clicks"]),
        record(shop, tmp_path / "b", ["clicks"], Range(from_offset=50)),
    )
    assert whole.records["clicks"] - part.records["clicks"] == 100, "fifty a partition"


def test_history_of_the_topics_themselves(
    shop: KafkaSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spine = tmp_path / "spine.csv"
    pl.DataFrame({"customer": ["c0", "c3", "x"], "as_of_ms": [1_007, 5_000, 5_000]}).write_csv(spine)
    history("kafka", ["customer_clicks"], spine, tmp_path / "out.parquet", bootstrap=shop.bootstrap_servers)
    assert pl.read_parquet(tmp_path / "out.parquet")["customer_clicks__version"].to_list() == [1, 129, 0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.parquet", "spine.csv"], "the recording is removed"
    out, err = capsys.readouterr()
    assert "clicks: 901 events read, 0 duplicates dropped" in out
    assert "customer_clicks: nothing known for 1 rows" in out
    assert "clicks: 2 values were left out" in err


def test_what_is_there_is_not_overwritten_and_topics_are_known(tmp_path: Path) -> None:
    (tmp_path / "clicks.parquet").touch()
    with pytest.raises(UsageError, match=r"clicks\.parquet is there already; record to another directory"):
        record(KafkaSettings(), tmp_path, ["clicks"])
    with pytest.raises(UsageError, match="an event log has no topic 'demand'; topics are catalog, offers, orders"):
        record(KafkaSettings(), tmp_path, ["demand"])


class Message:
    """A record with a timestamp; 2 is a time that the broker gave."""

    def __init__(self, partition: int, offset: int, stamp: int, kind: int = 1) -> None:
        self._place, self._stamp = (partition, offset), (kind, stamp)

    def topic(self) -> str:
        return "clicks"

    def partition(self) -> int:
        return self._place[0]

    def offset(self) -> int:
        return self._place[1]

    def key(self) -> bytes:
        return b"c"

    def value(self) -> bytes:
        return msgspec.json.encode(click(self._place[0] * 100 + self._place[1]))

    def timestamp(self) -> tuple[int, int]:
        return self._stamp


def recorded(
    messages: Sequence[Message], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: int = 10, **limits: int
) -> list[Any]:
    class Reader:
        def __init__(self, _kafka: Any, _topics: Any, from_end: bool = False) -> None:
            self.positions = {("clicks", 0): ends, ("clicks", 1): ends}

        def read_to_end(self, _timeout_s: float) -> Iterator[Message]:
            return iter(messages)

        def close(self) -> None:
            """Has nothing open."""

    monkeypatch.setattr(module, "TopicReader", Reader)
    record(KafkaSettings(), tmp_path, ["clicks"], Range(**limits))
    return [orjson.loads(line) for line in (tmp_path / "clicks.jsonl").read_bytes().splitlines()]


def test_partitions_are_merged_by_timestamp_and_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = [(0, 50), (0, 20), (0, 60), (1, 10), (1, 50), (1, 55)]
    messages = [Message(p, i, stamp) for i, (p, stamp) in enumerate(stamps)]
    found = recorded(messages, tmp_path, monkeypatch)
    assert [row["event_id"] for row in found] == ["e103", "e0", "e1", "e104", "e105", "e2"]
    assert not any("arrival_ms" in row for row in found), "a producer's time is not one of arrival"


def test_times_that_the_broker_gave_are_times_of_arrival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = recorded([Message(0, 0, 70, kind=2), Message(0, 1, 80, kind=2)], tmp_path, monkeypatch)
    assert [row["arrival_ms"] for row in found] == [70, 80]


def test_a_range_of_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [Message(0, i, 10 * i) for i in range(6)]
    found = recorded(messages, tmp_path, monkeypatch, from_time_ms=20, to_time_ms=40)
    assert [row["event_id"] for row in found] == ["e2", "e3"]


def test_what_comes_after_the_beginning_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the end that was told, and written later: unlike what an embedded broker keeps beyond its end."""
    later = 4 * 10**12
    messages = [Message(0, 0, later), Message(0, 1, 5), Message(0, 2, later), Message(0, 3, 6)]
    found = recorded(messages, tmp_path, monkeypatch, ends=1)
    assert sorted(row["event_id"] for row in found) == ["e0", "e1"]
