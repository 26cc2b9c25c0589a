"""Compare: logged against recomputed, feature by feature, bit by bit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal

from features.vectors import joined, shelf
from features.vectors.values import view_of
from stream.parity.recompute import Recomputed

Outcome = Literal["match", "mismatch", "missing", "extra"]
OUTCOMES: tuple[Outcome, ...] = ("match", "mismatch", "missing", "extra")
_MOST_EXAMPLES = 20
Value = float | str | None


def _counts() -> dict[Outcome, int]:
    return dict.fromkeys(OUTCOMES, 0)


@dataclass
class Report:
    """What came of it.

    Args:
        vectors: how many were logged.
        counts: vectors by outcome. A vector is a mismatch if any of its values is not as recomputed; it is extra if
            the events do not account for it. Missing are entities whose newest event is in no logged vector, where all
            vectors should have been logged.
        views: values by outcome, by view and feature. Missing: the engine had none, but there is one; extra: the
            engine had one, but there is none.
        examples: the first that differ.
        unchecked: vectors beside these that cannot be recomputed.
        behind: vectors whose joined columns were read before the shards had all order lines of the days, or inventory
            events of the hours, that they are of; all else of them is compared.
    """

    vectors: int = 0
    counts: dict[Outcome, int] = field(default_factory=_counts)
    views: dict[str, dict[str, dict[Outcome, int]]] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    unchecked: int = 0
    behind: int = 0

    @property
    def good(self) -> bool:
        """Whether nothing differs."""
        return self.counts["match"] == self.vectors and not self.counts["missing"]

    def add(self, done: Recomputed, vector: str) -> None:
        """Takes in one vector."""
        self.vectors += 1
        same = done.as_of_ms == done.logged.as_of_ms
        if not same:
            self._note(done, "as_of_ms")
        self.behind += done.behind
        for feature in done.logged.values.keys() | done.values.keys():
            if done.behind and (joined.is_joined(feature) or shelf.is_joined(feature)):
                continue
            told = compare(done.logged.values.get(feature, []), done.values.get(feature, []))
            counts = self.views.setdefault(view_of(vector, feature), {}).setdefault(feature, _counts())
            for outcome in told:
                counts[outcome] += 1
            if any(outcome != "match" for outcome in told):
                same = False
                self._note(done, feature)
        self.counts["match" if same else "mismatch"] += 1

    def _note(self, done: Recomputed, feature: str) -> None:
        if len(self.examples) < _MOST_EXAMPLES:
            logged = done.logged
            place = [f"{r.topic}[{r.partition}]<{r.next_offset}" for r in logged.reflects]
            self.examples.append(
                {
                    "model": logged.model,
                    "key": logged.key,
                    "as_of_ms": logged.as_of_ms,
                    "reflects": place,
                    "feature": feature,
                    "logged": logged.values.get(feature),
                    "recomputed": done.values.get(feature),
                }
            )

    def unaccounted(self, n: int) -> None:
        """Vectors of entities that the events do not know."""
        self.vectors += n
        self.counts["extra"] += n

    def unlogged(self, keys: Iterable[tuple[str, str]]) -> None:
        """(model, entity) whose newest event no vector reflects."""
        for model, key in keys:
            self.counts["missing"] += 1
            if len(self.examples) < _MOST_EXAMPLES:
                self.examples.append({"model": model, "key": key, "missing": "its newest event is in no vector"})

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        views = {v: dict(sorted(features.items())) for v, features in sorted(self.views.items())}
        counts = {str(outcome): n for outcome, n in self.counts.items()}
        return {
            "vectors": self.vectors,
            **counts,
            "views": views,
            "unchecked": self.unchecked,
            "behind": self.behind,
            "examples": self.examples,
        }


def compare(logged: Sequence[Value], recomputed: Sequence[Value]) -> list[Outcome]:
    """One outcome a value; floats are equal if their bits are.

    >>> compare([1.0, None, 2.0, 3.0], [1.0, 1.0, None, 4.0])
    ['match', 'missing', 'extra', 'mismatch']
    >>> compare([0.0], [-0.0]), compare([], [1.0])
    (['mismatch'], ['missing'])
    """
    return [_outcome(a, b) for a, b in zip_longest(logged, recomputed)]


def _outcome(logged: Value, recomputed: Value) -> Outcome:
    if logged is None or recomputed is None:
        return "match" if logged is recomputed else "missing" if logged is None else "extra"
    if isinstance(logged, str) or isinstance(recomputed, str):
        return "match" if logged == recomputed else "mismatch"
    return "match" if float(logged).hex() == float(recomputed).hex() else "mismatch"
