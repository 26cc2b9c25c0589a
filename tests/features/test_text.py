from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.text import VOCABULARY, WORDS, word_ids
from tests.features.streams import seeded


def test_words_never_change_their_ids() -> None:
    """Trained models know words by these numbers."""
    assert word_ids("WHITE HANGING HEART T-LIGHT HOLDER").tolist() == [4373, 627, 482, 3567, 6545, 8035, 0, 0]


@given(st.text(max_size=80))
@seeded
def test_any_name_gives_ids_in_the_vocabulary_padded_behind(name: str) -> None:
    ids = word_ids(name)
    assert ids.dtype == np.int64
    assert ids.shape == (WORDS,)
    assert ((ids >= 0) & (ids < VOCABULARY)).all()
    held = int((ids > 0).sum())
    assert (ids[:held] > 0).all()
    assert (ids[held:] == 0).all()


def test_a_word_has_one_id_wherever_it_stands() -> None:
    assert word_ids("red bowl")[1] == word_ids("BOWL, blue")[0]
    assert word_ids("red bowl")[0] != word_ids("red bowl")[1]


@pytest.mark.parametrize(("name", "held"), [("", 0), ("!?", 0), ("one", 1), ("a b c d e f g h i j", 8)])
def test_so_many_words_are_kept(name: str, held: int) -> None:
    assert int((word_ids(name) > 0).sum()) == held
