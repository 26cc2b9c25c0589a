"""Supply alerts: a small state machine an item, with hysteresis so that a risk at the threshold does not flap.

    resolved ──p ≥ 0.5──► raised ──p ≥ 0.8, or nothing on hand──► escalated
        ▲─────────────── p < 0.3 ────────────┴───────────────────────┘

Pure. An alert record is an upsert of the item's whole alert state; `sequence` counts its changes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from stream.events import StockoutScore, SupplyAlert

RAISE_AT = 0.5
ESCALATE_AT = 0.8
RESOLVE_BELOW = 0.3

Severity = Literal["none", "warning", "critical"]
Status = Literal["raised", "escalated", "resolved"]


class AlertState(msgspec.Struct, frozen=True):
    """What is kept of an item's alert."""

    severity: Severity = "none"
    sequence: int = 0
    raised_at_ms: int = 0
    status: Status = "resolved"


def next_severity(severity: Severity, p_stockout: float, on_hand: float) -> Severity:
    """The severity after a score.

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


def advance(state: AlertState, score: StockoutScore) -> tuple[AlertState, SupplyAlert | None]:
    """The state after a score, and the alert to publish where it changed.

    A score without a known risk changes nothing.
    """
    if score.p_stockout is None or score.on_hand is None:
        return state, None
    severity = next_severity(state.severity, score.p_stockout, score.on_hand)
    if severity == state.severity:
        return state, None
    raised_at = score.as_of_ms if state.severity == "none" else state.raised_at_ms
    changed = AlertState(severity, state.sequence + 1, raised_at, _status(state.severity, severity))
    return changed, _record(changed, score)


def restate(state: AlertState, score: StockoutScore) -> SupplyAlert | None:
    """The alert as it stands, with its sequence number: for a worker that cannot know whether it was published."""
    return _record(state, score) if state.sequence and score.p_stockout is not None else None


def _status(before: Severity, after: Severity) -> Status:
    if after == "none":
        return "resolved"
    return "raised" if before == "none" else "escalated"


def _record(after: AlertState, score: StockoutScore) -> SupplyAlert:
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
        status=after.status,
        severity=after.severity,
        sequence=after.sequence,
        raised_at_ms=after.raised_at_ms,
        p_stockout=score.p_stockout,
        on_hand=score.on_hand,
        days_of_cover=score.days_of_cover,
        suggested_order_quantity=score.suggested_order_quantity,
        simulated_stock=score.simulated_stock,
        reasons=score.reasons,
    )
