"""Comparison of JSON values whose numbers may differ by a rounding: kernels round differently at other batch sizes."""

from __future__ import annotations

import math
from typing import Any

TOLERANCE = 1e-6


def differs(left: Any, right: Any, at: str = "") -> str:
    """Where two values differ, as a path; "" where they are equal.

    >>> differs({"a": [1.0, "x"]}, {"a": [1.0000001, "x"]}), differs({"a": [1.0]}, {"a": [1.1]})
    ('', 'a.0: 1.0, not 1.1')
    """
    if isinstance(left, dict) and isinstance(right, dict):
        if left.keys() != right.keys():
            return f"{at or 'fields'}: {sorted(left.keys() ^ right.keys())}"
        parts = ((name, left[name], right[name]) for name in left)
    elif isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            return f"{at}: {len(left)} entries, not {len(right)}"
        parts = ((str(i), a, b) for i, (a, b) in enumerate(zip(left, right, strict=True)))
    else:
        return "" if _same(left, right) else f"{at}: {left!r}, not {right!r}"
    return next((found for name, a, b in parts if (found := differs(a, b, f"{at}.{name}" if at else name))), "")


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(left == right)
