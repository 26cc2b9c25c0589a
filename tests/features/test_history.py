"""History against an oracle that folds, for each spine row, a fresh record with just the events that it sees."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations.base import DAY_MS, HOUR_MS
from features.discovery import discover
from features.history import Asked, By, HistoryError, Told, history
from features.logfile import EventLogError
from features.logrows import TOPIC_OF
from features.rows import ALL, STREAMS, Rows, rows_of
from features.view import REPARTITIONED, View
from stream.cli.history import history as command
from stream.errors import UsageError
from stream.eventlog import write_topic
from stream.events import (
    OrderCancelled,
    OrderLine,
    OrderPlaced,
    OrderReturned,
    ProductView,
    PurchaseOrderPlaced,
    Search,
    StockCounted,
    StockReceived,
)
from stream.repartition import demand_of
from tests.features.streams import START_MS, seeded
from tests.features.test_eventlog import decoded, live_rows, live_shards

VIEWS = sorted(discover().values(), key=lambda view: view.name)
CUSTOMERS = ["a", "b", "ünï ☕", "17"]
ITEMS = ["w:A", "w:B", "w:A:B"]
NAMES = {"customer": CUSTOMERS, "item": ITEMS, "product": ["A", "B", "A:B", ALL], "region": ["x:A", "x:A:B"]}
every_view = pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])


@pytest.fixture(autouse=True)
def _events_may_lie_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up streams with pauses around a time to live reach into the future; one test asks about that."""
    monkeypatch.setattr("features.logrows._MAX_SKEW_MS", 10**12)


def _order(random: Random, base: dict[str, Any]) -> Any:
    kind = random.choice([OrderPlaced, OrderPlaced, OrderCancelled, OrderReturned])
    lines = [
        OrderLine(sku=random.choice(["A", "B", "A:B"]), quantity=random.randint(1, 9) / 2, unit_price=2.5, discount=0.1)
        for _ in range(random.randint(1, 3))
    ]
    customer = random.choice([*CUSTOMERS, None])
    return kind(**base, order_id="o", location="w", lines=lines, customer_id=customer)


def _click(random: Random, base: dict[str, Any]) -> Any:
    who: dict[str, Any] = {
        **base,
        "customer_id": random.choice(CUSTOMERS),
        "session_id": random.choice(["s", "t", None]),
    }
    return random.choice([ProductView(**who, sku=random.choice("AB")), Search(**who, query="q")])


def _stock(random: Random, base: dict[str, Any]) -> Any:
    where = {"location": random.choice(["w", "w", "x/1", "x/2"]), "sku": random.choice(["A", "B", "A:B"])}
    of: dict[str, Any] = {**base, **where, "quantity": 4.0}
    order = PurchaseOrderPlaced(**of, expected_at_ms=base["event_time_ms"] + DAY_MS, purchase_order_id="p")
    return random.choice([StockCounted(**of), StockReceived(**of, purchase_order_id="p"), order])


MAKERS = {"orders": _order, "clicks": _click, "inventory": _stock}


def topic_events(topic: str, size: int, seed: int) -> list[Any]:
    """In arrival order: late ones, equal times, gaps longer than any TTL, and ids that come again."""
    random, events, now = Random(seed), list[Any](), START_MS
    while len(events) < size:
        if events and random.random() < 0.15:
            events.append(random.choice(events))
            continue
        now += random.choice([0, 0, 1, HOUR_MS, DAY_MS, 30 * DAY_MS, 100 * DAY_MS] + [800 * DAY_MS] * (size < 12))
        late = random.choice([0, 0, 0, 1, HOUR_MS, 40 * DAY_MS])
        events.append(MAKERS[topic](random, {"event_id": f"e{len(events)}", "event_time_ms": now - late}))
    return events


def visible(events: Sequence[Any], as_of_ms: int, asked: Asked) -> list[Any]:
    """The events that a spine row sees, in the order in which they are folded."""
    watermark, ids, seen = 0, set[str](), list[Any]()
    for event in events:
        watermark = max(watermark, event.event_time_ms)
        key = event.event_time_ms if asked.by is By.EVENT_TIME else watermark
        if event.event_id not in ids and (key < as_of_ms or (asked.include_equal and key == as_of_ms)):
            seen.append(event)
        ids.add(event.event_id)
    return sorted(seen, key=lambda e: e.event_time_ms) if asked.by is By.EVENT_TIME else seen


