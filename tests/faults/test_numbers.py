"""Scores are compared as what they are: numbers from 32-bit kernels, in lists that those numbers rank."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.numbers import differs


def products(**p_30d: float) -> dict[str, Any]:
    return {"products": [{"sku": sku, "p_30d": p} for sku, p in p_30d.items()]}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (0.5, 0.5000005),
        (543.4115600585938, 543.4110107421875),
        ({"a": [1, "x", None]}, {"a": [1, "x", None]}),
        (products(a=0.9, b=0.5, c=0.5000001), products(a=0.9, c=0.5, b=0.5000001)),
        (products(a=0.9, b=0.5), products(a=0.9, c=0.5000001)),
    ],
)
def test_a_rounding_is_no_difference(left: Any, right: Any) -> None:
    assert differs(left, right) == ""


@pytest.mark.parametrize(
    ("left", "right", "where"),
    [
        (0.5, 0.50001, "0.5"),
        (1, None, "1"),
        ({"a": 1}, {"b": 1}, "fields"),
        ([1], [1, 2], "entries"),
        (products(a=0.9, b=0.5), products(a=0.9, b=0.6), "products.b.p_30d"),
        (products(a=0.9, b=0.5), products(c=0.9, b=0.5), "in one of them only"),
        (products(a=0.9), products(a=0.9, b=0.5), "entries"),
    ],
)
def test_anything_else_is_one(left: Any, right: Any, where: str) -> None:
    assert where in differs(left, right)
    assert differs(right, left)


def test_entries_without_names_of_their_own_are_compared_by_place() -> None:
    twice = {"reasons": [{"feature": "f", "contribution": 0.2}, {"feature": "f", "contribution": 0.1}]}
    assert differs(twice, twice) == ""
    assert differs(twice, {"reasons": twice["reasons"][::-1]})
