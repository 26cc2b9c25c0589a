"""Task stockout: demand over the lead time and what follows for a position; hazards by the hour; the next day.

A log with orders teaches the first, one with sales by the hour the others. They may be two logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from export.catalog import categories
from export.curves import Curve, curve_of
from export.datasets import hourset
from export.datasets import stockout as leadtimes
from export.datasets.dayfeatures import day_names
from export.datasets.hazardfeatures import groups_of, hour_names
from export.datasets.hourly import has_hours, read_hourly
from export.datasets.periods import periods_of
from export.evaluations.hourheads import Bench, Plan
from export.evaluations.leadtime import Told, leadtime_metrics, told_of
from export.fit import seeded
from export.history import Log, read_log
from export.networks.stockheads import StockoutHeads
from export.split import Split, split_of
from export.tasks.base import Arrays, Evaluation, Task, Tell
from export.tasks.hourheads import fit_days, fit_hours, fit_shelf
from export.tasks.leadtime import fit_leadtime
from export.tasks.stockprobes import broken, hostile_inputs
from export.work import Origin
from features.aggregations.base import DAY_MS
from features.logfile import has_topic
from features.vectors import shelf
from models.manifest import Head, Metric

_SERVICE_LEVEL = 0.9


class Stockout(Task):
    """See the module."""

    name = "stockout"
    task = "stockout"
    shared = frozenset({"service_level"})
    callers: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "as a worker asks": ("shelf",),
        "as shelves are asked of": ("hours", "days"),
    }
    epochs = 8
    simulated = (
        "lead_time_days of the catalog, the horizon of test rows",
        "stock levels of the log with orders, where its inventory says so",
    )

    @property
    def columns(self) -> list[str]:
        """Of all heads."""
        return [*super().columns, *hour_names(), *day_names(), *shelf.FEATURES]

    def dataset(
        self, events: Path, hours_events: Path | None, seed: int, test_from_ms: int | None = None
    ) -> tuple[Arrays, Split]:
        """Rows of the lead time where the log has orders, of hours and days where it or the other one has hours."""
        arrays, split = leadtimes.nothing(), None
        source = hours_events or (events if has_hours(events) else None)
        if has_topic(events, "orders") or source is None:
            log = read_log(events)
            split = self.split(log)
            if test_from_ms is not None:
                split = split.starting(test_from_ms)
            arrays = self._lead_times(log, split, seed, events)
        if source is not None:
            more, periods = hourset.build(source, seed, None if hours_events else test_from_ms)
            arrays, split = arrays | more, split or periods.split
        assert split is not None  # one of the two was there
        return arrays, split

    def split(self, log: Log) -> Split:
        """28 days of gap, the longest horizon."""
        return split_of(log.first_ms, log.last_ms, horizon_days=leadtimes.HORIZON_DAYS)

    def build(self, log: Log, split: Split, seed: int) -> Arrays:
        """A row an (item, day), positions unknown; four weeks are left for the windows to fill."""
        return self._lead_times(log, split, seed, None)

    def _lead_times(self, log: Log, split: Split, seed: int, events: Path | None) -> Arrays:
        inventory = leadtimes.inventory_of(events) if events is not None else None
        from_ms = split.first_ms + 28 * DAY_MS
        return leadtimes.build(log, from_ms, split.test_until_ms, split.test_from_ms, seed, inventory=inventory)

    def network(self) -> Any:
        """All heads."""
        return StockoutHeads()

    def train(self, arrays: Arrays, split: Split, epochs: int, seed: int, tell: Tell) -> tuple[Any, dict[str, float]]:
        """Trains the heads that there are rows for."""
        seeded(seed)
        network = StockoutHeads()
        figures: dict[str, float] = {}
        if len(arrays["as_of_ms"]):
            figures |= fit_leadtime(network.position, arrays, split, epochs, seed, lambda t, s: tell(t, 0.3 * s))
            network.trained[0] = 1.0
        if "hours.part" in arrays:
            figures |= fit_hours(network.hours, arrays, seed, epochs, lambda t, s: tell(t, 0.3 + 0.6 * s))
            figures |= fit_days(network.days, arrays, seed, epochs, lambda t, s: tell(t, 0.9 + 0.05 * s))
            figures |= fit_shelf(network.shelf, network.hours, arrays, seed, lambda t, s: tell(t, 0.95 + 0.05 * s))
            network.trained[1] = 1.0
        return network.eval(), figures

    def evaluate(self, network: Any, arrays: Arrays, split: Split) -> Evaluation:
        """The lead time, as of each day of the test period; hours and days are measured on their log."""
        if not network.knows_orders:
            return Evaluation([], {}, 0)
        test = split.test(arrays["as_of_ms"])
        rows = {name: arrays[name][test] for name in leadtimes.nothing()}

        def ask(*inputs: Any) -> Any:
            with torch.no_grad():
                asked = [torch.from_numpy(each.astype(np.float32)) for each in inputs]
                told = [out.numpy() for out in network.position(*asked, torch.tensor([_SERVICE_LEVEL]))]
            return told[1], told[0], told[4]

        told = told_of(rows, ask)
        metrics = leadtime_metrics(rows, told)
        figures = {metric.name: metric.value for metric in metrics}
        wanted = {
            "coverage_0.9": "coverage 0.9 of demand over the lead time",
            "ece_risk": "ECE of P(demand > position)",
        }
        calibration = {key: figures[name] for key, name in wanted.items() if name in figures}
        curves = _curves(rows, told)
        return Evaluation(metrics, calibration, len(rows["demand"]), _notes(rows, told.quantiles), curves)

    def measured(self, network: Any, events: Path, split: Split) -> list[Metric]:
        """Hours, days and shelves on their event log."""
        if not network.knows_hours:
            return []
        hours = read_hourly(events)
        # A log of hours alone has given the split; beside orders, the hours' own test is the last week.
        from_ms = None if network.knows_orders else split.test_from_ms
        bench = Bench(hours, groups_of(hours.items, categories(events)), periods_of(hours, from_ms), Plan())
        return [
            *bench.hazards(lambda x: _run(network.hours, x)),
            *bench.next_day(lambda x: _run(network.days, x)),
            *bench.shelves(lambda x: _run(network.shelf, x), events),
        ]

    def inputs(self, arrays: Arrays, split: Split, rows: int, seed: int) -> Arrays:
        """Rows of the test period; an eighth of the positions unknown, made up where the log tells none."""
        rng = np.random.default_rng(seed)
        at = np.flatnonzero(split.test(arrays["as_of_ms"]))
        pick = rng.choice(at, rows, replace=len(at) < rows) if len(at) else np.empty(0, np.int64)
        found = self._positions(arrays, pick, rng) if len(at) else _unknown(rows)
        for head, width in (("hours", len(hour_names())), ("days", len(day_names())), ("shelf", len(shelf.FEATURES))):
            there = np.flatnonzero(arrays.get(f"{head}.part", np.empty(0)) == hourset.TEST)
            blank = np.full((rows, width), np.nan, np.float32)
            drawn = rng.choice(there, rows, replace=len(there) < rows) if len(there) else there
            found[head] = arrays[f"{head}.features"][drawn].astype(np.float32) if len(there) else blank
        return found

    def _positions(self, arrays: Arrays, pick: Any, rng: np.random.Generator) -> Arrays:
        made_up = np.rint(arrays["demand"][pick] * rng.lognormal(0.0, 1.0, len(pick))).astype(np.float32)
        told = arrays["position"][pick]
        position = np.where(np.isnan(told), made_up, told)
        position[::8] = np.nan
        return {
            "features": arrays["features"][pick],
            "lead_time_days": arrays["horizon_days"][pick].astype(np.float32),
            "position": position,
            "service_level": np.array([_SERVICE_LEVEL], np.float32),
        }

    def hostile(self, inputs: Arrays) -> list[Arrays]:
        """Each row input in turn, and all together, at NaN, zero, huge and negative values; odd service levels."""
        return hostile_inputs(inputs)

    def problems(self, inputs: Arrays, outputs: Arrays) -> list[str]:
        """Risks outside [0, 1], quantiles that cross, or anything not finite where it should be known."""
        return broken(inputs, outputs)

    def subtracted(self, inputs: Arrays) -> Arrays:
        """What is to be ordered is what is wanted less what is there."""
        return {"order_quantity": inputs["position"]}

    def heads(self, network: Any, arrays: Arrays, origin: Origin) -> list[Head]:
        """Hours, days and shelves, where they were trained."""
        if not network.knows_hours:
            return []
        return [
            Head(input="hours", output="hazards", features=list(hour_names()), baseline=network.hours.baseline),
            Head(input="days", output="next_day", features=list(day_names()), baseline=network.days.baseline),
            Head(input="shelf", output="shelf_hazards", features=list(shelf.FEATURES), baseline=network.shelf.baseline),
        ]


def _unknown(rows: int) -> Arrays:
    """Inputs of a head that was not trained."""
    return {
        "features": np.zeros((rows, leadtimes.nothing()["features"].shape[1]), np.float32),
        "lead_time_days": np.ones(rows, np.float32),
        "position": np.full(rows, np.nan, np.float32),
        "service_level": np.array([_SERVICE_LEVEL], np.float32),
    }


def _run(head: Any, features: Any) -> Any:
    with torch.no_grad():
        return np.concatenate([head(part)[0].numpy() for part in torch.from_numpy(features).split(65_536)])


def _curves(rows: Arrays, told: Told) -> list[Curve]:
    """Of the risks, where the log tells stock levels."""
    known = np.isfinite(rows["position"])
    if not known.any():
        return []
    label = rows["demand"][known] > rows["position"][known]
    return [
        curve_of("demand over the lead time beyond the position", label, told.risk[known]),
        curve_of("the shelf is empty within the lead time", rows["ran_out"][known] > 0, told.empty[known]),
    ]


def _notes(rows: Arrays, published: Any) -> list[str]:
    demand, horizon = rows["demand"], rows["horizon_days"]
    parts = []
    for low, high in ((1, 7), (8, 14), (15, 28)):
        inside = (horizon >= low) & (horizon <= high)
        if inside.any():
            parts.append(f"{low}–{high} days {(demand[inside] <= published[inside, 2]).mean():.3f}")
    error = np.abs(demand - published[:, 1]).sum() / max(demand.sum(), 1.0)
    return [
        f"Coverage of the 0.9 quantile by lead time: {', '.join(parts)}.",
        f"WAPE of the median: {error:.3f}; {(demand == 0).mean():.0%} of the test rows had no demand at all.",
    ]
