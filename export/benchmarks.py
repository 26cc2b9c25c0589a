"""Benchmarks: on which data, and from when on, the released models are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from export.errors import UsageError
from export.report import evaluate_released
from export.tasks.base import Tell
from models.manifest import Metric, versions


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A model on a data set.

    Args:
        model: its name in the registry.
        log: the event log's directory among the others.
        since: the date from which on is tested; None leaves it to the evaluation.
        last: the last basket of each customer is tested, of reorder.
        variant: of the model, whose newest version is measured.
    """

    model: str
    log: str
    since: str | None = None
    last: bool = False
    variant: str | None = None


BENCHMARKS = (
    Benchmark("reorder", "online-retail", "2011-10-16"),
    Benchmark("reorder", "complete-journey", last=True, variant="households"),
    Benchmark("stockout", "freshretailnet", "2024-06-19"),
    Benchmark("stockout", "online-retail", "2011-10-16"),
    Benchmark("next-best-offer", "complete-journey"),
    Benchmark("next-best-offer", "online-retail", "2011-10-16"),
)


def measured(
    logs: Path, registry: Path, models: tuple[str, ...], tell: Tell, warn: Callable[[str], None]
) -> Iterator[tuple[Benchmark, list[Metric]]]:
    """Measures the newest released models, one benchmark after another.

    Args:
        logs: holds the event logs, as `make logs` makes them.
        registry: of the released models.
        models: names of those to measure.
        tell: hears what is being done, and the share done of one benchmark.
        warn: hears why figures must not be believed.

    Raises:
        UsageError: a log or a model is missing.
    """
    for benchmark in BENCHMARKS:
        if benchmark.model not in models:
            continue
        events = logs / benchmark.log
        if not events.is_dir():
            raise UsageError(f"{events} is missing; `make logs` makes it")
        known = versions(registry, benchmark.model, benchmark.variant)
        if not known:
            what = f"{benchmark.model} for {benchmark.variant}" if benchmark.variant else benchmark.model
            raise UsageError(f"there is no released {what} in {registry}; `make models` makes it")

        def say(text: str, share: float, where: str = f"{benchmark.model}, {benchmark.log}") -> None:
            tell(f"{where}: {text}", share)

        directory = registry / benchmark.model / known[-1]
        yield (
            benchmark,
            evaluate_released(benchmark.model, directory, events, benchmark.since, say, warn, benchmark.last),
        )
