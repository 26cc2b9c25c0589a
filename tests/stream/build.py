"""Records, events and parts for the tests of the pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from features.discovery import discover
from features.store import Guard, MemoryStore, StoreUnavailable, Wanted
from features.vectors import contract
from features.view import View
from models.manifest import Fallback, Head, Manifest, Parity, Popular, Training
from models.registry import Model
from stream.ageing import Ageing
from stream.commit import Commit
from stream.decode import Decoder
from stream.featurelog import FeatureLog
from stream.fold import State
from stream.joins import Joins
from stream.metrics import Metrics
from stream.ownership import Ownership, Partition
from stream.reference import Reference
from stream.score import Scoring
from stream.settings import FeatureSettings, ModelSettings
from stream.sink import Sink

T = TypeVar("T")

DAY_MS = 86_400_000
#: Midnight of an ordinary Monday.
T0 = 1_300_060_800_000


@dataclass(frozen=True)
class Message:
    """A record as `confluent_kafka.Message` shows it."""

    at: tuple[str, int, int]
    k: bytes | None
    v: bytes | None
    h: tuple[tuple[str, bytes], ...] | None = None
    t: tuple[int, int] = (0, 0)

    def topic(self) -> str:
        return self.at[0]

    def partition(self) -> int:
        return self.at[1]

    def offset(self) -> int:
        return self.at[2]

    def key(self) -> bytes | None:
        return self.k

    def value(self) -> bytes | None:
        return self.v

    def headers(self) -> list[tuple[str, bytes]] | None:
        return None if self.h is None else list(self.h)

    def timestamp(self) -> tuple[int, int]:
        return self.t


def message(topic: str, key: str | bytes | None, value: Any, offset: int = 0, partition: int = 0) -> Message:
    """A record; a value that is not bytes or None is written as JSON."""
    raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return Message((topic, partition, offset), key.encode() if isinstance(key, str) else key, raw)


def click(customer: str = "7", sku: str = "A", at: int = T0, kind: str = "product_view", **more: Any) -> dict[str, Any]:
    event = {"type": kind, "event_id": "c", "event_time_ms": at, "customer_id": customer, "sku": sku}
    return event | more


def line(sku: str = "A", quantity: float = 1.0, unit_price: float = 2.0, discount: float = 0.0) -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, "unit_price": unit_price, "discount": discount}


def order(
    customer: str | None = "7",
    lines: Sequence[dict[str, Any]] = (),
    at: int = T0,
    kind: str = "order_placed",
    event_id: str = "o",
) -> dict[str, Any]:
    return {
        "type": kind,
        "event_id": event_id,
        "event_time_ms": at,
        "order_id": event_id,
        "location": "w",
        "lines": list(lines) or [line()],
        "customer_id": customer,
    }


def stock(kind: str, sku: str = "A", at: int = T0, location: str = "w", **more: Any) -> dict[str, Any]:
    return {"type": kind, "event_id": "s", "event_time_ms": at, "location": location, "sku": sku} | more


def demand(
    sku: str = "A", at: int = T0, source: tuple[int, int, int] = (0, 0, 0), kind: str = "ordered", **more: Any
) -> dict[str, Any]:
    """`source` is (partition, offset, line) of the order."""
    event = {
        "type": kind,
        "event_id": f"d{source}",
        "event_time_ms": at,
        "location": "w",
        "sku": sku,
        "quantity": 1.0,
        "unit_price": 2.0,
        "order_id": "o",
        "source_partition": source[0],
        "source_offset": source[1],
        "line": source[2],
    }
    return event | more


def metric(metrics: Metrics, name: str, **labels: str) -> float:
    """A sample; 0 where there is none yet."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


Outputs = Callable[[Mapping[str, NDArray[Any]], int], dict[str, NDArray[Any]]]


