"""Parity: what an engine logged is recomputed from the events, wherever it was cut, restarted or wiped."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from features.store import MemoryStore
from features.vectors.values import values_of
from models.manifest import Manifest
from stream.ageing import Ageing
from stream.errors import UsageError
from stream.eventlog import LogRecord
from stream.events import FeatureVector, Reflected
from stream.featurelog import sampled
from stream.parity.check import compare_with, vectors_in
from stream.parity.compare import Report, compare
from stream.parity.events import placed, rows_from_log, rows_of_records
from stream.settings import load
from stream.ticks import Ticks
from tests.stream.build import (
    DAY_MS,
    T0,
    Engine,
    Message,
    RecordingSink,
    click,
    fake_models,
    line,
    message,
    order,
    stock,
)

PARTITIONS = 2
TOPICS = ("orders", "clicks", "demand", "inventory")
MANIFESTS: dict[str, Manifest] = {name: model.manifest for name, model in fake_models().items()}
SETTINGS = load(environ={}).settings


def events(n: int, seed: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Of three customers and three items: orders, cancellations, clicks, stock; some late, some delivered twice."""
    random_ = random.Random(seed)
    out: list[tuple[str, str, dict[str, Any]]] = []
    for i in range(n):
        at = T0 + i * DAY_MS // 7 - (random_.random() < 0.2) * random_.randrange(9 * DAY_MS)
        customer, sku = random_.choice(["1", "2", "3"]), random_.choice("ABC")
        lines = [line(s, random_.randint(1, 9)) for s in random_.sample("ABC", random_.randint(1, 3))]
        kind = random_.choice(["order_placed"] * 4 + ["order_cancelled", "order_returned"])
        out.append(
            random_.choice(
                [
                    ("orders", customer, order(customer, lines, at, kind, event_id=f"o{i}")),
                    ("orders", f"g{i}", order(None, lines, at, event_id=f"g{i}")),
                    ("clicks", customer, click(customer, sku, at, event_id=f"c{i}", session_id=f"s{i // 5}")),
                    ("inventory", f"w:{sku}", stock("stock_received", sku, at, quantity=3, event_id=f"r{i}")),
                    ("inventory", f"w:{sku}", stock("stock_counted", sku, at, quantity=50, event_id=f"n{i}")),
                ]
            )
        )
        if random_.random() < 0.15:
            out.append(random_.choice(out[-10:]))
    return out


class Run:
    """Engines one after another over the same log; demand comes back to them as the broker would bring it."""

    def __init__(
        self, records: Sequence[Message], seed: int, wipes: bool = False, ageing: Ageing | None = None
    ) -> None:
        self._random, self._wipes, self._ageing = random.Random(seed), wipes, ageing
        self.logs: dict[tuple[str, int], list[Message]] = {(t, p): [] for t in TOPICS for p in range(PARTITIONS)}
        for record in records:
            self.logs[record.topic(), record.partition()].append(record)
        self._sinks: list[RecordingSink] = []
        self._taken = 0
        self.store = MemoryStore()
        self._start()
        while any(self.at[p] < len(log) for p, log in self.logs.items()):
            self._turn()
        self._engine.sink.flush()
        self.vectors = [
            msgspec.json.decode(p.value or b"", type=FeatureVector)
            for sink in self._sinks
            for p in sink.published
            if p.topic == "feature-log"
        ]

    def _start(self) -> None:
        engine = Engine(self.store, RecordingSink(), log_share=1.0, ageing=self._ageing, joined=True)
        engine.ownership.duplicate_horizon = SETTINGS.worker.duplicate_horizon
        self._engine, self._taken = engine, 0
        self._sinks.append(engine.sink)
        committed = getattr(self, "committed", {})
        self.at = engine.assign({p: committed.get(p) for p in self.logs})

    def _turn(self) -> None:
        batch: list[Message] = []
        for partition in self._random.sample(sorted(self.logs), len(self.logs)):
            log, n = self.logs[partition], self._random.randint(0, 6)
            batch += log[self.at[partition] : self.at[partition] + n]
            self.at[partition] = min(self.at[partition] + n, len(log))
        if batch:
            self._engine.commit.process(batch)
            Ticks(self.store, self._engine.state.watermarks, self._engine.ownership).write()
        self._bring_demand()
        if self._random.random() < 0.3:
            self.committed = dict(self.at)
        if len(self._sinks) < 7 and self._random.random() < 0.15:
            if self._wipes and len(self._sinks) % 3 == 0:
                self.store = MemoryStore()
            self._start()

    def _bring_demand(self) -> None:
        fresh = [p for p in self._engine.sink.published if p.topic == "demand"][self._taken :]
        self._taken += len(fresh)
        for p in fresh:
            key = (p.key or b"").decode()
            partition = ord(key[-1]) % PARTITIONS
            log = self.logs["demand", partition]
            log.append(Message(("demand", partition, len(log)), p.key, p.value))


