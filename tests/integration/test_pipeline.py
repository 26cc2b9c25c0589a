"""Real orders through a real broker, store and worker: what comes out is right, complete and explains itself."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

from stream.cli import app
from stream.demo.dashboard import Dashboard
from stream.demo.observer import Observer
from stream.errors import UsageError
from stream.eventlog import read_records
from tests.brokers import Broker
from tests.support import Shop, differing, folded_from_log, wall_ms

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
SCORES = ("reorder-scores", "next-best-offers", "stockout-scores")

_CLICK = b'{"type":"product_view","event_id":"p%d","event_time_ms":%d,"customer_id":"1","sku":"A"}'

#: What must end as a dead letter: (topic, key, value, stage).
POISON: list[tuple[str, bytes | None, bytes | None, str]] = [
    ("orders", b"1", b"{not json", "decode"),
    ("orders", b"1", b'{"type":"order_placed","event_id":"x"}', "validate"),
    ("orders", b"1", b'{"type":"order_teleported","event_id":"x"}', "validate"),
    ("clicks", b"1", _CLICK.replace(b'"A"', b"NaN") % (1, 1_300_000_000_000), "decode"),
    ("clicks", b"1", _CLICK % (2, wall_ms() + 86_400_000), "event_time"),
    ("clicks", b"2", _CLICK % (3, 1_300_000_000_000), "key"),
    ("clicks", b"1", b"\xff\xfe" + b"\x00" * 10, "decode"),
    ("clicks", b"1", None, "decode"),
    (
        "inventory",
        b"w:A",
        b'{"type":"stock_received","event_id":"i","event_time_ms":1300000000000,"location":"w","sku":"A",'
        b'"quantity":-5}',
        "validate",
    ),
    ("catalog", b"A", b'{"type":"product","sku":"A"}', "validate"),
    ("offers", b"A", b"{", "decode"),
    ("inventory", b"w:A", b'{"padding":"' + b"x" * 1_100_000 + b'"}', "size"),
]


@pytest.fixture(scope="module")
def shop(kafka: Broker, events: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop after all events and the poison."""
    with Shop(tmp_path_factory.mktemp("shop"), broker=kafka) as shop:
        records = [(r.topic, r.key, r.value) for r in read_records(events)]
        middle = len(records) // 2
        poison = [(topic, key, value) for topic, key, value, _ in POISON]
        shop.produce([*records[:middle], *poison, *records[middle:]])
        worker = shop.start_worker()
        shop.wait_until_done()
        assert shop.stop_worker(worker) == 0, shop.logs()
        yield shop


def test_every_product_line_gives_exactly_one_demand_record(shop: Shop, events: Path) -> None:
    orders = pl.read_parquet(events / "orders.parquet")
    lines = orders.select("event_id", "lines").explode("lines").unnest("lines")
    at = lines.with_columns(line=pl.int_range(pl.len()).over("event_id"))
    expected = Counter(f"{e}:{n}|{sku}" for e, n, sku in at.select("event_id", "line", "sku").iter_rows())
    demand = [json.loads(r.value()) for r in shop.read("demand")]
    assert Counter(f"{d['event_id']}|{d['sku']}" for d in demand) == expected
    assert max(expected.values()) == 1


def test_every_customer_with_an_order_has_a_reorder_score(shop: Shop, events: Path) -> None:
    orders = pl.read_parquet(events / "orders.parquet")
    customers = set(orders["customer_id"].drop_nulls().to_list())
    assert {r.key().decode() for r in shop.read("reorder-scores")} == customers


def test_every_item_with_events_has_a_stockout_score(shop: Shop, events: Path) -> None:
    seen = {r.key().decode() for r in shop.read("stockout-scores")}
    expected = folded_from_log(events)
    assert seen == expected["item_demand"].keys() | expected["item_stock"].keys()


