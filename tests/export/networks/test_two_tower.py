"""Two towers: a planted cause, products bought before, is learnt, told as the reason, and found by equality alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from export.networks.personal import Personal, matched, matched_sparsely, matched_top
from export.networks.two_tower import Customers, OfferNet, Offers
from features.vectors.joined import FEATURES as SOLD
from features.vectors.next_best_offer import FEATURES
from features.vectors.own import OWN

CUSTOMERS, OFFERS = 6, 9


def _inputs(seed: int = 1) -> tuple[Customers, Offers]:
    """Customers who own some of the offers' products; the words of all products are the same."""
    generator = torch.Generator().manual_seed(seed)
    own_product = torch.zeros(CUSTOMERS, 32, dtype=torch.int64)
    own_product[:, :4] = torch.stack([torch.randperm(20, generator=generator)[:4] + 1 for _ in range(CUSTOMERS)])
    customers = Customers(
        features=torch.rand(CUSTOMERS, len(FEATURES), generator=generator),
        words=torch.zeros(1, 8, dtype=torch.int64),
        place=torch.zeros(CUSTOMERS, 32, dtype=torch.int64),
        age_days=torch.full((CUSTOMERS, 32), float("nan")),
        viewed=torch.zeros(CUSTOMERS, 32),
        own_product=own_product,
        own=torch.rand(CUSTOMERS, 32, len(OWN), generator=generator),
    )
    sold = torch.rand(OFFERS, len(SOLD), generator=generator)
    return customers, Offers(
        torch.zeros(OFFERS, 8, dtype=torch.int64), torch.ones(OFFERS), sold, torch.arange(1, OFFERS + 1)
    )


def _bought(customers: Customers, offers: Offers) -> Any:
    return (customers.own_product[:, :, None] == offers.product).any(dim=1)


def test_both_ways_to_match_agree_and_take_repeated_elements_twice() -> None:
    generator = torch.Generator().manual_seed(2)
    keys, offers = torch.randint(0, 6, (5, 32), generator=generator), torch.tensor([3, 1, 9, 3])
    values = torch.rand(5, 32, generator=generator)
    found, any_ = matched(keys, offers, values)
    torch.testing.assert_close(matched_sparsely(keys, offers, values), (found, any_))
    assert bool(((found > 0) == (any_ > 0)).all())
    torch.testing.assert_close(matched_top(keys, offers.expand(5, 4), values).sum(dim=2), found)
    assert bool((found[:, 2] == 0).all())


def test_only_what_was_bought_has_a_personal_term() -> None:
    customers, offers = _inputs()
    network = OfferNet().eval()
    before, bought, _ = network.logits(customers, offers)
    torch.nn.init.constant_(network.personal.out.bias, 3.0)
    after, _, _ = network.logits(customers, offers)
    moved = (after - before).abs() > 1e-4
    assert bool((moved == _bought(customers, offers)).all())
    assert bool((moved == (bought > 0)).all())
    assert 0 < int(moved.sum()) < moved.numel()


def test_no_product_is_no_offer() -> None:
    """Offers of unknown products and empty places both have number 0."""
    customers, offers = _inputs()
    network = OfferNet().eval()
    none = offers._replace(product=torch.zeros_like(offers.product))
    empty = customers._replace(own_product=torch.zeros_like(customers.own_product))
    torch.testing.assert_close(network.logits(customers, none)[0], network.logits(empty, offers)[0])


def test_unknown_numbers_give_a_term() -> None:
    own_product = torch.ones(2, 32, dtype=torch.int64)
    nothing = torch.full((2, 32, len(OWN)), float("nan"))
    assert bool(torch.isfinite(Personal()(own_product, nothing, torch.zeros(2, 2 * len(FEATURES)))).all())


def test_a_planted_cause_is_learnt_and_is_the_reason() -> None:
    """The customer takes exactly what it bought before."""
    torch.manual_seed(3)
    customers, offers = _inputs()
    network, wanted = OfferNet(), _bought(customers, offers).to(torch.float32)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(40):
        optimiser.zero_grad()
        logits = network.logits(customers, offers)[0]
        torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted).backward()
        optimiser.step()
    network.eval()
    numbers = torch.ones(OFFERS, 3)
    with torch.no_grad():
        everyone = torch.ones(CUSTOMERS, OFFERS)
        top, chance, _, sequence, other = network(
            *customers, offers.words, numbers, offers.sold, offers.product, everyone
        )
    taken = wanted.gather(1, top) > 0
    assert bool(taken.any())
    assert bool((chance[taken] > 0.8).all())
    assert bool((chance[~taken] < 0.2).all())
    assert bool((other[taken].argmax(dim=1) == 2).all())
    told = sequence.sum(dim=2) + other.sum(dim=2) + network.baseline
    np.testing.assert_allclose(torch.sigmoid(told), chance, atol=1e-5)


def test_reasons_add_up() -> None:
    customers, offers = _inputs()
    network = OfferNet().eval()
    network.offer_centre.fill_(0.2)
    network.number_centre.fill_(-0.3)
    with torch.no_grad():
        logits, bought, _ = network.logits(customers, offers)
        everyone = torch.ones(CUSTOMERS, OFFERS)
        top, chance, _, sequence, other = network(
            *customers, offers.words, torch.ones(OFFERS, 3), offers.sold, offers.product, everyone
        )
    torch.testing.assert_close(chance, torch.sigmoid(logits).gather(1, top))
    told = sequence.sum(dim=2) + other.sum(dim=2) + network.baseline
    torch.testing.assert_close(torch.sigmoid(told), chance, rtol=1e-5, atol=1e-6)
    of_bought = bought.gather(1, top) > 0
    assert bool(of_bought.any())
    assert not bool(of_bought.all())
    assert bool((other[..., 2][~of_bought] == 0).all())
    assert bool((other[..., 2][of_bought] != 0).all())


def test_what_the_shop_sells_now_counts_and_what_sold_in_training_where_it_says_nothing() -> None:
    """The same offers, told and untold; the words are one product's, whose popularity in training is changed."""
    customers, told = _inputs()
    untold = told._replace(sold=torch.full_like(told.sold, float("nan")), words=torch.ones_like(told.words))
    told = told._replace(words=untold.words)
    torch.manual_seed(3)
    network = OfferNet().eval()

    def logits(offers: Offers) -> Any:
        with torch.no_grad():
            return network.logits(customers, offers)[0]

    before = logits(told), logits(untold)
    torch.nn.init.constant_(network.names.popular, 5.0)
    torch.testing.assert_close(logits(told), before[0])
    assert bool(((logits(untold) - before[1]).abs() > 1e-4).all())
    sells = told._replace(sold=told.sold * 1000.0)
    assert bool(((logits(sells) - before[0]).abs() > 1e-4).all())
    assert bool(torch.isfinite(logits(untold)).all())
