"""Exploration: the logged propensity is the share of draws, and a replay draws the same."""

from __future__ import annotations

from collections import Counter

import pytest

from stream.events import OfferScore
from stream.scorers.exploring import explored, propensity


def ranked(length: int) -> list[OfferScore]:
    return [
        OfferScore(
            offer_id=f"o{rank}", sku="A", title="", p_response=0.5, expected_margin=0.5, propensity=1.0, reasons=[]
        )
        for rank in range(length)
    ]


def test_off_nothing_changes_and_a_single_offer_is_certain() -> None:
    assert explored(ranked(3), "1", 9, share=0.0) == ranked(3)
    assert explored(ranked(1), "1", 9, share=1.0) == ranked(1)
    assert explored([], "1", 9, share=1.0) == []


def test_a_replay_shows_the_same_and_another_moment_need_not() -> None:
    lists = [[o.offer_id for o in explored(ranked(5), "1", at, share=1.0)] for at in range(50)]
    again = [[o.offer_id for o in explored(ranked(5), "1", at, share=1.0)] for at in range(50)]
    assert lists == again
    assert {shown[0] for shown in lists} == {f"o{rank}" for rank in range(5)}
    assert all(sorted(shown) == sorted(lists[0]) for shown in lists)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_logged_propensity_is_how_often_it_happens(share: float) -> None:
    seen: Counter[tuple[str, int]] = Counter()
    told: dict[tuple[str, int], float] = {}
    draws = 4_000
    for at in range(draws):
        for place, offer in enumerate(explored(ranked(4), "c", at, share)):
            seen[offer.offer_id, place] += 1
            told[offer.offer_id, place] = offer.propensity
    for key, count in seen.items():
        assert count / draws == pytest.approx(told[key], abs=0.03)


@pytest.mark.parametrize("length", [2, 5])
def test_propensities_of_a_place_add_up_to_one(length: int) -> None:
    for place in range(length):
        assert sum(propensity(rank, place, length, 0.3) for rank in range(length)) == pytest.approx(1.0)
