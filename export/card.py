"""The model card: measured figures, and what a person must know before relying on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from export.benchmark import Cost, told
from export.plots import LIFT, RELIABILITY
from export.quantize import Variant
from export.tasks.base import Evaluation
from export.work import Origin
from models.manifest import Manifest, Metric
from models.session import MOST_ROWS

#: The texts of the shipped models' cards, by model.
CARDS = Path(__file__).parent / "cards"
#: Figures where less is better; coverage and the like have a target instead.
_LESS = ("log loss", "ECE", "pinball", "WAPE", "days off")
_TARGET = ("coverage", "expected over actual")


def card(
    manifest: Manifest,
    evaluation: Evaluation,
    origin: Origin,
    costs: Sequence[Cost],
    variants: Sequence[Variant],
    text: str,
) -> str:
    """The card as Markdown; `text` is what a person has to say of the model."""
    training = manifest.training
    lines = [
        f"# {manifest.name} {manifest.version}",
        "",
        "Made by `tidecast-export`: the tables are what its evaluation measured; the text below them is by hand.",
        "",
        "## Data",
        "",
        f"{training.data} ({training.licence}). Fitted on {training.rows:,} rows as of {training.trained_from} to "
        f"{training.trained_until}, seed {training.seed}; tested on {evaluation.rows:,} rows as of "
        f"{training.tested_from} to {training.tested_until}. What was chosen, and what was calibrated, looked at "
        f"the last {(origin.split.fit_until_ms - origin.split.validation_from_ms) // 86_400_000} days before the end "
        f"of the fit, with a model fitted {origin.split.horizon_days} days earlier. Labels reach "
        f"{origin.split.horizon_days} days past their as-of time; "
        "no label of training or validation reaches into the test.",
        "",
        f"Simulated in making these rows: {'; '.join(training.simulated) or 'nothing'}.",
        "",
        "## Figures on the test period",
        "",
        *table(manifest.metrics),
        "",
        *verdicts(manifest.metrics),
        *(f"* {note}" for note in evaluation.notes),
        "",
        *_plots(evaluation),
        "Calibration: " + ", ".join(f"{key} {value:.4g}" for key, value in manifest.calibration.items()) + ".",
        "",
        f"Parity of torch and onnxruntime over {manifest.parity.rows:,} real rows in batches of 1 to 4,096: largest "
        f"difference {manifest.parity.max_abs_difference:.2g} (relative {manifest.parity.max_rel_difference:.2g}).",
        "",
        "## Cost",
        "",
        "On one core of the machine that released it, by `tidecast-export benchmark`; rows in parts of "
        f"{MOST_ROWS:,} at most.",
        "",
        *told(costs),
        "",
        *(f"* {v.kind}: {'not kept: ' + v.why_not if v.why_not else 'as good, and faster'}." for v in variants),
        "",
        text.rstrip(),
        "",
    ]
    return "\n".join(lines)


def _plots(evaluation: Evaluation) -> list[str]:
    if not evaluation.curves:
        return []
    return [
        f"![Chances told, and how often they came true]({RELIABILITY})",
        "",
        f"![How much of what came true the highest chances hold]({LIFT})",
        "",
    ]


def table(metrics: list[Metric]) -> list[str]:
    """The figures beside their baselines, as a Markdown table; 95% intervals in brackets.

    >>> table([Metric(name="AUC", value=0.8, baselines={"frequency": 0.7})])[-1]
    '| AUC | 0.8000 | 0.7000 |'
    """
    baselines = list(dict.fromkeys(name for metric in metrics for name in metric.baselines))
    rows = [["", "this model", *baselines], ["---"] * (2 + len(baselines))]
    for metric in metrics:
        others = [f"{metric.baselines[b]:.4f}" if b in metric.baselines else "–" for b in baselines]
        rows.append([metric.name, f"{metric.value:.4f}{_range(metric)}", *others])
    return [f"| {' | '.join(row)} |" for row in rows]


def _range(metric: Metric) -> str:
    return "" if metric.ci95 is None else f" ({metric.ci95[0]:.4f} to {metric.ci95[1]:.4f})"


def verdicts(metrics: list[Metric]) -> list[str]:
    """A sentence for each baseline that is better somewhere; without intervals, small gaps may be noise.

    >>> verdicts([Metric(name="ECE", value=0.2, baselines={"frequency": 0.1})])
    ['* **Not better than frequency** on ECE.']
    """
    worse: dict[str, list[str]] = {}
    for metric in metrics:
        if metric.name.startswith(_TARGET):
            continue
        for name, value in metric.baselines.items():
            less = metric.name.startswith(_LESS)
            if value <= metric.value if less else value >= metric.value:
                worse.setdefault(name, []).append(metric.name)
    return [f"* **Not better than {name}** on {', '.join(names)}." for name, names in worse.items()]