def on_topics(some: Sequence[tuple[str, str, dict[str, Any]]]) -> list[Message]:
    """Customers by their last digit, items by their letter, as demand above."""
    following: dict[tuple[str, int], int] = {}
    out = []
    for topic, key, event in some:
        at = topic, ord(key[-1]) % PARTITIONS
        out.append(message(topic, key, event, following.get(at, 0), at[1]))
        following[at] = following.get(at, 0) + 1
    return out


def report_of(
    run: Run,
    records: Sequence[Message],
    vectors: Sequence[FeatureVector] | None = None,
    ageing: Ageing | None = None,
) -> Report:
    rows = rows_of_records(records, PARTITIONS, SETTINGS, lambda entity, key: True)
    return compare_with(rows, run.vectors if vectors is None else vectors, MANIFESTS, ageing=ageing)


@pytest.mark.parametrize("wipes", [False, True], ids=["restarts", "restarts and wiped stores"])
@pytest.mark.parametrize("seed", range(4))
def test_all_that_was_logged_is_recomputed_bit_for_bit(seed: int, wipes: bool) -> None:
    records = on_topics(events(150, seed))
    run = Run(records, seed, wipes)
    report = report_of(run, records)
    assert report.examples == []
    assert report.good
    assert report.vectors == len(run.vectors) == report.counts["match"] > 100
    assert set(report.views) >= {"customer_orders", "customer_repertoire", "item_demand", "item_stock"}
    values = sum(n for features in report.views.values() for counts in features.values() for n in counts.values())
    assert values > 4_000


@pytest.mark.parametrize("wipes", [False, True], ids=["restarts", "restarts and wiped stores"])
@pytest.mark.parametrize("seed", range(2))
def test_scores_that_aged_are_recomputed_bit_for_bit(seed: int, wipes: bool) -> None:
    """As of the tick: later than the newest event that they reflect."""
    ageing = Ageing(DAY_MS, dict.fromkeys(MANIFESTS, DAY_MS))
    records = on_topics(events(120, seed))
    run = Run(records, seed, wipes, ageing)
    report = report_of(run, records, ageing=ageing)
    assert report.examples == []
    assert report.good
    aged = report_of(run, records).counts["mismatch"]
    assert aged > 20, "without it they would be as of the wrong time"
    shifted = [msgspec.structs.replace(v, as_of_ms=v.as_of_ms + 1) for v in run.vectors]
    assert report_of(run, records, shifted, ageing).counts["match"] == 0


@pytest.fixture(scope="module")
def small() -> tuple[list[Message], Run]:
    records = on_topics(events(40, 1))
    return records, Run(records, 1)


def changed(vector: FeatureVector, feature: str, values: list[Any]) -> FeatureVector:
    return msgspec.structs.replace(vector, values=vector.values | {feature: values})


def test_one_bit_of_one_feature_is_a_mismatch(small: tuple[list[Message], Run]) -> None:
    records, run = small
    i = next(i for i, v in enumerate(run.vectors) if v.values.get("units_7d", [0])[0])
    (value,) = run.vectors[i].values["units_7d"]
    assert isinstance(value, float)
    wrong = changed(run.vectors[i], "units_7d", [value * (1 + 2**-23)])
    report = report_of(run, records, [*run.vectors[:i], wrong, *run.vectors[i + 1 :]])
    assert not report.good
    assert report.counts == {"match": len(run.vectors) - 1, "mismatch": 1, "missing": 0, "extra": 0}
    assert report.views["item_demand"]["units_7d"]["mismatch"] == 1
    assert report.examples[0]["feature"] == "units_7d"


def test_an_event_that_the_log_lacks_is_a_mismatch(small: tuple[list[Message], Run]) -> None:
    records, run = small
    first = next(r for r in records if r.topic() == "orders" and b"order_placed" in (r.value() or b""))
    lacking = [r for r in records if r is not first]
    assert report_of(run, lacking).counts["mismatch"] > 0


