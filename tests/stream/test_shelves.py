"""Next hours: what a worker tells of an item whose sales it hears of by the hour, and what parity says of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from features.aggregations.base import HOUR_MS
from features.store import MemoryStore
from features.vectors import shelf
from models.registry import Model
from stream.events import FeatureVector, StockoutScore
from stream.joins import REGION_VERSION, UNJOINED
from stream.parity.check import compare_with
from stream.parity.events import rows_of_records
from stream.scorers import Touched
from stream.settings import Settings
from stream.ticks import Ticks
from stream.words import sentence
from tests.stream.build import (
    DAY_MS,
    T0,
    Engine,
    Message,
    RecordingSink,
    fake_model,
    fake_models,
    fed,
    message,
    shelf_outputs,
    stock,
    stockout_outputs,
)

ITEMS = ("leeds/1:A", "leeds/2:A", "leeds/5:A", "york/3:A", "york/4:A", "depot:A")
HEADS = ("shelf",)


def sold(location: str, hour: float, units: float, **more: Any) -> dict[str, Any]:
    at = T0 + int(hour * HOUR_MS) + HOUR_MS - 1
    return stock("units_sold", "A", at, location, quantity=units, period_ms=HOUR_MS, **more)


def turned(kind: str, location: str, hour: float) -> dict[str, Any]:
    return stock(kind, "A", T0 + int(hour * HOUR_MS), location)


def engine(model: Model, log_share: float = 0.0, joined: bool = True) -> Engine:
    made = Engine(
        MemoryStore(), RecordingSink(), joined=joined, log_share=log_share, models=fake_models() | {"stockout": model}
    )
    made.assign({("inventory", p): None for p in range(2)})
    return made


def model(outputs: Any = shelf_outputs, heads: tuple[str, ...] = HEADS) -> Model:
    return fake_model("stockout", "stockout", outputs, heads=heads)


def taken_in(made: Engine, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stock-out scores, event by event."""
    for offset, event in enumerate(events):
        key = f"{event['location']}:{event['sku']}"
        made.commit.process([message("inventory", key, event | {"event_id": f"i{offset}"}, offset, 0)])
        Ticks(made.store, made.state.watermarks, made.ownership).write()
    return made.sink.values("stockout-scores")


def test_it_is_told_whether_an_item_runs_out_within_hours() -> None:
    using = model()
    score = taken_in(engine(using), [sold("leeds/1", 8, 2), sold("leeds/1", 9, 1)])[-1]
    told = score["next_hours"]
    chances = [told[f"p_out_{hours}h"] for hours in (1, 2, 3, 4)]
    assert chances == pytest.approx([0.125, 0.34375, 0.671875, 0.671875])
    assert len(told["reasons"]) == 3
    assert score["fallback"] == "no_stock_level"
    assert score["p_stockout"] is None
    assert score["feature_time_ms"]["region_stock"] == T0 + 9 * HOUR_MS - 1  # as of the hour that is over
    row = dict(zip(shelf.FEATURES, fed(using)[-1]["shelf"][0].tolist(), strict=True))
    assert (row["opening_hour"], row["weekday"]) == (3, 0)
    assert (row["sold_1h"], row["sold_2h"], row["sold_today"]) == (1, 3, 3)


def test_a_score_in_words_tells_of_the_next_hours() -> None:
    made = engine(model())
    taken_in(made, [sold("leeds/1", 8, 2)])
    value = [p.value for p in made.sink.published if p.topic == "stockout-scores"][-1]
    assert "67% out within 4 hours" in sentence(value or b"")


@pytest.mark.parametrize(
    "events",
    [
        [turned("ran_out", "leeds/1", 9)],
        [sold("leeds/1", 8, 1), turned("ran_out", "leeds/1", 9), sold("leeds/1", 9, 1)],
        [sold("leeds/1", 21, 1)],
        [sold("leeds/1", 3, 1)],
        [stock("stock_counted", "A", T0 + 9 * HOUR_MS, "leeds/1", quantity=5)],
        [sold("leeds/1", 8, 1), stock("stock_counted", "A", T0 + DAY_MS + 9 * HOUR_MS, "leeds/1", quantity=5)],
    ],
    ids=["ran out", "still out", "last hour", "at night", "no sales told", "told of yesterday"],
)
def test_nothing_is_asked(events: list[dict[str, Any]]) -> None:
    using = model()
    assert taken_in(engine(using), events)[-1]["next_hours"] is None
    assert "shelf" not in fed(using)[-1]


def test_it_is_asked_again_once_restocked() -> None:
    events = [sold("leeds/1", 8, 1), turned("ran_out", "leeds/1", 9), turned("restocked", "leeds/1", 10)]
    assert taken_in(engine(model()), events)[-1]["next_hours"] is not None