def rows_seen(view: View, events: Sequence[Any], name: str) -> Rows:
    """The rows that the live worker makes of events, those of one entity."""
    topic = TOPIC_OF[view.stream]
    if topic == "orders" and view.stream in REPARTITIONED:
        topic, events = "demand", [record for _, _, record in demand_of(decoded("orders", events))]
    found = [*live_rows(topic, events), *live_shards(topic, events)]
    none = rows_of(view.stream, [], kind=[], event_time_ms=[], **{column: [] for column in STREAMS[view.stream][1]})
    rows = next((rows for rows in found if rows.stream == view.stream and name in rows.entities), none)
    return rows.take(np.flatnonzero([entity == name for entity in rows.entities]))


def oracle(view: View, events: Sequence[Any], name: str, as_of_ms: int, asked: Asked) -> dict[str, Any]:
    record, slot, when = view.empty(1), np.zeros(1, np.int64), np.array([as_of_ms])
    rows = rows_seen(view, visible(events, as_of_ms, asked), name)
    for i in range(len(rows)):
        view.fold(record, slot, rows.take(np.array([i])))
    record, slot = view.as_of(record, slot, when)
    own = {"event_time_ms": int(record["event_time_ms"][0]) or None, "version": int(record["version"][0])}
    columns = {name: float(column[0]) for name, column in view.read(record, slot, when).items()}
    lists = {name: column[0].tolist() for name, column in view.read_lists(record, slot, when).items()}
    return {f"{view.name}__{name}": value for name, value in {**own, **columns, **lists}.items()}


def asked_of(log: Path, spine: pl.DataFrame, asked: Asked, out: str = "rows.parquet") -> tuple[pl.DataFrame, Told]:
    spine.write_parquet(log / "spine.parquet")
    told = history(log, log / "spine.parquet", log / out, asked)
    return pl.read_parquet(log / out), told


def spine_of(view: View, events: Sequence[Any], seed: int, size: int = 30) -> pl.DataFrame:
    """Times at, just before, just after and long after those of events; columns to pass through."""
    random = Random(seed)
    names = [*NAMES[view.entity], "nobody"]
    times = [random.choice(events).event_time_ms + random.choice([0, 0, -1, 1, 500 * DAY_MS]) for _ in range(size)]
    who = [random.choice(names) for _ in times]
    return pl.DataFrame(
        {"label": range(size), view.entity: who, "as_of_ms": times, "note": [f"n{i}" for i in range(size)]}
    )


ways = st.builds(
    Asked, st.just(()), st.sampled_from(By), st.booleans(), st.booleans(), st.sampled_from([10, 40, 10**6])
)


@every_view
@given(st.integers(0, 2**32), st.integers(1, 40), ways, st.booleans())
@seeded
def test_each_row_is_what_folding_just_its_events_gives(
    view: View, seed: int, size: int, way: Asked, as_json: bool
) -> None:
    topic = TOPIC_OF[view.stream]
    events = topic_events(topic, size, seed)
    spine, asked = spine_of(view, events, seed), replace(way, views=(view,))
    with TemporaryDirectory() as log:
        if as_json:
            Path(log, f"{topic}.jsonl").write_bytes(b"".join(msgspec.json.encode(e) + b"\n" for e in events))
        else:
            write_topic(Path(log), topic, events)
        found, told = asked_of(Path(log), spine, asked)
        assert [p.name for p in Path(log).iterdir() if p.name.startswith(".") or "partial" in p.name] == []
    assert found.select(spine.columns).equals(spine)
    for row in found.iter_rows(named=True):
        expected = oracle(view, events, row[view.entity], row["as_of_ms"], asked)
        given_ = {name: value for name, value in row.items() if name in expected}
        np.testing.assert_equal(given_, expected if asked.sequences else {n: expected[n] for n in given_})
        assert asked.sequences == (given_.keys() == expected.keys()) or not view.describe_lists()
    assert told.events == {topic: size}
    assert told.missing[view.name] == (found[f"{view.name}__version"] == 0).sum()


@pytest.mark.parametrize("by", By)
def test_shards_give_the_same_bytes_as_one(by: By, tmp_path: Path) -> None:
    views = tuple(view for view in VIEWS if view.entity == "customer")
    for topic in ("orders", "clicks"):
        write_topic(tmp_path, topic, topic_events(topic, 400, 5))
    spine = spine_of(views[0], topic_events("orders", 400, 5), 6, size=500)
    one, whole = asked_of(tmp_path, spine, Asked(views, by, sequences=True), "one.parquet")
    many, parted = asked_of(tmp_path, spine, Asked(views, by, sequences=True, memory_rows=2_000), "many.parquet")
    assert whole.shards == {"customer": 1}
    assert parted.shards["customer"] > 3
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "many.parquet").read_bytes()
    assert whole.duplicates == parted.duplicates
    assert min(whole.duplicates.values()) > 0
    assert len(one) == len(many) == 500


