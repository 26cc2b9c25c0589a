"""Ageing: which models' scores age, and where an entity stands in the index of a model's scores by age.

A rank is the event time as of which an entity was scored last, and in its lowest 11 bits a mark: 0 where events touched
the entity, else which of the steps of a tick scored it anew. So the index knows, to the record, what a restart that
begins before that record must publish again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from features.aggregations.base import DAY_MS
from models.manifest import Manifest
from stream.errors import UsageError
from stream.settings import Settings
from stream.topology import CONSUMED, TOPICS

_MARKS = 2_048
_TOPICS = 4
#: Steps of one tick that marks can tell apart.
STEPS = (_MARKS - 1) // _TOPICS


def rank_of(as_of_ms: int, mark: int = 0) -> int:
    """The rank of an entity that was scored as of a time.

    >>> rank_of(5), rank_of(5, mark_of("orders", 0)), rank_of(5, mark_of("inventory", STEPS - 1)), rank_of(6)
    (10240, 10241, 12284, 12288)
    """
    return as_of_ms * _MARKS + mark


def last_rank(as_of_ms: int) -> int:
    """The highest rank of what was scored as of a time."""
    return rank_of(as_of_ms, _MARKS - 1)


def mark_of(topic: str, number: int) -> int:
    """The mark of the n-th step of a tick in a topic's partition."""
    return 1 + number * _TOPICS + _NUMBER[topic]


_NUMBER = {topic.name: number for number, topic in enumerate(CONSUMED)}
assert len(_NUMBER) <= _TOPICS, "marks must tell the topics apart"


@dataclass(frozen=True, slots=True)
class Ageing:
    """Which models' scores age.

    Args:
        period_ms: ticks are at the multiples of it, in event time.
        after_ms: by model, how old a score is when a tick renews it; only models whose scores age.
        most: entities of a model that one step scores, over all buckets: it bounds the time and memory that it takes.
    """

    period_ms: int = int(DAY_MS)
    after_ms: Mapping[str, int] = field(default_factory=dict)
    most: int = 2_000

    def models(self, topic: str) -> list[str]:
        """The models whose entities a topic touches, and whose scores age.

        >>> Ageing(after_ms={"reorder": 1}).models("orders"), Ageing(after_ms={"reorder": 1}).models("clicks")
        (['reorder'], [])
        """
        return [model for model in TOPICS[topic].models if model in self.after_ms]


def index_of(model: str, partition: int) -> str:
    """The name of the index of a model's scores in a partition."""
    return f"{model}:{partition}"


def ageing_of(manifests: Mapping[str, Manifest], settings: Settings) -> Ageing:
    """What manifests and settings say; settings go first.

    Raises:
        UsageError: a setting is of no model.
    """
    given = settings.models.rescore_after_days
    if unknown := sorted(given.keys() - manifests.keys()):
        raise UsageError(f"models.rescore_after_days.{unknown[0]}: no such model; there are {sorted(manifests)}")
    days = {name: given.get(name, manifest.rescore_after_days) for name, manifest in manifests.items()}
    after_ms = {name: max(1, int(age * DAY_MS)) for name, age in days.items() if age}
    return Ageing(settings.worker.rescore_tick_ms, after_ms)
