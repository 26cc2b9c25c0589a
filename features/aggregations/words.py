"""Words: signed 48-bit integers as three 16-bit words each, for rings that would be too large with eight bytes a tile.

In thousandths they reach ±1.4e11 units; beyond that they wrap around, as all integers here do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from features.aggregations.base import kernel

#: Words an integer.
WORDS = 3


@kernel
def get48(words: Any, s: int, at: int) -> int:
    """The integer at place `at` of record `s`; `words` is uint16 of shape (records, 3 × places)."""
    low: Any = np.int64(words[s, 3 * at])
    middle: Any = np.int64(words[s, 3 * at + 1])
    high: Any = np.int64(words[s, 3 * at + 2])
    value: int = low | (middle << 16) | (high << 32)
    return value - (1 << 48) if value & (1 << 47) else value


@kernel
def set48(words: Any, s: int, at: int, value: int) -> None:
    """Puts an integer at place `at` of record `s`."""
    words[s, 3 * at] = value & 0xFFFF
    words[s, 3 * at + 1] = (value >> 16) & 0xFFFF
    words[s, 3 * at + 2] = (value >> 32) & 0xFFFF
