"""Leaving the last basket out: what is asked, what is known, and the log that is trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from export.datasets.baskets import baskets_of
from export.datasets.lastbaskets import without_last
from export.evaluations.protocols import last_baskets, next_baskets
from export.evaluations.tifuknn import GRID, tifuknn, tuned
from export.history import read_log
from tests.export.shop import DAY_MS, FIRST_MS, write_shop


def test_the_last_basket_of_each_customer_is_asked_and_gone_from_the_log(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "whole", customers=20)
    whole, left = (baskets_of(read_log(d)) for d in (shop, without_last(shop, tmp_path / "left")))
    protocol = last_baskets(whole)
    assert protocol.asked.sum() == len(whole.customers)
    assert not (protocol.asked & protocol.known).any()
    assert protocol.known.sum() == len(left.customer) == len(whole.customer) - len(whole.customers)
    assert sorted(left.time_ms.tolist()) == sorted(whole.time_ms[protocol.known].tolist())
    for customer in range(len(whole.customers)):
        own = whole.customer == customer
        assert whole.time_ms[own & protocol.asked].min() >= whole.time_ms[own & protocol.known].max()


def test_next_baskets_begin_at_a_time(tmp_path: Path) -> None:
    baskets = baskets_of(read_log(write_shop(tmp_path, customers=20)))
    protocol = next_baskets(baskets, FIRST_MS + 150 * DAY_MS)
    assert protocol.asked.any()
    assert (baskets.earlier[protocol.asked] >= 3).all()
    assert baskets.time_ms[protocol.known].max() < baskets.time_ms[protocol.asked].min()


def test_settings_are_tuned_on_what_is_known_alone(tmp_path: Path) -> None:
    baskets = baskets_of(read_log(write_shop(tmp_path, customers=20)))
    protocol = last_baskets(baskets)
    settings = tuned(baskets, protocol.known, 10, seed=1)
    assert settings in GRID
    found = tifuknn(baskets, np.flatnonzero(protocol.asked), protocol.known, 10, settings)
    held = baskets.holds(found["basket"], found["product"])
    assert held.mean() > 0.2
    products = baskets.line_product.copy()
    products[protocol.asked[baskets.line_basket]] = 0
    assert tuned(replace(baskets, line_product=products), protocol.known, 10, seed=1) == settings