@pytest.mark.parametrize("topic", [*SCORES, "supply-alerts", "demand"])
def test_records_follow_their_published_schema(shop: Shop, topic: str) -> None:
    validator = jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{topic}.json").read_text()))
    records = shop.read(topic)
    if topic != "supply-alerts":
        assert records
    for record in records[:: max(1, len(records) // 150)]:
        validator.validate(json.loads(record.value()))


@pytest.mark.parametrize("topic", SCORES)
def test_scores_explain_themselves(shop: Shop, topic: str) -> None:
    for record in shop.read(topic):
        score = json.loads(record.value())
        assert score["model"]
        assert score["version"]
        assert score["as_of_ms"] >= max(score["feature_time_ms"].values())
        assert "fallback" in score
        assert score["source"]
        assert isinstance(score["reasons"], list)
        if score["fallback"] is None:
            assert score["reasons"], score


def test_dead_letters_are_exactly_the_poison(shop: Shop) -> None:
    letters = shop.read("dead-letters")
    found: Counter[tuple[str, bytes | None, bytes | None, str]] = Counter()
    for letter in letters:
        headers = dict(letter.headers())
        assert int(headers["tidecast-offset"]) >= 0
        assert int(headers["tidecast-partition"]) >= 0
        assert headers["tidecast-error"]
        topic, stage = headers["tidecast-topic"].decode(), headers["tidecast-stage"].decode()
        found[topic, letter.key(), letter.value(), stage] += 1
    assert found == Counter(POISON)


def test_features_in_the_store_are_what_the_log_folds_to(shop: Shop, events: Path) -> None:
    assert differing(shop.features(), folded_from_log(events)) == {}


def test_latest_scores_are_in_the_store(shop: Shop) -> None:
    store = shop.store()
    kept = store.scan("s", "reorder")
    store.close()
    newest = {r.key().decode(): r.value() for r in shop.read("reorder-scores")}
    assert kept == newest


def test_features_show_tells_names_values_and_the_latest_score(shop: Shop, events: Path) -> None:
    customer = pl.read_parquet(events / "orders.parquet")["customer_id"].drop_nulls()[0]
    for arguments, expected in (
        (["customer", customer], ["customer_orders: fresh; newest event 2010-12", "orders placed", '"reorder_scores"']),
        (["item", "warehouse:85123A"], ["units_7d", "stock_on_order", '"stockout_score"']),
    ):
        shown = CliRunner(env=shop.environment).invoke(app, ["features", "show", *arguments])
        assert shown.exit_code == 0, shown.output
        for text in expected:
            assert text in shown.output
    unknown = CliRunner(env=shop.environment).invoke(app, ["features", "show", "customer", "nobody"])
    assert isinstance(unknown.exception, UsageError)
    assert "there are no features of customer 'nobody'" in str(unknown.exception)


@contextmanager
def observing(shop: Shop) -> Iterator[Observer]:
    """An observer that has read all there is."""
    observer = Observer(shop.settings.kafka, late_after_ms=3_600_000)
    try:
        deadline = time.monotonic() + 30
        while observer.poll(0.2) or not observer.latency_ms:
            assert time.monotonic() < deadline
        yield observer
    finally:
        observer.close()


def drawn(observer: Observer) -> str:
    console = Console(record=True, width=160)
    console.print(Dashboard(observer, "a note").render())
    return console.export_text()


def test_the_dashboard_tells_what_is_on_the_topics(shop: Shop) -> None:
    with observing(shop) as observer:
        text = drawn(observer)
    assert f"dead letters {len(POISON)}" in text
    assert "clicks (simulated)" in text
    assert "stock levels are simulated" in text
    assert all(title in text for title in ("risk", "empty", "on hand", "cover", "order now"))
    assert "sees the offer (simulated)" in text
    assert "a note" in text
    for model in ("reorder", "stockout", "next-best-offer"):
        assert model in text
    names = {json.loads(r.value())["name"] for r in shop.read("supply-alerts")}
    assert not names or any(name in text for name in names)


def test_the_dashboard_shows_names_with_brackets_as_they_are(shop: Shop) -> None:
    with observing(shop) as observer:
        offers = observer.newest["next-best-offers"]
        for customer, blob in offers.items():
            told = json.loads(blob)
            told["offers"] = [{**offer, "title": "[/b] [red]tea"} for offer in told["offers"]]
            offers[customer] = json.dumps(told).encode()
        assert "[/b] [red]tea" in drawn(observer)
