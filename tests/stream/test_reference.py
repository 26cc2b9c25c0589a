from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from features.ids import IdCache, hash64
from features.text import WORDS, word_ids
from stream.reference import DEFAULT_LEAD_TIME_DAYS, Reference
from tests.stream.build import T0, message


def product(sku: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": "product", "sku": sku, "name": name, "unit_price": 1.5} | more


def offer(offer_id: str, sku: str = "A") -> dict[str, Any]:
    return {
        "type": "offer",
        "offer_id": offer_id,
        "sku": sku,
        "title": "Ten off",
        "discount": 0.1,
        "margin": 2.0,
        "valid_from_ms": T0,
        "valid_until_ms": T0 + 1,
    }


@pytest.fixture
def reference() -> Reference:
    return Reference(IdCache())


def ids(*skus: str) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.array([hash64(s) for s in skus], np.uint64)


def test_the_catalog_gives_names_and_lead_times(reference: Reference) -> None:
    reference.apply(message("catalog", "A", product("A", "Red bowl", lead_time_days=3.5)))
    assert reference.name("A") == "Red bowl"
    assert reference.name("B") is None
    assert reference.lead_times(["A", "B"]).tolist() == [3.5, DEFAULT_LEAD_TIME_DAYS]
    assert reference.ids.name(hash64("A")) == "A"


def test_a_later_record_replaces_an_earlier_one(reference: Reference) -> None:
    reference.apply(message("catalog", "A", product("A", "Red bowl")))
    reference.words(ids("A"))
    reference.apply(message("catalog", "A", product("A", "Blue mug")))
    assert reference.name("A") == "Blue mug"
    assert reference.words(ids("A"))[0].tolist() == word_ids("Blue mug").tolist()


def test_words_of_products_and_zeros_for_unknown_ones(reference: Reference) -> None:
    for sku, name in (("A", "Red bowl"), ("B", "Mug"), ("C", "Tin")):
        reference.apply(message("catalog", sku, product(sku, name)))
    products = np.array([ids("B", "missing"), [np.uint64(0), ids("A")[0]]], np.uint64)
    words = reference.words(products)
    assert words.shape == (2, 2, WORDS)
    assert words[0, 0].tolist() == word_ids("Mug").tolist()
    assert words[1, 1].tolist() == word_ids("Red bowl").tolist()
    assert not words[0, 1].any()
    assert not words[1, 0].any()


def test_each_product_that_occurs_has_its_words_once(reference: Reference) -> None:
    for sku, name in (("A", "Red bowl"), ("B", "Mug"), ("C", "Tin")):
        reference.apply(message("catalog", sku, product(sku, name)))
    products = np.array([ids("B", "missing", "B"), [np.uint64(0), *ids("A", "B")]], np.uint64)
    words, place = reference.names(products)
    assert len(words) == 3, "A, B, and all that is not known"
    np.testing.assert_array_equal(words[place], reference.words(products))


def test_many_products_are_found_wherever_their_ids_fall(reference: Reference) -> None:
    skus = [f"P{i}" for i in range(3_000)]
    for sku in skus:
        reference.apply(message("catalog", sku, product(sku, f"thing {sku}")))
    words = reference.words(ids(*skus, *(f"Q{i}" for i in range(500))))
    assert words[:3_000].tolist() == [word_ids(f"thing {sku}").tolist() for sku in skus]
    assert not words[3_000:].any()


def test_an_empty_catalog_knows_no_words(reference: Reference) -> None:
    assert not reference.words(ids("A", "B")).any()
    assert reference.words(np.zeros((0, 3), np.uint64)).shape == (0, 3, WORDS)


def test_a_null_value_deletes(reference: Reference) -> None:
    reference.apply(message("catalog", "A", product("A", "Red bowl")))
    reference.apply(message("offers", "o", offer("o")))
    reference.words(ids("A"))
    reference.apply(message("catalog", "A", None))
    reference.apply(message("offers", "o", None))
    assert reference.products == {}
    assert reference.offers == {}
    assert not reference.words(ids("A")).any(), "its words are gone, too"
    reference.apply(message("catalog", "A", None))


def test_an_offer_makes_its_product_known(reference: Reference) -> None:
    reference.apply(message("offers", "o", offer("o", "X")))
    assert reference.offers["o"].margin == 2.0
    assert reference.ids.name(hash64("X")) == "X"


@pytest.mark.parametrize(
    ("topic", "key", "value"),
    [
        ("catalog", "A", b"{"),
        ("catalog", "A", {"type": "product", "sku": "A"}),
        ("catalog", "A", product("A", "x", lead_time_days=0)),
        ("offers", "o", offer("o") | {"discount": 2}),
        ("catalog", b"\xff", product("A", "x")),
        ("catalog", "A", b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    ],
)
def test_a_bad_record_is_one_kind_of_error_and_changes_nothing(
    reference: Reference, topic: str, key: str | bytes, value: Any
) -> None:
    with pytest.raises((ValueError, RecursionError), match=r"."):
        reference.apply(message(topic, key, value))
    assert reference.products == {}
    assert reference.offers == {}
