from __future__ import annotations

import numpy as np
import pytest

from features.aggregations.words import WORDS, get48, set48

LARGEST = 2**47 - 1


@pytest.mark.parametrize("value", [0, 1, -1, 65_535, 65_536, -65_536, 2**32, -(2**32) - 1, LARGEST, -LARGEST - 1])
def test_every_integer_of_48_bits_comes_back_and_touches_no_neighbour(value: int) -> None:
    words = np.zeros((2, 3 * WORDS), np.uint16)
    set48(words, 1, 0, -7)
    set48(words, 1, 2, 9)
    set48(words, 1, 1, value)
    assert [get48(words, 1, at) for at in range(3)] == [-7, value, 9]
    assert not words[0].any()


def test_beyond_48_bits_it_wraps_around() -> None:
    words = np.zeros((1, WORDS), np.uint16)
    set48(words, 0, 0, LARGEST + 1)
    assert get48(words, 0, 0) == -LARGEST - 1