@pytest.mark.parametrize("later_ms", [0, 1, HOUR_MS // 2, HOUR_MS - 1])
def test_until_the_next_hour_is_over_it_is_as_of_the_last(later_ms: int) -> None:
    """A score that is made anew by time, or an event within an hour."""
    using = model()
    made = engine(using)
    taken_in(made, [sold("leeds/1", 7, 1), sold("leeds/1", 8, 2)])
    table = made.state.tables["item"]
    touched = Touched(["leeds/1:A"], table.slots_of(["leeds/1:A"]), np.array([T0 + 9 * HOUR_MS - 1 + later_ms]), [[]])
    made.scoring.scorers["stockout"].score(table, touched)
    row = dict(zip(shelf.FEATURES, fed(using)[-1]["shelf"][0].tolist(), strict=True))
    assert (row["opening_hour"], row["sold_1h"], row["sold_2h"], row["hours_since_sale"]) == (2, 2, 3, 1)


def test_a_model_without_that_head_is_fed_nothing() -> None:
    using = model(stockout_outputs, heads=())
    assert taken_in(engine(using), [sold("leeds/1", 8, 2)])[-1]["next_hours"] is None
    assert all("shelf" not in feeds for feeds in fed(using))


def test_a_head_that_was_not_trained_tells_nothing() -> None:
    def untrained(feeds: Any, n: int) -> Any:
        told = shelf_outputs(feeds, n)
        return told | {name: np.full_like(told[name], np.nan) for name in told if name.startswith("shelf_")}

    assert taken_in(engine(model(untrained)), [sold("leeds/1", 8, 2)])[-1]["next_hours"] is None


def test_without_a_region_the_item_alone_tells() -> None:
    using = model()
    score = taken_in(engine(using), [sold("depot", 8, 2)])[-1]
    assert score["next_hours"] is not None
    row = fed(using)[-1]["shelf"][0]
    assert np.isnan(row[shelf.joined_columns()]).all()
    assert np.isfinite(row[:4]).all()


# --- parity -----------------------------------------------------------------------------------------------------------


def days(seed: int) -> Iterator[dict[str, Any]]:
    """Every item sells by the hour, runs out now and then, and is filled in the morning."""
    random, out = Random(seed), dict.fromkeys(ITEMS, False)
    for hour in range(11 * 24):
        for item in ITEMS:
            location = item.partition(":")[0]
            if hour % 24 == 6 and out[item]:
                out[item] = False
                yield turned("restocked", location, hour)
            if not out[item] and 6 <= hour % 24 < 22:
                if random.random() < 0.02:
                    out[item] = True
                    yield turned("ran_out", location, hour)
                elif random.random() < 0.6 or hour % 24 == 21:
                    yield sold(location, hour, random.randrange(8) / 4)


def logged(made: Engine) -> list[FeatureVector]:
    values = [p.value for p in made.sink.published if p.topic == "feature-log"]
    return [msgspec.json.decode(value or b"", type=FeatureVector) for value in values]


@pytest.fixture(scope="module")
def week() -> tuple[list[Message], Engine]:
    """As it comes: in order of time, in two partitions, and what is of one time at once or in a few batches."""
    random, records, following, cuts = Random(3), list[Message](), [0, 0], list[int]()
    before = 0
    for event in sorted(days(3), key=lambda e: e["event_time_ms"]):
        key = f"{event['location']}:A"
        partition = ord(key[-3]) % 2
        event |= {"event_id": f"{partition}-{following[partition]}"}
        if event["event_time_ms"] > before or random.random() < 0.1:
            cuts.append(len(records))
        before = event["event_time_ms"]
        records.append(message("inventory", key, event, following[partition], partition))
        following[partition] += 1
    made = engine(model(), log_share=1.0)
    for begin, end in itertools.pairwise([*cuts, len(records)]):
        made.commit.process(records[begin:end])
        Ticks(made.store, made.state.watermarks, made.ownership).write()
    return records, made


def report_of(made: Engine, records: list[Message], vectors: list[FeatureVector]) -> Any:
    rows = rows_of_records(records, 2, Settings(), lambda entity, key: True)
    return compare_with(rows, vectors, {"stockout": made.scoring.scorers["stockout"].model.manifest})


def test_what_was_logged_is_recomputed_bit_for_bit(week: tuple[list[Message], Engine]) -> None:
    records, made = week
    report = report_of(made, records, logged(made))
    assert report.examples == []
    assert report.good
    region, own = report.views["region_stock"], report.views["item_stock"]
    assert sum(of["match"] for of in region.values()) > 5_000
    assert sum(of["match"] for of in own.values()) > 5_000
    assert report.behind < report.vectors / 10


def test_one_bit_of_a_region_is_a_mismatch(week: tuple[list[Message], Engine]) -> None:
    records, made = week
    vectors = logged(made)
    at = next(i for i, v in enumerate(vectors) if v.context.get(REGION_VERSION, UNJOINED) > 200)
    there = vectors[at].values["shelf_region_pace_today"][0]
    off = float(np.nextafter(np.float32(there), np.float32(9)))
    vectors[at] = msgspec.structs.replace(vectors[at], values=vectors[at].values | {"shelf_region_pace_today": [off]})
    report = report_of(made, records, vectors)
    assert [e["feature"] for e in report.examples] == ["shelf_region_pace_today"]
    assert not report.good


def test_a_vector_that_read_an_older_region_is_behind_and_no_mismatch(week: tuple[list[Message], Engine]) -> None:
    records, made = week
    vectors = logged(made)
    at = next(i for i, v in enumerate(vectors) if v.context.get(REGION_VERSION, UNJOINED) > 5)
    older = {REGION_VERSION: vectors[at].context[REGION_VERSION] - 1}
    region = {name: [0.5] for name in vectors[at].values if shelf.is_joined(name)}
    before = report_of(made, records, vectors).behind
    vectors[at] = msgspec.structs.replace(
        vectors[at], context=vectors[at].context | older, values=vectors[at].values | region
    )
    report = report_of(made, records, vectors)
    assert report.good
    assert report.behind == before + 1


def test_a_score_that_is_published_is_one_that_its_schema_has(week: tuple[list[Message], Engine]) -> None:
    _, made = week
    values = [p.value for p in made.sink.published if p.topic == "stockout-scores"]
    scores = [msgspec.json.decode(value or b"", type=StockoutScore) for value in values]
    assert sum(score.next_hours is not None for score in scores) > 200