@every_view
def test_what_a_live_worker_would_have_had_after_each_event(view: View, tmp_path: Path) -> None:
    """By arrival and with its own event, a row has the numbers of a fold in arrival order."""
    topic = TOPIC_OF[view.stream]
    events = topic_events(topic, 60, 3)
    write_topic(tmp_path, topic, events)
    marks = np.maximum.accumulate([e.event_time_ms for e in events])
    name = NAMES[view.entity][0]
    spine = pl.DataFrame({view.entity: [name] * len(events), "as_of_ms": marks})
    found, _ = asked_of(tmp_path, spine, Asked((view,), By.ARRIVAL, include_equal=True))
    first = {e.event_id: i for i, e in reversed(list(enumerate(events)))}
    record, slot = view.empty(1), np.zeros(1, np.int64)
    for i, event in enumerate(events):
        if first[event.event_id] == i:
            rows = rows_seen(view, [event], name)
            view.fold(record, np.zeros(len(rows), np.int64), rows)
        if i + 1 < len(events) and marks[i + 1] == marks[i]:
            continue  # what arrives at one time is seen as one
        columns = view.read(record, slot, marks[i : i + 1])
        np.testing.assert_equal([found[f"{view.name}__{c}"][i] for c in columns], [c[0] for c in columns.values()])
    assert found[f"{view.name}__version"].to_numpy().max() >= 2


def test_a_column_of_arrival_times_goes_before_the_watermark(tmp_path: Path) -> None:
    view = discover()["customer_clicks"]
    clicks = [
        {"type": "search", "event_id": str(i), "event_time_ms": DAY_MS + i, "customer_id": "a", "arrival_ms": at}
        for i, at in enumerate([2 * DAY_MS, 5 * DAY_MS, 3 * DAY_MS])
    ]
    (tmp_path / "clicks.jsonl").write_bytes(b"".join(msgspec.json.encode(c) + b"\n" for c in clicks))
    spine = pl.DataFrame({"customer": ["a"] * 3, "as_of_ms": [2 * DAY_MS + 1, 4 * DAY_MS, 5 * DAY_MS + 1]})
    found, _ = asked_of(tmp_path, spine, Asked((view,), By.ARRIVAL))
    assert found["customer_clicks__version"].to_list() == [1, 1, 3], "nothing arrives before what is ahead of it"
    del clicks[2]["arrival_ms"]
    (tmp_path / "clicks.jsonl").write_bytes(b"".join(msgspec.json.encode(c) + b"\n" for c in clicks))
    with pytest.raises(EventLogError, match=r"clicks\.jsonl: record 3 has no 'arrival_ms', unlike those before it"):
        asked_of(tmp_path, spine, Asked((view,), By.ARRIVAL))


def test_customers_and_items_in_one_spine(tmp_path: Path) -> None:
    events = topic_events("orders", 50, 1)
    write_topic(tmp_path, "orders", events)
    views = (discover()["customer_orders"], discover()["item_demand"])
    spine = pl.DataFrame({"customer": ["a", "b"], "item": ["w:B", "w:A"], "as_of_ms": [events[-1].event_time_ms] * 2})
    for memory_rows in (10, 10**6):
        asked = Asked(views, memory_rows=memory_rows)
        found, _ = asked_of(tmp_path, spine, asked)
        for row in found.iter_rows(named=True):
            for view in views:
                expected = oracle(view, events, row[view.entity], row["as_of_ms"], asked)
                np.testing.assert_equal(
                    {name: row[name] for name in row if name in expected},
                    {name: value for name, value in expected.items() if name in row},
                )


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_a_spine_as_text_keeps_leading_zeros_and_reads_times(ending: str, zone: str | None, tmp_path: Path) -> None:
    view = discover()["customer_clicks"]
    write_topic(tmp_path, "clicks", [ProductView(event_id="1", event_time_ms=DAY_MS, customer_id="007", sku="A")])
    times = pl.from_epoch(pl.Series("as_of", [DAY_MS, DAY_MS + 1]), "ms").dt.replace_time_zone("UTC")
    times = times.dt.convert_time_zone(zone) if zone else times.dt.replace_time_zone(None)
    spine = pl.DataFrame({"customer_id": ["007", "007"], "as_of": times, "label": [1, 2]})
    spine.write_parquet(tmp_path / "spine.parquet")
    if ending == "csv":
        spine.write_csv(tmp_path / "spine.csv")
    else:
        spine.with_columns(pl.col("as_of").dt.to_string("iso:strict")).write_ndjson(tmp_path / "spine.jsonl")
    for name in ("spine.parquet", f"spine.{ending}"):
        history(tmp_path, tmp_path / name, tmp_path / "out.parquet", Asked((view,)))
        found = pl.read_parquet(tmp_path / "out.parquet")
        assert found["customer_clicks__version"].to_list() == [0, 1], name
        assert found["customer_clicks__event_time_ms"].to_list() == [None, DAY_MS]
        assert found["label"].to_list() == [1, 2]


