"""Supply alerts: how serious an item's risk is, with hysteresis so that a risk at the threshold does not flap.

    resolved ──p ≥ 0.5──► raised ──p ≥ 0.8, or nothing on hand──► escalated
        ▲─────────────── p < 0.3 ────────────┴───────────────────────┘

Between the thresholds the severity is that of a day before. It is looked up in the item's own features as of then, not
in what was published: so severity is a function of features alone, and every run over the same events ends with the
same alerts, however batches, topics and partitions came in between (docs/decisions/0013).

Pure. An alert record is an upsert of the item's whole alert state; `sequence` rises with its changes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from stream.events import SourceOffset, StockoutScore, SupplyAlert

RAISE_AT = 0.5
ESCALATE_AT = 0.8
RESOLVE_BELOW = 0.3

Severity = Literal["none", "warning", "critical"]
Status = Literal["raised", "escalated", "resolved"]


class AlertState(msgspec.Struct, frozen=True):
    """What is kept of an item's alert.

    Args:
        at: the input record at which it changed; None: a version of Tidecast wrote it that did not keep it.
    """

    severity: Severity = "none"
    sequence: int = 0
    raised_at_ms: int = 0
    status: Status = "resolved"
    at: SourceOffset | None = None


def next_severity(severity: Severity, p_stockout: float, on_hand: float) -> Severity:
    """The severity after a risk, given the one before.

    >>> next_severity("none", 0.4, 5.0), next_severity("warning", 0.4, 5.0)
    ('none', 'warning')
    """
    if p_stockout >= ESCALATE_AT or (p_stockout >= RAISE_AT and on_hand == 0):
        return "critical"
    if p_stockout < RESOLVE_BELOW:
        return "none"
    if severity == "none" and p_stockout >= RAISE_AT:
        return "warning"
    return severity


def depends_on_before(p_stockout: float) -> bool:
    """Whether the severity is that of the day before: nothing else decides.

    >>> [depends_on_before(p) for p in (0.2, 0.4, 0.9)]
    [False, True, False]
    """
    return RESOLVE_BELOW <= p_stockout < ESCALATE_AT


def advance(
    state: AlertState, score: StockoutScore, severity: Severity, at: SourceOffset, position: int = 0
) -> tuple[AlertState, bool]:
    """The state after a score, and whether it changed.

    Args:
        state: before.
        score: a score without a known risk changes nothing.
        severity: of the item now.
        at: the input record at which it is looked at.
        position: how many records of the item's topics and partition there are up to there. Sequence numbers are at
            least that, so that they rise though a store has lost the last one.
    """
    if score.p_stockout is None or severity == state.severity:
        return state, False
    raised_at = score.as_of_ms if state.severity == "none" else state.raised_at_ms
    sequence = max(state.sequence + 1, position)
    return AlertState(severity, sequence, raised_at, _status(state.severity, severity), at), True


def _status(before: Severity, after: Severity) -> Status:
    if after == "none":
        return "resolved"
    return "raised" if before == "none" else "escalated" if after == "critical" else "raised"


def alert_of(state: AlertState, score: StockoutScore) -> SupplyAlert:
    """The record of an alert as it stands."""
    assert score.p_stockout is not None
    return SupplyAlert(
        model=score.model,
        version=score.version,
        as_of_ms=score.as_of_ms,
        fallback=score.fallback,
        feature_time_ms=score.feature_time_ms,
        source=score.source,
        location=score.location,
        sku=score.sku,
        name=score.name,
        status=state.status,
        severity=state.severity,
        sequence=state.sequence,
        raised_at_ms=state.raised_at_ms,
        p_stockout=score.p_stockout,
        on_hand=score.on_hand,
        days_of_cover=score.days_of_cover,
        suggested_order_quantity=score.suggested_order_quantity,
        simulated_stock=score.simulated_stock,
        reasons=score.reasons,
        p_empty=score.p_empty,
    )
