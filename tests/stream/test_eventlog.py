from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import eventlog
from stream.errors import UsageError
from stream.eventlog import (
    TOPIC_TYPES,
    LogRecord,
    arrow_schema,
    count_records,
    read_records,
    topics_in,
    write_topic,
)
from stream.events import (
    AddToCart,
    Charge,
    OrderCancelled,
    OrderLine,
    OrderPlaced,
    OrderReturned,
    Product,
    ProductView,
    Search,
    StockAdjusted,
    StockCounted,
)


def order(number: int, time_ms: int, customer: str | None = "c1") -> OrderPlaced:
    return OrderPlaced(
        event_id=f"o{number}",
        event_time_ms=time_ms,
        order_id=str(number),
        location="warehouse",
        lines=[OrderLine(sku="A", quantity=1.0, unit_price=2.5)],
        customer_id=customer,
    )


def counted(number: int, time_ms: int) -> StockCounted:
    return StockCounted(event_id=f"i{number}", event_time_ms=time_ms, location="warehouse", sku="A", quantity=1.0)


def view(number: int, time_ms: int) -> ProductView:
    return ProductView(event_id=f"k{number}", event_time_ms=time_ms, customer_id="c1", sku="A")


def decoded(records: Sequence[LogRecord]) -> list[Any]:
    return [msgspec.json.decode(record.value, type=TOPIC_TYPES[record.topic]) for record in records]


@pytest.mark.parametrize("topic", TOPIC_TYPES)
def test_the_schema_has_every_field_of_every_type_once(topic: str) -> None:
    schema = arrow_schema(topic)
    kinds = getattr(TOPIC_TYPES[topic], "__args__", (TOPIC_TYPES[topic],))
    fields = {field.name for kind in kinds for field in msgspec.structs.fields(kind)}
    assert set(schema.names) == fields | {"type"}
    assert len(schema.names) == len(set(schema.names))


def test_nested_records_are_lists_of_structs() -> None:
    lines = arrow_schema("orders").field("lines").type
    assert str(lines.value_type) == "struct<sku: string, quantity: double, unit_price: double, discount: double>"


ids = st.text(min_size=1, max_size=8)
times = st.integers(min_value=1_000, max_value=10**12)
amounts = st.floats(min_value=0.001, max_value=1e9)
texts = st.none() | st.text(max_size=20)
lines = st.builds(OrderLine, sku=ids, quantity=amounts, unit_price=amounts, discount=st.floats(0, 1))
charges = st.builds(Charge, code=ids, amount=st.floats(-1e11, 1e11), description=texts)
common = {
    "event_id": ids,
    "event_time_ms": times,
    "order_id": ids,
    "location": ids.filter(lambda text: ":" not in text),
    "lines": st.lists(lines, min_size=1, max_size=4),
    "charges": st.lists(charges, max_size=3),
    "customer_id": st.none() | ids,
    "region": texts,
}
order_events = st.one_of(
    st.builds(OrderPlaced, **common),
    st.builds(OrderCancelled, **common, cancels_order_id=st.none() | ids),
    st.builds(OrderReturned, **common, returns_order_id=st.none() | ids),
)


@settings(max_examples=60, deadline=None)
@given(events=st.lists(order_events, max_size=25), chunk_rows=st.integers(1, 9))
def test_orders_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, events: list[Any], chunk_rows: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    assert write_topic(directory, "orders", events) == len(events)
    records = list(read_records(directory, ["orders"], chunk_rows=chunk_rows))
    assert decoded(records) == events
    assert [r.key for r in records] == [(e.customer_id or e.order_id).encode() for e in events], "guests by their order"


def test_union_fields_and_defaults_come_back(tmp_path: Path) -> None:
    events = [
        view(1, 10),
        AddToCart(event_id="k2", event_time_ms=11, customer_id="c", sku="A", quantity=3.0, simulated=True),
        Search(event_id="k3", event_time_ms=12, customer_id="c", query="red bowl", session_id="s"),
    ]
    write_topic(tmp_path, "clicks", events)
    records = list(read_records(tmp_path))
    assert decoded(records) == events
    assert records[0].value == (
        b'{"type":"product_view","event_id":"k1","event_time_ms":10,"customer_id":"c1","simulated":false,"sku":"A"}'
    )


def test_files_are_written_and_read_in_bounded_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "CHUNK_ROWS", 100)
    drawn = 0

    def events() -> Any:
        nonlocal drawn
        for drawn in range(1, 1001):
            yield counted(drawn, drawn)

    write_topic(tmp_path, "inventory", events())
    assert pq.ParquetFile(tmp_path / "inventory.parquet").num_row_groups == 10
    assert [r.event_time_ms for r in read_records(tmp_path, chunk_rows=64)] == list(range(1, 1001))