class FakeSession:
    """In place of an ONNX session: returns what a function says, and remembers what it was fed."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self.fed: list[dict[str, NDArray[Any]]] = []
        self.shared: frozenset[str] = frozenset()

    def run(
        self, feeds: Mapping[str, NDArray[Any]], rows: int, shared: frozenset[str] = frozenset()
    ) -> dict[str, NDArray[Any]]:
        self.fed.append(dict(feeds))
        self.shared = shared
        return self._outputs(feeds, rows)


def manifest(
    name: str, vector: str, popular: Mapping[str, float] | None = None, heads: Collection[str] = ()
) -> Manifest:
    """A manifest that fits its features."""
    wanted = contract(vector, heads)
    return Manifest(
        name=name,
        version="1.2",
        task=cast(Any, vector),
        vector=vector,
        features=list(wanted.features),
        reads=wanted.reads,
        inputs=[],
        outputs=[],
        sha256="",
        opset=18,
        baseline=0.0,
        training=Training(
            data="", licence="", rows=0, trained_from="", trained_until="", tested_from="", tested_until="", seed=0
        ),
        metrics=[],
        calibration={},
        parity=Parity(rows=0, max_abs_difference=0.0, max_rel_difference=0.0),
        licence="",
        fallback=Fallback([Popular(sku, share) for sku, share in (popular or {}).items()]),
        heads=[Head(input=n, output=f"{n}_hazards", features=list(f), baseline=0.0) for n, f in wanted.heads.items()],
    )


def fake_model(
    name: str,
    vector: str,
    outputs: Outputs,
    popular: Mapping[str, float] | None = None,
    heads: Collection[str] = (),
) -> Model:
    """A `models.registry.Model` around a `FakeSession`."""
    return Model(manifest(name, vector, popular, heads), cast(Any, FakeSession(outputs)), Path())


def fed(model: Model) -> list[dict[str, NDArray[Any]]]:
    """What a fake model was run on."""
    return cast(FakeSession, model.session).fed


def reorder_outputs(feeds: Mapping[str, NDArray[Any]], n: int) -> dict[str, NDArray[Any]]:
    """A probability that grows with the orders of the product; contributions are the features, NaN as 0."""
    features = feeds["features"]
    p = features[:, :1] / (1 + features[:, :1])
    return {
        "probability": np.concatenate([p / 3, p / 2, p], axis=1),
        "contributions": np.nan_to_num(features),
        "rank": p[:, 0],
        "next_days": 10 / features[:, 0],
        "active": np.full(len(p), 0.2, np.float32),
    }


def stockout_outputs(feeds: Mapping[str, NDArray[Any]], n: int) -> dict[str, NDArray[Any]]:
    """The risk is that of 10 units being asked for: 1 with nothing there, 0 with 10; demand is 1, 2 and 3 units."""
    position = feeds["position"]
    return {
        "p_stockout": np.clip(1 - position / 10, 0, 1).astype(np.float32),
        "demand_quantiles": np.tile(np.array([1, 2, 3], np.float32), (n, 1)),
        "order_quantity": np.nan_to_num(10 - position) + np.float32(0.2),
        "contributions": np.nan_to_num(feeds["features"]),
    }


def shelf_outputs(feeds: Mapping[str, NDArray[Any]], n: int) -> dict[str, NDArray[Any]]:
    """Beside that, hazards of an eighth, a quarter, a half and nothing where anything is known of the hour."""
    told = stockout_outputs(feeds, n)
    if "shelf" not in feeds:
        return told
    known = ~np.isnan(feeds["shelf"]).all(axis=1, keepdims=True)
    hazards = np.where(known, np.array([0.125, 0.25, 0.5, 0.0], np.float32), np.nan).astype(np.float32)
    return told | {"shelf_hazards": hazards, "shelf_contributions": np.nan_to_num(feeds["shelf"])}


def offer_outputs(feeds: Mapping[str, NDArray[Any]], n: int) -> dict[str, NDArray[Any]]:
    """Ranks eligible offers by margin, as they come; the chance is 0.5, 0.4, …"""
    eligible, margin = feeds["eligible"], feeds["offer_numbers"][:, 2]
    rank = np.argsort(-np.where(eligible > 0, margin[None, :] + 1, 0), axis=1, kind="stable")[:, :5]
    p = np.tile(np.array([0.5, 0.4, 0.3, 0.2, 0.1], np.float32), (n, 1))
    return {
        "top": rank.astype(np.int64),
        "probability": p,
        "expected_margin": p,
        "sequence_contributions": np.tile(np.arange(32, 0, -1, dtype=np.float32) / 100, (n, 5, 1)),
        "other_contributions": np.tile(np.array([0.02, -0.5, 0.0], np.float32), (n, 5, 1)),
    }


def fake_models() -> dict[str, Model]:
    """One of each task."""
    popular = {"P": 0.4, "Q": 0.2}
    return {
        "reorder": fake_model("reorder", "reorder", reorder_outputs, popular),
        "stockout": fake_model("stockout", "stockout", stockout_outputs),
        "next-best-offer": fake_model("next-best-offer", "next_best_offer", offer_outputs, popular),
    }


@dataclass(frozen=True)
class Published:
    """A record that a sink was given."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Unreliable(MemoryStore):
    """Can be away."""

    away = False

    def load_all(self, wanted: Sequence[Wanted], guards: Sequence[Guard] = ()) -> list[list[bytes | None]]:
        if self.away:
            raise StoreUnavailable("away")
        return super().load_all(wanted, guards)


