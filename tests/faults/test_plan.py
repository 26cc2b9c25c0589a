"""Plans follow from their seeds, and few of them have everything."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from stream.failpoints import POINTS
from tests.faults.fault import kinds
from tests.faults.plan import PROTOCOLS, covering, draw, plans

SEEDS = range(310)


def test_a_seed_draws_the_same_plan_every_time() -> None:
    assert [draw(seed) for seed in SEEDS] == [draw(seed) for seed in SEEDS]


def test_seeds_draw_different_plans() -> None:
    told = {json.dumps({**draw(seed).told(), "seed": 0}) for seed in SEEDS}
    assert len(told) == len(SEEDS)


def test_every_kind_strikes_first_in_every_round_of_seeds() -> None:
    per_round = sum(kind.weight for kind in kinds().values())
    first = Counter(draw(seed).faults[0][1].kind for seed in range(7 * per_round, 8 * per_round))
    assert first == {name: kind.weight for name, kind in kinds().items()}


def test_faults_strike_in_their_order() -> None:
    for seed in SEEDS:
        shares = [share for share, _ in draw(seed).faults]
        assert shares == sorted(shares)


def test_no_run_has_two_faults_that_need_the_same_fail_points() -> None:
    for seed in SEEDS:
        assert sum(fault.at_step for _, fault in draw(seed).faults) <= 1


def test_a_covering_set_kills_at_every_step_and_has_every_kind_and_protocol() -> None:
    found = covering()
    faults = [fault for plan in found for _, fault in plan.faults]
    assert {fault.kind for fault in faults} == kinds().keys()
    assert {fault.face for fault in faults} >= {f"killed-at-step {point}" for point in POINTS}
    assert {plan.protocol for plan in found} == set(PROTOCOLS)
    assert len(found) >= 40


def test_only_some_kinds_keep_the_plans_of_their_seeds() -> None:
    found = list(plans(5, first_seed=3, only=["scaled"], protocol="classic"))
    assert len(found) == 5
    for plan in found:
        assert "scaled" in {fault.kind for _, fault in plan.faults}
        assert plan.protocol == "classic"
        assert plan.faults == draw(plan.seed).faults


@pytest.mark.parametrize("kind", kinds().values(), ids=lambda kind: str(kind.kind))
def test_every_kind_says_what_it_is(kind: type) -> None:
    assert kind.doc  # type: ignore[attr-defined]
    assert kind.__doc__
