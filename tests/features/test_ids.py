from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.ids import IdCache, hash64
from tests.features.streams import seeded


def test_ids_never_change() -> None:
    """They are in stored records and in trained models."""
    assert [hash64(text) for text in ("", "85123A", "Jötunn ☕")] == [
        3244421341483603138,
        28040551145065329,
        13601033045661251123,
    ]


def test_no_string_has_the_id_of_an_empty_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.ids.xxhash.xxh3_64_intdigest", lambda data: 0)
    assert hash64("unlucky") == 1


@given(st.lists(st.text(max_size=5), max_size=30))
@seeded
def test_the_cache_gives_the_ids_and_knows_the_names(texts: list[str]) -> None:
    cache = IdCache(limit=3)
    found = cache.ids(texts)
    assert found.dtype == np.uint64
    assert found.tolist() == [hash64(text) for text in texts]
    assert [cache.name(i) for i in found.tolist()] == texts
    assert cache.unknown(found) == []
    assert cache.pending() == {hash64(text): text for text in texts}


def test_names_are_pending_until_the_store_has_them_and_only_once() -> None:
    cache = IdCache(limit=1)
    cache.ids(["A", "B"])
    assert set(cache.pending().values()) == {"A", "B"}
    cache.saved()
    cache.ids(["A", "C", "B"])
    assert cache.pending() == {hash64("C"): "C"}


def test_names_that_the_store_has_are_not_pending() -> None:
    cache = IdCache()
    cache.learn({hash64("A"): "A"})
    assert cache.id("A") == hash64("A")
    assert cache.name(hash64("A")) == "A"
    assert cache.pending() == {}


def test_unknown_ids_are_told_once_and_without_the_empty_slot() -> None:
    cache = IdCache()
    a, b = cache.id("A"), hash64("B")
    assert cache.unknown(np.array([0, b, a, b, 0], np.uint64)) == [b]
    assert cache.name(b) is None