class RecordingSink:
    """In place of `stream.sink.Sink`: what is produced is acknowledged, and so on the topic, when it is flushed."""

    def __init__(self, steps: list[str] | None = None) -> None:
        self.steps = [] if steps is None else steps
        self.waiting: list[Published] = []
        self.acknowledged: list[Published] = []

    def produce(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        self.steps.append(f"produce {topic}")
        self.waiting.append(Published(topic, key, value, tuple(headers)))

    def poll(self) -> None:
        """Acknowledges nothing."""

    def flush(self, timeout_s: float = 60.0) -> None:
        self.steps.append("flush")
        self.acknowledged += self.waiting
        self.waiting.clear()

    @property
    def published(self) -> list[Published]:
        """All that was produced, acknowledged or not."""
        return [*self.acknowledged, *self.waiting]

    def values(self, topic: str) -> list[Any]:
        """Decoded records of a topic."""
        return [json.loads(p.value or b"null") for p in self.published if p.topic == topic]


def patiently(call: Callable[[], T]) -> T:
    """Tries at most five times, without a wait."""
    for _ in range(4):
        try:
            return call()
        except StoreUnavailable:
            continue
    return call()


class Engine:
    """A worker without its loop: state, ownership and commit over a store that outlives it."""

    def __init__(
        self,
        store: MemoryStore,
        sink: RecordingSink,
        max_entities: int = 10_000,
        views: Mapping[str, View] | None = None,
        log_share: float = 0.0,
        ageing: Ageing | None = None,
        joined: bool = False,
        models: Mapping[str, Model] | None = None,
    ) -> None:
        self.store, self.sink = store, sink
        self.metrics = Metrics()
        self.state = State(store, max_entities, self.metrics, views=views)
        self.ownership = Ownership(store.buckets)
        self.reference = Reference(self.state.ids)
        joins = Joins(store, self.state.ids, FeatureSettings(), self.metrics) if joined else None
        self.scoring = Scoring(
            dict(models or fake_models()),
            self.reference,
            ModelSettings(),
            self.metrics,
            FeatureLog(log_share),
            ageing,
            joins,
        )
        self.commit = Commit(
            Decoder(300_000, 100_000),
            self.state,
            self.ownership,
            self.scoring,
            cast(Sink, sink),
            self.metrics,
            cast(Any, patiently),
        )

    def assign(self, committed: Mapping[Partition, int | None]) -> dict[Partition, int]:
        """Claims the partitions; returns where to begin each."""
        return {p: self.ownership.take(p, offset or 0, self.store.claim(*p)).begin for p, offset in committed.items()}


def features_in(store: MemoryStore) -> dict[str, dict[str, bytes]]:
    """Every feature record."""
    return {view: store.scan("f", view) for view in discover()}
