"""The steps of the path, each from the work directory to the work directory."""

from __future__ import annotations

from pathlib import Path

from export.benchmark import Cost, benchmark
from export.convert import convert
from export.drift import drift
from export.errors import UsageError
from export.history import read_log
from export.quantize import Variant, quantize
from export.release import release
from export.resume import forget, resumable
from export.tasks import task_of
from export.tasks.base import Arrays, Evaluation, Task, Tell
from export.verify import InputsOf, Verdict, verify
from export.work import Origin, Work
from features.vectors import contract
from models.manifest import read_manifest
from models.session import Session

#: Rows that the exporter traces with; also the smallest batch of candidates.
_TRACE_ROWS = 64


def make_dataset(
    work: Work, events: Path, seed: int, hours_events: Path | None = None, test_from_ms: int | None = None
) -> Origin:
    """Rows with labels, from an event log; hours of items may come from another one.

    The test begins where the task says, or at a time that is given.
    """
    task = task_of(work.model)
    arrays, split = task.dataset(events, hours_events, seed, test_from_ms)
    rows = max(len(array) for array in arrays.values())
    also = None if hours_events is None else str(hours_events)
    origin = Origin(work.model, str(events), seed, rows, split, also, task.columns)
    work.save_dataset(arrays, origin)
    forget(work.directory)
    return origin


def train(work: Work, epochs: int | None, tell: Tell) -> dict[str, float]:
    """The network's weights, and how they were chosen."""
    task = task_of(work.model)
    arrays, origin = work.dataset()
    with resumable(work.directory):
        network, figures = task.train(arrays, origin.split, epochs or task.epochs, origin.seed, tell)
    work.save_network(network)
    work.path("model.onnx").unlink(missing_ok=True)
    work.save("training.json", figures)
    return figures


def evaluate(work: Work) -> Evaluation:
    """Figures of the test period."""
    task = task_of(work.model)
    arrays, origin = work.dataset()
    network = work.network(task.network())
    evaluation = task.evaluate(network, arrays, origin.split)
    evaluation.metrics.extend(task.measured(network, Path(origin.hours_events or origin.events), origin.split))
    work.save("metrics.json", evaluation)
    return evaluation


def drift_of(model: str, released: Path, events: Path, seed: int) -> dict[str, float]:
    """How far the features of a log are from those that a model was trained on.

    Raises:
        UsageError: the model tells nothing of its training.
    """
    task, manifest = task_of(model), read_manifest(released)
    if not manifest.reference:
        raise UsageError(f"{released}: its manifest has no reference; release the model again")
    log = read_log(events)
    arrays = task.build(log, task.split(log), seed)
    return drift(manifest.reference, arrays["features"], contract(task.vector).features)


def convert_graph(work: Work) -> Path:
    """The ONNX file."""
    task = task_of(work.model)
    arrays, origin = work.dataset()
    inputs = task.inputs(arrays, origin.split, _TRACE_ROWS, seed=0)
    convert(work.network(task.network()), task.task, inputs, work.path("model.onnx"))
    return work.path("model.onnx")


def verify_graph(work: Work) -> Verdict:
    """What torch and onnxruntime disagree on."""
    task = task_of(work.model)
    arrays, origin = work.dataset()
    session = Session(work.path("model.onnx", "convert"))
    verdict = verify(task, work.network(task.network()), session, _inputs_of(task, arrays, origin))
    work.save("parity.json", verdict)
    return verdict


def quantize_graph(work: Work) -> list[Variant]:
    """What became of int8 and float16; the graph is the fastest that is as good."""
    task = task_of(work.model)
    work.load("parity.json", "verify", Verdict)
    found = quantize(task, work.path("model.onnx", "convert"), _inputs_of(task, *work.dataset()))
    work.save("variants.json", found)
    return found


def benchmark_graph(work: Work) -> list[Cost]:
    """What a row costs."""
    task = task_of(work.model)
    session = Session(work.path("model.onnx", "convert"))
    costs = benchmark(session, _inputs_of(task, *work.dataset()), task.shared, callers=task.callers)
    work.save("cost.json", costs)
    return costs


def _inputs_of(task: Task, arrays: Arrays, origin: Origin) -> InputsOf:
    return lambda rows, seed: task.inputs(arrays, origin.split, rows, seed)


def release_model(
    work: Work, events: Path, data: str, licence: str, version: str, into: Path, text: Path | None = None
) -> Path:
    """The released directory."""
    task = task_of(work.model)
    origin = work.load("origin.json", "dataset", Origin)
    fallback = task.fallback(read_log(events), origin.split)
    return release(task, work, fallback, data, licence, version, into, text)
