from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.alerts import AlertState, Severity, advance, alert_of, next_severity
from stream.events import Reason, SourceOffset, StockoutScore, SupplyAlert


def score(p: float | None, on_hand: float | None = 5.0, at: int = 1_000) -> StockoutScore:
    return StockoutScore(
        model="stockout",
        version="1",
        as_of_ms=at,
        fallback=None,
        feature_time_ms={"item_stock": at},
        source=[SourceOffset("demand", 0, 1)],
        location="w",
        sku="A",
        name="Bowl",
        p_stockout=p,
        on_hand=on_hand,
        arriving=0.0,
        lead_time_days=7.0,
        days_of_cover=2.5,
        demand_p10=1.0,
        demand_p50=2.0,
        demand_p90=3.0,
        suggested_order_quantity=4.0,
        service_level=0.95,
        simulated_stock=True,
        reasons=[Reason("units_7d", 3.0, 0.4)],
        p_empty=0.9,
    )


@pytest.mark.parametrize(
    ("before", "p", "on_hand", "after"),
    [
        ("none", 0.49, 5, "none"),
        ("none", 0.5, 5, "warning"),
        ("none", 0.5, 0, "critical"),
        ("none", 0.49, 0, "none"),
        ("none", 0.8, 5, "critical"),
        ("warning", 0.3, 5, "warning"),
        ("warning", 0.29, 5, "none"),
        ("warning", 0.79, 5, "warning"),
        ("warning", 0.8, 5, "critical"),
        ("warning", 0.6, 0, "critical"),
        ("critical", 0.6, 5, "critical"),
        ("critical", 0.3, 5, "critical"),
        ("critical", 0.29, 0, "none"),
    ],
)
def test_severity_has_hysteresis(before: Severity, p: float, on_hand: float, after: Severity) -> None:
    assert next_severity(before, p, on_hand) == after


AT = SourceOffset("demand", 0, 1)


def run(risks: Sequence[tuple[float, float]]) -> list[SupplyAlert]:
    """The alerts of an item, each severity being that after the one before."""
    state, told = AlertState(), []
    for at, (p, on_hand) in enumerate(risks, start=1):
        of = score(p, on_hand, at)
        state, changed = advance(state, of, next_severity(state.severity, p, on_hand), AT)
        if changed:
            told.append(alert_of(state, of))
            assert state == AlertState(told[-1].severity, told[-1].sequence, told[-1].raised_at_ms, told[-1].status, AT)
    return told


def test_a_risk_at_the_threshold_does_not_flap() -> None:
    assert [a.status for a in run([(0.5 if i % 2 else 0.49, 5.0) for i in range(20)])] == ["raised"]


def test_a_life_of_an_alert() -> None:
    told = [
        (a.as_of_ms, a.status, a.severity, a.sequence, a.raised_at_ms)
        for a in run([(p, 5.0) for p in (0.1, 0.6, 0.7, 0.9, 0.6, 0.2, 0.1, 0.85)])
    ]
    assert told == [
        (2, "raised", "warning", 1, 2),
        (4, "escalated", "critical", 2, 2),
        (6, "resolved", "none", 3, 2),
        (8, "raised", "critical", 4, 8),
    ]


def test_what_was_critical_may_become_a_warning() -> None:
    """Where the day before does not bear it out any more, such as after a delivery."""
    state, changed = advance(AlertState("critical", 2, 5, "escalated"), score(0.6), "warning", AT)
    assert changed
    assert state == AlertState("warning", 3, 5, "raised", AT)


def test_an_alert_carries_what_the_score_says() -> None:
    of = score(0.6)
    state, _ = advance(AlertState(), of, "warning", AT)
    alert = alert_of(state, of)
    for name in SupplyAlert.__struct_fields__:
        if name in StockoutScore.__struct_fields__:
            assert getattr(alert, name) == getattr(of, name), name


def test_an_unknown_risk_changes_nothing() -> None:
    for state in (AlertState(), AlertState("critical", 2, 5, "raised")):
        assert advance(state, score(None, None), "critical", AT) == (state, False)


def test_an_alert_state_that_was_stored_before_it_knew_more_can_be_read() -> None:
    stored = b'{"severity":"warning","sequence":3,"raised_at_ms":5}'
    assert msgspec.json.decode(stored, type=AlertState) == AlertState("warning", 3, 5)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 5.0])), max_size=30))
def test_sequences_count_changes_and_statuses_alternate_sensibly(risks: list[tuple[float, float]]) -> None:
    told = run(risks)
    assert [a.sequence for a in told] == list(range(1, len(told) + 1))
    may_follow = {
        None: {"raised"},
        "raised": {"escalated", "resolved"},
        "escalated": {"resolved"},
        "resolved": {"raised"},
    }
    before = None
    for alert in told:
        assert alert.status in may_follow[before]
        assert (alert.severity == "none") == (alert.status == "resolved")
        before = alert.status
