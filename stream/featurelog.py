"""Feature log: a share of the vectors that were scored, with the offsets that they reflect, for `tidecast parity`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import xxhash

from features.store.base import bucket_of
from features.vectors.values import values_of
from stream.decode import DecodedBatch
from stream.events import FeatureVector, Reflected
from stream.ownership import Ownership
from stream.scorers import Scored, Scorer, Touched
from stream.topology import CONSUMED, DEMAND


def sampled(share: float, model: str, key: str, source: str) -> bool:
    """Whether a vector is logged: decided by its input record, so that a replay logs the same ones.

    >>> sampled(1.0, "reorder", "42", "orders:0:7"), sampled(0.0, "reorder", "42", "orders:0:7")
    (True, False)
    """
    return share > 0 and xxhash.xxh3_64_intdigest(f"{model}\n{key}\n{source}".encode()) < share * 2.0**64


@dataclass(frozen=True, slots=True)
class FeatureLog:
    """Makes the log's records.

    Args:
        share: of the vectors, 0 to 1.
    """

    share: float

    def vectors(
        self,
        scorer: Scorer,
        touched: Touched,
        scored: list[Scored],
        rows: Any,
        batch: DecodedBatch,
        ownership: Ownership,
    ) -> dict[int, FeatureVector]:
        """The logged vectors by the index of their entity in `touched`."""
        out = {}
        manifest = scorer.model.manifest
        for i, (key, sources) in enumerate(zip(touched.keys, touched.sources, strict=True)):
            newest = sources[-1]
            if not sampled(self.share, manifest.name, key, f"{newest.topic}:{newest.partition}:{newest.offset}"):
                continue
            out[i] = FeatureVector(
                model=manifest.name,
                version=manifest.version,
                entity="customer" if scorer.entity == "customer" else "item",
                key=key,
                as_of_ms=int(touched.as_of_ms[i]),
                share=self.share,
                reflects=_reflected(scorer.entity, key, newest.partition, batch, ownership),
                reads=manifest.reads,
                context=dict(scored[i].context),
                values=values_of(rows, i),
            )
        return out


def _reflected(entity: str, key: str, partition: int, batch: DecodedBatch, ownership: Ownership) -> list[Reflected]:
    """How far the state of an entity has come on each topic that feeds it; all are in the same partition there."""
    out = []
    bucket = bucket_of(key, ownership.buckets)
    for topic in CONSUMED:
        owned = ownership.owned.get((topic.name, partition))
        if topic.copartition == entity and owned is not None:
            at = max(batch.next_offsets.get((topic.name, partition), 0), owned.folded_to[bucket] or 0)
            sources = {str(p): n for p, n in owned.sources[bucket].items()} if topic is DEMAND else None
            out.append(Reflected(topic=topic.name, partition=partition, next_offset=at, sources=sources))
    return out