GOOD: dict[str, Any] = {"customer": ["a", "b"], "as_of_ms": [1, 2]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"as_of_ms": [1]}, "has no column 'customer' or 'customer_id' for the customer; it has as_of_ms"),
        ({"customer": ["a"]}, "has no column 'as_of_ms' or 'as_of' for the time; it has customer"),
        ({**GOOD, "customer_id": ["a", "b"]}, "the customer is told twice, by 'customer' and 'customer_id'"),
        ({**GOOD, "customer": ["a", None]}, "row 2: column 'customer' is null"),
        ({**GOOD, "as_of_ms": [1, None]}, "row 2: column 'as_of_ms' is null"),
        ({**GOOD, "customer": [1.5, 2.5]}, "column 'customer' holds double; keys are texts or whole numbers"),
        ({**GOOD, "as_of_ms": [1.5, 2.5]}, "column 'as_of_ms' holds double; it should hold whole milliseconds"),
        ({"customer": ["a"], "as_of": ["soon"]}, "row 1: column 'as_of' holds 'soon', which is no time"),
        ({"customer": ["a"], "as_of": [5]}, "column 'as_of' holds int64; it should hold dates with times"),
        (
            {**GOOD, "customer_orders__version": [1, 2]},
            "has a column 'customer_orders__version', which is to be filled",
        ),
    ],
)
def test_a_wrong_spine_says_what_is_wrong(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_topic(tmp_path, "orders", topic_events("orders", 3, 1))
    with pytest.raises(HistoryError, match=message):
        asked_of(tmp_path, pl.DataFrame(columns), Asked((discover()["customer_orders"],)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["orders.parquet", "spine.parquet"], "nothing is left behind"


def test_the_spine_is_not_overwritten(tmp_path: Path) -> None:
    write_topic(tmp_path, "orders", topic_events("orders", 3, 1))
    with pytest.raises(HistoryError, match=r"spine\.parquet is the spine itself"):
        asked_of(tmp_path, pl.DataFrame(GOOD), Asked((discover()["customer_orders"],)), "spine.parquet")


def test_an_empty_spine_gives_no_rows_but_all_columns(tmp_path: Path) -> None:
    write_topic(tmp_path, "orders", topic_events("orders", 3, 1))
    spine = pl.DataFrame(GOOD).clear()
    found, _ = asked_of(tmp_path, spine, Asked((discover()["customer_orders"],)))
    assert len(found) == 0
    assert "customer_orders__version" in found.columns


_MEASURED = """
import resource, sys
from pathlib import Path
from features.discovery import discover
from features.history import Asked, history
log = Path(sys.argv[1])
asked = Asked((discover()["customer_clicks"],), memory_rows=60_000)
told = history(log, log / "spine.parquet", log / "out.parquet", asked)
assert told.shards["customer"] >= int(sys.argv[2]), told
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    peaks = []
    for times in (1, 4):
        n = 150_000 * times
        log = tmp_path / str(n)
        log.mkdir()
        numbers = pl.int_range(n, eager=True)
        clicks = pl.DataFrame({"event_id": "e" + numbers.cast(pl.String), "event_time_ms": START_MS + numbers * 1000})
        clicks = clicks.with_columns(
            type=pl.lit("product_view"), customer_id="c" + (numbers * 7 % 5000).cast(pl.String)
        )
        clicks = clicks.with_columns(sku="p" + (numbers % 1000).cast(pl.String))
        clicks.write_parquet(log / "clicks.parquet", row_group_size=16_384)
        spine = pl.DataFrame({"customer": [f"c{i}" for i in range(5000)]}).with_columns(as_of_ms=START_MS + n * 1000)
        spine.write_parquet(log / "spine.parquet")
        command = [sys.executable, "-c", _MEASURED, str(log), str(2 * times)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.3 * peaks[0], peaks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"view": ["orders"]}, "there is no view 'orders'; there are customer_clicks"),
        ({"events": "gone"}, "gone is no event log: it has no orders.parquet"),
        ({"as_of": Path("gone.csv")}, "there is no spine gone.csv"),
        ({}, "record 1: column 'type' holds 'sold'"),
    ],
)
def test_the_command_says_what_to_put_right(
    change: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {"type": "sold", "event_id": "1", "event_time_ms": 5, "customer_id": "a", "location": "w", "lines": []}
    (tmp_path / "orders.jsonl").write_bytes(msgspec.json.encode(bad))
    pl.DataFrame(GOOD).write_parquet(tmp_path / "spine.parquet")
    given_ = {"events": str(tmp_path), "view": ["customer_orders"], "as_of": tmp_path / "spine.parquet", **change}
    with pytest.raises(UsageError, match=message):
        command(**given_, out=tmp_path / "rows.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["orders.jsonl", "spine.parquet"]
    assert capsys.readouterr() == ("", ""), "no bar where nobody looks"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"event_time_ms": 4 * 10**12},
            r"record 2: column 'event_time_ms' holds 4000000000000, which is not from 1 to",
        ),
        ({"event_time_ms": -5}, "record 2: column 'event_time_ms' holds -5"),
        ({"lines": []}, "record 2: column 'lines' holds 0 order lines"),
        ({"quantity": -1.0}, "record 2: column 'lines.quantity' holds -1.0"),
        ({"quantity": 2e9}, "record 2: column 'lines.quantity' holds 2000000000.0"),
        ({"discount": 1.5}, "record 2: column 'lines.discount' holds 1.5"),
    ],
)
def test_what_the_live_worker_would_refuse_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("features.logrows._MAX_SKEW_MS", 300_000)
    line = {"sku": "A", "quantity": 1.0, "unit_price": 2.0, "discount": 0.0}
    order = {"type": "order_placed", "event_time_ms": 10**12, "order_id": "1", "location": "w", "customer_id": "c"}
    of_line = {name: value for name, value in change.items() if name in line}
    rest = {name: value for name, value in change.items() if name not in line}
    orders = [order | {"event_id": "1", "lines": [line]}, order | {"event_id": "2", "lines": [line | of_line]} | rest]
    (tmp_path / "orders.jsonl").write_text("".join(json.dumps(o) + "\n" for o in orders))
    (tmp_path / "spine.csv").write_text("customer,as_of_ms\nc,1500000000000\n")
    views = tuple(view for view in VIEWS if view.name == "customer_orders")
    with pytest.raises(EventLogError, match=message):
        history(tmp_path, tmp_path / "spine.csv", tmp_path / "out.parquet", Asked(views))


def test_the_log_is_not_overwritten(tmp_path: Path) -> None:
    write_topic(tmp_path, "orders", topic_events("orders", 5, 1))
    (tmp_path / "spine.csv").write_text("customer,as_of_ms\nc,1500000000000\n")
    views = tuple(view for view in VIEWS if view.name == "customer_orders")
    with pytest.raises(HistoryError, match="the log's own file of topic 'orders'"):
        history(tmp_path, tmp_path / "spine.csv", tmp_path / "orders.parquet", Asked(views))


@pytest.mark.parametrize(("include_equal", "seen"), [(False, 1), (True, 1)])
def test_a_time_between_two_milliseconds_sees_what_is_before_it(tmp_path: Path, include_equal: bool, seen: int) -> None:
    when = 1_300_000_000_000
    order = {"type": "order_placed", "order_id": "1", "location": "w", "customer_id": "c"}
    line = {"sku": "A", "quantity": 1.0, "unit_price": 2.0, "discount": 0.0}
    orders = [order | {"event_id": str(i), "event_time_ms": when + i, "lines": [line]} for i in range(2)]
    (tmp_path / "orders.jsonl").write_text("".join(json.dumps(o) + "\n" for o in orders))
    spine = pl.DataFrame({"customer": ["c"], "as_of": [when * 1000 + 500]}).with_columns(
        pl.col("as_of").cast(pl.Datetime("us", "UTC"))
    )
    spine.write_parquet(tmp_path / "spine.parquet")
    views = tuple(view for view in VIEWS if view.name == "customer_orders")
    asked = Asked(views, include_equal=include_equal)
    history(tmp_path, tmp_path / "spine.parquet", tmp_path / "out.parquet", asked)
    assert pl.read_parquet(tmp_path / "out.parquet")["customer_orders__orders"].to_list() == [seen]
