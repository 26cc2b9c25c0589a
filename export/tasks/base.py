"""What every task is: rows, a network, its training, its figures, and the inputs that try the graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from export.curves import Curve
from export.errors import UsageError
from export.history import Log, read_log
from export.split import Split
from export.work import Origin
from features.ids import hash64
from features.rows import OrderKind
from features.vectors import contract
from models.manifest import Fallback, Head, Metric, Popular

Arrays = dict[str, NDArray[Any]]
Tell = Callable[[str, float], None]

#: The most ordered products, for customers whom no model knows.
POPULAR = 50


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of the test period.

    Args:
        metrics: with baselines on the same rows.
        calibration: figures for the manifest, by name.
        rows: how many rows were tested.
        notes: sentences for the card that only the figures can tell.
        curves: what the plots of the card show.
    """

    metrics: list[Metric]
    calibration: dict[str, float]
    rows: int
    notes: list[str] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)


class Task(ABC):
    """One model from data set to figures; the class attributes go into its manifest."""

    name: ClassVar[str]
    task: ClassVar[Literal["reorder", "stockout", "next_best_offer"]]
    #: Inputs of the graph that are not a row each.
    shared: ClassVar[frozenset[str]] = frozenset()
    #: Which inputs with rows apart each caller sends, where no caller sends all of them.
    callers: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    epochs: ClassVar[int]
    simulated: ClassVar[tuple[str, ...]] = ()

    @property
    def vector(self) -> str:
        """The feature vector it reads."""
        return self.task

    @property
    def columns(self) -> list[str]:
        """The features of its data sets: one that was made with others has to be made anew."""
        return list(contract(self.vector).features)

    def dataset(
        self, events: Path, hours_events: Path | None, seed: int, test_from_ms: int | None = None
    ) -> tuple[Arrays, Split]:
        """All rows with labels of an event log, and its split; the test begins there if nothing else is said.

        Raises:
            UsageError: the directory is no event log, or the task makes nothing of hours.
        """
        if hours_events is not None:
            raise UsageError(f"--hours-events goes with stockout; {self.name} learns from one event log")
        log = read_log(events, of_customers=True)
        split = self.split(log)
        if test_from_ms is not None:
            split = split.starting(test_from_ms)
        return self.build(log, split, seed), split

    @abstractmethod
    def split(self, log: Log) -> Split:
        """The time split of a log."""

    @abstractmethod
    def build(self, log: Log, split: Split, seed: int) -> Arrays:
        """All rows with labels; `as_of_ms` and `state_ms` among them."""

    @abstractmethod
    def network(self) -> Any:
        """The network with random weights."""

    @abstractmethod
    def train(self, arrays: Arrays, split: Split, epochs: int, seed: int, tell: Tell) -> tuple[Any, dict[str, float]]:
        """Chooses on train and validation, then fits on both; gives the network, and figures of the choice."""

    @abstractmethod
    def evaluate(self, network: Any, arrays: Arrays, split: Split) -> Evaluation:
        """Figures of the test period, with baselines on the same rows."""

    def measured(self, network: Any, events: Path, split: Split) -> list[Metric]:
        """Figures of whole lists on the event log itself, with intervals, where the task has such an evaluation."""
        return []

    @abstractmethod
    def inputs(self, arrays: Arrays, split: Split, rows: int, seed: int) -> Arrays:
        """Real inputs of the graph, from the test period."""

    @abstractmethod
    def hostile(self, inputs: Arrays) -> list[Arrays]:
        """Inputs that a careless or hostile upstream might send, made from real ones."""

    @abstractmethod
    def problems(self, inputs: Arrays, outputs: Arrays) -> list[str]:
        """What is wrong with the outputs, such as a probability outside [0, 1]; empty where all is well."""

    def aligned(self, expected: Arrays, outputs: Arrays) -> Arrays:
        """The outputs in the order in which torch tells them, where rounding decides between equals."""
        return outputs

    def subtracted(self, inputs: Arrays) -> Arrays:
        """Of outputs that are a difference of larger numbers, what was subtracted, by the output's name."""
        return {}

    def heads(self, network: Any, arrays: Arrays, origin: Origin) -> list[Head]:
        """The optional parts of the graph that were trained."""
        return []

    def fallback(self, log: Log, split: Split) -> Fallback:
        """Data for entities that the model cannot score."""
        return Fallback()


def popular_products(log: Log, until_ms: int) -> Fallback:
    """The most ordered products before `until_ms`, with their share of orders.

    Returns:
        Popular products, most popular first.
    """
    orders, lines = log.history.orders, log.history.order_lines
    event = np.repeat(np.arange(len(orders)), orders.columns["lines"] // 1000)
    keep = (lines.columns["kind"] == OrderKind.PLACED) & (lines.columns["event_time_ms"] < until_ms)
    pairs = np.unique(np.stack([event[keep].astype(np.uint64), lines.columns["product"][keep]]), axis=1)
    placed = orders.columns["kind"] == OrderKind.PLACED
    total = int((placed & (orders.columns["event_time_ms"] < until_ms)).sum())
    ids, counts = np.unique(pairs[1], return_counts=True)
    names = {hash64(sku): sku for sku in log.catalog["sku"].to_list()}
    best = np.argsort(-counts, kind="stable")
    ranked = [(names[int(ids[i])], int(counts[i])) for i in best if int(ids[i]) in names][:POPULAR]
    return Fallback([Popular(sku, round(count / total, 6)) for sku, count in ranked])


def finite(outputs: Arrays, *names: str) -> list[str]:
    """A problem for each named output that is there and holds NaN or infinity."""
    return [f"{name} is not finite" for name in names if name in outputs and not np.isfinite(outputs[name]).all()]
