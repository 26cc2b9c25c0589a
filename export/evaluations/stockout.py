"""The stock-out evaluation: any event log is measured by what it has.

A log with orders: the demand over the lead time, and the risk at the stock that its inventory tells. A log with sales
by the hour: running out within hours, and the next day's demand. Everything before the test period is for learning:
what is usual of each item, and the baselines. The shops of a tenth, which training leaves out, are reported apart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from export.catalog import categories
from export.datasets import stockout as leadtimes
from export.datasets.dayfeatures import day_names
from export.datasets.hazardfeatures import groups_of, hour_names
from export.datasets.hourly import has_hours, read_hourly
from export.datasets.periods import periods_of
from export.errors import UsageError
from export.evaluations.hourheads import Bench, Plan
from export.evaluations.leadtime import leadtime_metrics, told_of
from export.history import read_log
from export.split import split_of
from features.logfile import has_topic
from features.vectors import shelf
from models.manifest import Metric, read_manifest
from models.session import Session

Tell = Callable[[str, float], None]
_SERVICE_LEVEL = 0.9
_SHARED = frozenset({"service_level"})
#: By head: what it tells, and the features that there are for it.
_HEADS: dict[str, tuple[str, Callable[[], tuple[str, ...]]]] = {
    "hours": ("hazards", hour_names),
    "days": ("next_day", day_names),
    "shelf": ("shelf_hazards", lambda: tuple(shelf.FEATURES)),
}


def evaluate(
    model_dir: Path,
    events: Path,
    from_ms: int | None = None,
    plan: Plan | None = None,
    tell: Tell = lambda text, share: None,
) -> list[Metric]:
    """Measures a released stock-out model beside the baselines.

    Args:
        model_dir: holds model.onnx.
        events: the event log.
        from_ms: event time at which the test period begins; the end of the log, by its own split, where None.
        plan: how many items, which seed.
        tell: hears what is being done, and the share done.

    Returns:
        Figures of the lead time where the log has orders; of hours and days where it has sales by the hour.

    Raises:
        UsageError: the log has neither, or the model has no head for what it has.
    """
    session = Session(model_dir / "model.onnx")
    orders, hours = has_topic(events, "orders"), has_hours(events)
    if not orders and not hours:
        raise UsageError(
            f"{events}: it has no orders, and its inventory has no units_sold; there is nothing to measure"
        )
    found = lead_time(session, events, from_ms, tell) if orders else []
    if hours and "hazards" in session.outputs:
        found += by_the_hour(Heads(session, model_dir), events, from_ms, plan or Plan(), tell)
    elif not orders:
        raise UsageError(f"{model_dir}: the model has no hazard head; its outputs are {', '.join(session.outputs)}")
    return found


def lead_time(session: Session, events: Path, from_ms: int | None, tell: Tell) -> list[Metric]:
    """Figures of the demand over the lead time of each item, as of the end of each day of the test period."""
    log = read_log(events)
    split = split_of(log.first_ms, log.last_ms, horizon_days=leadtimes.HORIZON_DAYS)
    start = split.test_from_ms if from_ms is None else from_ms
    tell("lead times", 0.1)
    rows = leadtimes.build(log, start, split.test_until_ms, start, 0, inventory=leadtimes.inventory_of(events))

    def ask(features: NDArray[Any], days: NDArray[Any], position: NDArray[Any]) -> Any:
        told = session.run(leadtime_inputs(features, days, position), len(days), _SHARED)
        return told["demand_quantiles"], told["p_stockout"], told.get("lost_sales", np.full(len(days), np.nan))

    return leadtime_metrics(rows, told_of(rows, ask))


def leadtime_inputs(features: NDArray[Any], days: NDArray[Any], position: NDArray[Any]) -> leadtimes.Arrays:
    """The graph's inputs for such rows."""
    return {
        "features": features,
        "lead_time_days": days.astype(np.float32),
        "position": position.astype(np.float32),
        "service_level": np.array([_SERVICE_LEVEL], np.float32),
    }


class Heads:
    """Heads of a released model that see hours or days, fed by the names of the features that it was released with.

    Args:
        session: of its graph.
        model_dir: its manifest says which features each head takes; without one, it takes all that there are.
    """

    def __init__(self, session: Session, model_dir: Path) -> None:
        self._session = session
        released = (model_dir / "manifest.json").exists()
        self._names = {head.input: head.features for head in read_manifest(model_dir).heads} if released else {}

    def tell(self, head: str) -> bool:
        """Whether the model has that head: those of before 0.6.0 have none for workers."""
        return head in self._session.widths

    def hazards(self, features: NDArray[np.float32]) -> NDArray[Any]:
        """From the features in `hour_names` (n, k) to hazards (n, 4)."""
        return self.ask("hours", features)[0]

    def next_day(self, features: NDArray[np.float32]) -> NDArray[Any]:
        """From the features in `day_names` (n, k) to the quantiles of the next day (n, 3)."""
        return self.ask("days", features)[0]

    def shelves(self, features: NDArray[np.float32]) -> NDArray[Any]:
        """From the features in `features.vectors.shelf` (n, k) to hazards (n, 4)."""
        return self.ask("shelf", features)[0]

    def ask(
        self, head: Literal["hours", "days", "shelf"], features: NDArray[np.float32]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """What a head tells of the features that there are for it, and each feature's contribution (n, k).

        Raises:
            UsageError: the model has no such head, or takes other features.
        """
        output, names = _HEADS[head][0], _HEADS[head][1]()
        if head not in self._session.widths:
            raise UsageError(f"the model has no head for {head}; train it on a log of sales by the hour")
        wanted = self._names.get(head, list(names))
        if unknown := [name for name in wanted if name not in names]:
            raise UsageError(
                f"the model takes {', '.join(unknown)} of {head}, which are no longer computed; train it again"
            )
        if self._session.widths[head] != len(wanted):
            raise UsageError(
                f"the model takes {self._session.widths[head]} features of {head}; there are {len(wanted)}"
            )
        n = len(features)
        item = {
            "features": np.zeros((n, self._session.widths["features"]), np.float32),
            "lead_time_days": np.ones(n, np.float32),
            "position": np.zeros(n, np.float32),
            "service_level": np.array([_SERVICE_LEVEL], np.float32),
        }
        columns = [names.index(name) for name in wanted]
        of_head = np.ascontiguousarray(features[:, columns])
        told = self._session.run(item | {head: of_head}, n, _SHARED)
        parts = np.zeros((n, len(names)), np.float32)
        parts[:, columns] = told[f"{head}_contributions"]
        return told[output], parts


def by_the_hour(heads: Heads, events: Path, from_ms: int | None, plan: Plan, tell: Tell) -> list[Metric]:
    """Figures of hours and days."""
    hours = read_hourly(events)
    bench = Bench(hours, groups_of(hours.items, categories(events)), periods_of(hours, from_ms), plan, tell)
    found = bench.hazards(heads.hazards) + bench.next_day(heads.next_day)
    return found + (bench.shelves(heads.shelves, events) if heads.tell("shelf") else [])
