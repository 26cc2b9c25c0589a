from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import replay as module
from stream.errors import UsageError
from stream.eventlog import write_topic
from stream.events import Offer, OrderLine, OrderPlaced, Product, ProductView
from stream.replay import Pace, replay
from stream.settings import KafkaSettings
from tests.stream.build import T0, RecordingSink


def test_full_speed_never_waits() -> None:
    pace = Pace(0)
    assert [pace.delay_s(T0 + ms, now=0.0) for ms in (0, 10**9)] == [0.0, 0.0]


def test_time_runs_faster_by_the_speed() -> None:
    pace = Pace(86_400)
    assert pace.delay_s(T0, now=5.0) == 0.0
    assert pace.delay_s(T0 + 86_400_000, now=5.0) == pytest.approx(1.0)
    assert pace.delay_s(T0 + 86_400_000, now=5.75) == pytest.approx(0.25)


def test_a_replay_that_is_behind_is_due_at_once() -> None:
    pace = Pace(1)
    pace.delay_s(T0, now=0.0)
    assert pace.delay_s(T0 + 1_000, now=3.0) == pytest.approx(-2.0)
    assert pace.delay_s(T0 + 5_000, now=3.0) == pytest.approx(2.0), "and has caught up by then"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.floats(0.1, 1e6), st.lists(st.integers(0, 10**9), min_size=1), st.floats(0, 1e3))
def test_waiting_as_told_arrives_on_time(speed: float, after_ms: Sequence[int], start: float) -> None:
    pace, now = Pace(speed), start
    times = sorted(after_ms)
    for at in times:
        now += max(pace.delay_s(T0 + at, now), 0.0)
        assert now - start == pytest.approx((at - times[0]) / 1000 / speed, abs=1e-3)


def view(i: int) -> ProductView:
    return ProductView(event_id=f"c{i}", event_time_ms=T0 + i * 1_000, customer_id=str(i), sku="A")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two products, an offer, two orders with clicks around them."""
    offer = Offer(
        offer_id="o", sku="A", title="t", discount=0.1, margin=1.0, valid_from_ms=T0, valid_until_ms=T0 + 10**9
    )
    orders = [
        OrderPlaced(
            event_id=f"o{i}",
            event_time_ms=T0 + i * 1_000 + 500,
            order_id=f"o{i}",
            location="w",
            lines=[OrderLine(sku="A", quantity=1, unit_price=1)],
            customer_id=str(i),
        )
        for i in range(2)
    ]
    write_topic(tmp_path, "catalog", [Product(sku=s, name=s, unit_price=1.0) for s in "AB"])
    write_topic(tmp_path, "offers", [offer])
    write_topic(tmp_path, "orders", orders)
    write_topic(tmp_path, "clicks", [view(i) for i in range(3)])
    return tmp_path


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> RecordingSink:
    sink = RecordingSink()
    monkeypatch.setattr(module, "Sink", lambda _kafka: sink)
    return sink


KAFKA = KafkaSettings()


def test_reference_topics_come_whole_and_first_then_events_by_their_time(log: Path, sink: RecordingSink) -> None:
    before: list[list[str]] = []
    done = replay(log, KAFKA, before_events=lambda: before.append([p.topic for p in sink.acknowledged]))
    assert before == [["catalog", "catalog", "offers"]], "acknowledged before the first event"
    assert [p.topic for p in sink.acknowledged] == [
        *before[0],
        "clicks",
        "orders",
        "clicks",
        "orders",
        "clicks",
    ]
    assert sink.waiting == []
    assert done.records == {"catalog": 2, "offers": 1, "clicks": 3, "orders": 2}
    assert done.seconds >= 0


def test_records_have_the_key_of_their_topic(log: Path, sink: RecordingSink) -> None:
    replay(log, KAFKA)
    assert {(p.topic, p.key) for p in sink.acknowledged} == {
        ("catalog", b"A"),
        ("catalog", b"B"),
        ("offers", b"o"),
        ("orders", b"0"),
        ("orders", b"1"),
        *(("clicks", str(i).encode()) for i in range(3)),
    }
    clicks = [msgspec.json.decode(p.value or b"", type=ProductView) for p in sink.acknowledged if p.topic == "clicks"]
    assert clicks == [view(i) for i in range(3)]


def test_only_the_topics_that_are_wanted(log: Path, sink: RecordingSink) -> None:
    assert replay(log, KAFKA, topics=["orders"]).records == {"orders": 2}
    assert replay(log, KAFKA, topics=["offers"]).records == {"offers": 1}


class Clock(threading.Event):
    """A stop event whose waits take no time; notes them."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._stop_at = stop_at

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        if len(self.waits) == self._stop_at:
            self.set()
        return self.is_set()


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.replay.time.monotonic", lambda: 100.0)


@pytest.mark.usefixtures("frozen", "sink")
def test_it_waits_for_the_event_time_at_its_speed(log: Path) -> None:
    clock = Clock()
    replay(log, KAFKA, speed=10.0, stop=clock)
    assert clock.waits == pytest.approx([0.05, 0.1, 0.15, 0.2]), "the clock stands still: the first event is due"


@pytest.mark.usefixtures("frozen")
def test_it_stops_early_when_it_is_asked_to_and_what_was_sent_is_acknowledged(log: Path, sink: RecordingSink) -> None:
    done = replay(log, KAFKA, speed=10.0, stop=Clock(stop_at=1))
    assert done.records == {"catalog": 2, "offers": 1, "clicks": 1, "orders": 1}
    assert sink.waiting == []


@pytest.mark.usefixtures("sink")
def test_progress_is_told_now_and_then(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1_000))
    monkeypatch.setattr("stream.replay.time.monotonic", lambda: float(next(now)))
    told: list[tuple[int, int]] = []
    replay(log, KAFKA, speed=1e9, progress=lambda *at: told.append(at))
    assert [done for done, _ in told] == [0, 1, 2, 3, 4]
    assert told[0][1] == T0


def test_a_directory_that_is_no_event_log_is_an_error(tmp_path: Path, sink: RecordingSink) -> None:
    with pytest.raises(UsageError, match=r"gone is no event log: it has no topic; make one with `tidecast import`"):
        replay(tmp_path / "gone", KAFKA)
    assert sink.steps == []


def test_a_topic_that_is_not_there_is_told_before_anything_is_sent(log: Path, sink: RecordingSink) -> None:
    with pytest.raises(UsageError, match="topic 'inventory' has no file"):
        replay(log, KAFKA, topics=["catalog", "inventory"])
    assert sink.steps == []