def test_reference_first_then_events_by_time(tmp_path: Path) -> None:
    write_topic(tmp_path, "inventory", [counted(1, 10), counted(2, 20)])
    write_topic(tmp_path, "orders", [order(1, 10), order(2, 30, None)])
    write_topic(tmp_path, "clicks", [view(1, 10), view(2, 25)])
    write_topic(tmp_path, "catalog", [Product(sku="A", name="Bowl", unit_price=1.0)])
    records = list(read_records(tmp_path))
    assert [(r.topic, r.event_time_ms) for r in records] == [
        ("catalog", 0),
        ("orders", 10),
        ("clicks", 10),
        ("inventory", 10),
        ("inventory", 20),
        ("clicks", 25),
        ("orders", 30),
    ]
    assert [r.key for r in records] == [b"A", b"c1", b"c1", b"warehouse:A", b"warehouse:A", b"c1", b"2"]


def test_a_late_record_stays_where_it_arrived(tmp_path: Path) -> None:
    write_topic(tmp_path, "orders", [order(1, 10), order(2, 50), order(3, 5), order(4, 60)])
    write_topic(tmp_path, "clicks", [view(1, 20), view(2, 55)])
    assert [r.event_time_ms for r in read_records(tmp_path)] == [10, 20, 50, 5, 55, 60]


@settings(max_examples=40, deadline=None)
@given(data=st.lists(st.lists(st.integers(1, 20), max_size=15), min_size=3, max_size=3), chunk=st.integers(1, 5))
def test_merging_does_not_depend_on_chunks_and_keeps_file_order(
    tmp_path_factory: pytest.TempPathFactory, data: list[list[int]], chunk: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    makers: dict[str, Any] = {"orders": order, "clicks": view, "inventory": counted}
    for (topic, make), numbers in zip(makers.items(), data, strict=True):
        write_topic(directory, topic, [make(n, t) for n, t in enumerate(numbers)])
    records = list(read_records(directory, chunk_rows=chunk))
    assert records == list(read_records(directory))
    for topic, numbers in zip(makers, data, strict=True):
        assert [r.event_time_ms for r in records if r.topic == topic] == numbers
    if all(numbers == sorted(numbers) for numbers in data):
        assert [r.event_time_ms for r in records] == sorted(t for numbers in data for t in numbers)


def test_jsonl_is_read_as_it_is(tmp_path: Path) -> None:
    value = b'{"type": "product_view", "event_id": "a", "event_time_ms": 7, "customer_id": "c", "sku": "A", "new": 1}'
    (tmp_path / "clicks.jsonl").write_bytes(b"\n" + value + b"\n\n")
    assert list(read_records(tmp_path)) == [LogRecord("clicks", b"c", value, 7)]
    assert count_records(tmp_path, "clicks") == 1


def test_counts_and_topics(tmp_path: Path) -> None:
    write_topic(tmp_path, "orders", (order(n, n + 1) for n in range(7)))
    write_topic(tmp_path, "offers", [])
    assert topics_in(tmp_path) == ["offers", "orders"]
    assert [count_records(tmp_path, topic) for topic in topics_in(tmp_path)] == [0, 7]
    assert list(read_records(tmp_path, ["offers"])) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    write_topic(tmp_path, "orders", [order(1, 1)])

    def broken() -> Any:
        yield order(2, 2)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_topic(tmp_path, "orders", broken())
    assert [r.event_time_ms for r in read_records(tmp_path)] == [1]


@pytest.mark.parametrize(
    ("topic", "line", "message"),
    [
        ("clicks", b"{not json", "line 1 is no JSON"),
        ("clicks", b'{"customer_id": "c"}', "record 1 is none of topic 'clicks': KeyError('event_time_ms')"),
        ("inventory", b'{"sku": "A", "event_time_ms": 1}', "KeyError('location')"),
        ("orders", b"[1]", "record 1 is none of topic 'orders'"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, topic: str, line: bytes, message: str) -> None:
    (tmp_path / f"{topic}.jsonl").write_bytes(line)
    with pytest.raises(UsageError) as error:
        list(read_records(tmp_path))
    assert message in str(error.value)
    assert f"{topic}.jsonl" in str(error.value)


def test_what_cannot_be_read_is_said_before_the_first_record(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"topic 'clicks' has no file .* no topic at all"):
        read_records(tmp_path, ["clicks"])
    with pytest.raises(UsageError, match="no topic 'sales'"):
        read_records(tmp_path, ["sales"])
    write_topic(tmp_path, "clicks", [view(1, 1)])
    (tmp_path / "clicks.jsonl").touch()
    with pytest.raises(UsageError, match="remove one of them"):
        read_records(tmp_path, ["clicks"])


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    write_topic(tmp_path, "clicks", [view(1, 1)])
    path = tmp_path / "clicks.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"clicks\.parquet is no parquet file"):
        list(read_records(tmp_path))


def test_adjustments_keep_null_reasons_out_of_the_json(tmp_path: Path) -> None:
    event = StockAdjusted(event_id="a", event_time_ms=1, location="w", sku="A", quantity=-2.0)
    write_topic(tmp_path, "inventory", [event])
    (record,) = read_records(tmp_path)
    assert b"reason" not in record.value
    assert decoded([record]) == [event]
