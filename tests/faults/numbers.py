"""Comparison of scores whose numbers may differ by a rounding: kernels round differently at other batch sizes.

A list that is ranked by a number may have two entries change places where their numbers are equal but for the
rounding, or one leave it at its end for such another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

#: Of probabilities; and of larger numbers, relative: models compute in 32 bits, which is seven digits.
TOLERANCE, RELATIVE = 1e-6, 1e-5

#: Lists that are ranked: what names an entry, and the number that ranks it.
_RANKED = {
    "products": ("sku", "p_30d"),
    "offers": ("offer_id", "expected_margin"),
    "reasons": ("feature", "contribution"),
}


def differs(left: Any, right: Any, at: str = "") -> str:
    """Where two values differ, as a path; "" where they are equal.

    >>> differs({"a": [1.0, "x"]}, {"a": [1.0000001, "x"]}), differs({"a": [1.0]}, {"a": [1.1]})
    ('', 'a.0: 1.0, not 1.1')
    """
    if isinstance(left, dict) and isinstance(right, dict):
        if left.keys() != right.keys():
            return f"{at or 'fields'}: {sorted(left.keys() ^ right.keys())}"
        return _first(differs(left[name], right[name], f"{at}.{name}" if at else name) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        ranked = _RANKED.get(at.rpartition(".")[2])
        found = None if ranked is None else _ranked(left, right, at, *ranked)
        return _listed(left, right, at) if found is None else found
    return "" if same(left, right) else f"{at}: {left!r}, not {right!r}"


def same(left: Any, right: Any) -> bool:
    """Whether two plain values are equal, but for a rounding."""
    if isinstance(left, int | float) and isinstance(right, int | float):
        return math.isclose(left, right, rel_tol=RELATIVE, abs_tol=TOLERANCE)
    return bool(left == right)


def _first(found: Any) -> str:
    return next(filter(None, found), "")


def _listed(left: Sequence[Any], right: Sequence[Any], at: str) -> str:
    if len(left) != len(right):
        return f"{at}: {len(left)} entries, not {len(right)}"
    return _first(differs(a, b, f"{at}.{i}") for i, (a, b) in enumerate(zip(left, right, strict=True)))


def _ranked(left: Sequence[Any], right: Sequence[Any], at: str, name: str, number: str) -> str | None:
    """As `differs`; None where the entries have no names of their own."""
    ours, theirs = ({entry[name]: entry for entry in entries} for entries in (left, right))
    if len(left) != len(right) or len(ours) < len(left) or len(theirs) < len(right):
        return None
    for one, other in ((ours, theirs), (theirs, ours)):
        for key in one.keys() - other.keys():
            if not same(abs(one[key][number]), _least(other, number)):
                return f"{at}: {key} is in one of them only"
    return _first(differs(ours[k], theirs[k], f"{at}.{k}") for k in ours if k in theirs)


def _least(entries: Mapping[str, Any], number: str) -> float:
    return min(abs(float(entry[number])) for entry in entries.values())
