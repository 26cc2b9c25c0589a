"""Next best offer on an event log: its campaigns, each held out once, and the next product that customers buy.

*Campaigns* measures the way of training, since a released model has seen the campaigns; see
`export.evaluations.campaigns`. *Next product* measures the released model itself: see
`export.evaluations.next_product`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from export.evaluations import campaigns, next_product
from models.manifest import Metric

Tell = Callable[[str, float], None]


def evaluate(
    model_dir: Path,
    events: Path,
    from_ms: int | None = None,
    draws: int = 500,
    seed: int = 7,
    tell: Tell = lambda text, share: None,
) -> list[Metric]:
    """Measures next best offer on an event log.

    Args:
        model_dir: the released model: `model.onnx` with its manifest.
        events: the event log; one with campaigns is measured on these.
        from_ms: event time from which on the next product is tested; None takes the log's own time split. Campaigns
            are held out one by one, wherever they are.
        draws: of customers, for intervals and paired differences; 0 leaves them out.
        seed: of training and draws.
        tell: hears what is being done, and the share done.

    Returns:
        Metrics with 95% intervals and baselines; "less LightGBM" is the paired difference.

    Raises:
        UsageError: there is nothing to test.
    """
    found = campaigns.measure(events, draws, seed, tell)
    return found or next_product.measure(model_dir, events, from_ms, draws, seed, tell)