def test_an_entity_whose_newest_event_was_never_logged_is_missing(small: tuple[list[Message], Run]) -> None:
    records, run = small
    kept = [v for v in run.vectors if not (v.model == "stockout" and v.key == "w:A")]
    report = report_of(run, records, kept)
    assert (report.counts["missing"], report.counts["mismatch"]) == (1, 0)
    assert not report.good


def test_a_vector_of_an_entity_without_events_is_extra(small: tuple[list[Message], Run]) -> None:
    records, run = small
    ghost = msgspec.structs.replace(run.vectors[0], key="nobody")
    report = report_of(run, records, [*run.vectors, ghost])
    assert report.counts["extra"] == 1
    assert not report.good


def test_a_share_of_vectors_misses_none(small: tuple[list[Message], Run]) -> None:
    """What was not logged on purpose is not missing."""
    records, run = small
    some = [msgspec.structs.replace(v, share=0.5) for v in run.vectors[::2]]
    assert report_of(run, records, some).good


def test_values_tell_missing_from_extra() -> None:
    assert compare([None, 1.0, "a", 2.0], [1.0, None, "a", 2.0]) == ["missing", "extra", "match", "match"]
    assert compare(["a"], ["b"]) == compare([1.0], ["b"]) == ["mismatch"]


def test_sampling_follows_the_record_not_the_run() -> None:
    drawn = [sampled(0.25, "reorder", str(i), "orders:0:1") for i in range(4_000)]
    assert drawn == [sampled(0.25, "reorder", str(i), "orders:0:1") for i in range(4_000)]
    assert 0.22 < sum(drawn) / len(drawn) < 0.28
    assert not any(sampled(0.0, "reorder", str(i), "x") for i in range(100))


def test_logged_floats_survive_json() -> None:
    import numpy as np

    from features.vectors.reorder import FEATURES, ReorderRows

    odd = np.random.default_rng(3).standard_normal((5, len(FEATURES))).astype(np.float32) * np.float32(1e-30)
    odd[0, 0] = np.nan
    recent, ages = np.zeros((1, 16), np.uint64), np.full((1, 16), np.nan, np.float32)
    values = values_of(ReorderRows(np.zeros(5, np.int64), np.arange(5, dtype=np.uint64), odd, recent, ages), 0)
    again = json.loads(msgspec.json.encode(values))
    assert compare(again["product_orders"], values["product_orders"]) == ["match"] * 5
    assert np.float32(again["product_share"][1]) == odd[1, 1]


def test_records_of_a_log_are_placed_as_a_replay_places_them() -> None:
    records = [LogRecord("clicks", k, b"{}", 0) for k in (b"a", b"b", b"a")]
    found = [(r.key(), r.partition(), r.offset()) for r in placed(records, 1)]
    assert found == [(b"a", 0, 0), (b"b", 0, 1), (b"a", 0, 2)]


def test_a_log_of_one_topic_will_do(tmp_path: Path) -> None:
    told = {"type": "ran_out", "event_id": "e", "event_time_ms": T0, "location": "w", "sku": "A"}
    (tmp_path / "inventory.jsonl").write_text(json.dumps(told) + "\n")
    rows = rows_from_log(tmp_path, 1, SETTINGS, lambda entity, key: True)
    assert rows.events == 1
    with pytest.raises(UsageError, match="topic 'orders' has no file"):
        rows_from_log(tmp_path / "nothing", 1, SETTINGS, lambda entity, key: True)


def test_a_line_that_is_no_vector_is_named(tmp_path: Path) -> None:
    path = tmp_path / "vectors.jsonl"
    path.write_bytes(b'\n{"type": "other"}\n')
    with pytest.raises(UsageError, match=r"vectors.jsonl: line 2 is no feature vector"):
        list(vectors_in(path))


def test_reflected_demand_says_which_order_lines() -> None:
    run = Run(on_topics(events(30, 2)), 2)
    parts = [part for v in run.vectors if v.model == "stockout" for part in v.reflects]
    assert {part.topic for part in parts} == {"demand", "inventory"}
    assert all((part.sources is not None) == (part.topic == "demand") for part in parts)
    assert isinstance(parts[0], Reflected)
