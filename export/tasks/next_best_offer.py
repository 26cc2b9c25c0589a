"""Task next-best-offer: which of the open offers this customer will most likely take, by expected margin."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from export import metrics as m
from export.curves import curve_of
from export.datasets import next_best_offer as dataset
from export.datasets.popularity import Popularity
from export.fit import Recipe, seeded, train
from export.history import Log
from export.networks.two_tower import START, Customers, OfferNet, Offers
from export.split import Split, split_of
from export.tasks.base import Arrays, Evaluation, Task, Tell, finite, popular_products
from export.tasks.candidates import POPULAR, Candidates, by_lot, candidates_of, popularity
from export.tasks.offerfigures import offer_figures, ranked
from export.work import Origin
from features.aggregations.base import DAY_MS
from features.vectors.joined import FEATURES as SOLD
from models.manifest import Fallback, Head

#: Products that a training step looks at, for all its customers, beside those that they bought before.
_STEP_PRODUCTS = 512
#: Customers of one day that a training step looks at together, and how many such days.
_STEP_CUSTOMERS, _STEP_DAYS = 32, 2
#: Share of the products of which a training step is not told what the shop sells: the engine may not know either.
_UNTOLD = 0.1
#: An order counts half as much as one that much later: what sells changes with the season.
_HALF_LIFE_DAYS = 60.0
#: Products that tell how what sells is spread: as many at least, where there are so many.
_SPREAD_PRODUCTS = 4_000
#: Offers whose worth differs by this share of it are equal: float32 does not tell them apart after a sum of products.
_TIE = 2e-5
#: Offers that the graph is tried with.
_OFFERS = 64
_TEST_DAYS = 46


class NextBestOffer(Task):
    """See the module."""

    name = "next-best-offer"
    task = "next_best_offer"
    shared = frozenset({"words", "offer_words", "offer_numbers", "offer_sold", "offer_product"})
    epochs = 6
    simulated = ("none in training; live views and offers of the demo are simulated",)

    def split(self, log: Log) -> Split:
        """No gap: the label is the order at the as-of time itself."""
        return split_of(log.first_ms, log.last_ms, horizon_days=0, test_days=_TEST_DAYS)

    def build(self, log: Log, split: Split, seed: int) -> Arrays:
        """A row an order of a known customer, from the fifth week on."""
        return dataset.build(log, split.first_ms + 28 * DAY_MS)

    def network(self) -> Any:
        """Two towers."""
        return OfferNet()

    def train(self, arrays: Arrays, split: Split, epochs: int, seed: int, tell: Tell) -> tuple[Any, dict[str, float]]:
        """Chooses the number of epochs on validation, then fits on both parts.

        Nothing is calibrated: lines of one month were wrong in the next (docs/research/next-best-offer.md).
        """
        rows = by_lot(np.flatnonzero(split.validation(arrays["as_of_ms"])), seed)
        shown = candidates_of(arrays, rows, POPULAR)
        first = self._fresh(arrays, split.train_until_ms, seed)

        def validate() -> float:
            return m.log_loss(shown.label.ravel(), _sigmoid(scored(first, arrays, shown)).ravel())

        best = self._fit(
            first, arrays, split.train_until_ms, epochs, seed, validate, lambda t, s: tell(f"choosing: {t}", s / 2)
        )
        figures = ranked(arrays, rows, lambda part: scored(first, arrays, part)).means | {"log loss": validate()}
        until = split.fit_until_ms
        final = self._fresh(arrays, until, seed)
        self._fit(final, arrays, until, best, seed, None, lambda t, s: tell(f"fitting: {t}", 0.5 + s / 2))
        rows = np.flatnonzero(split.fit(arrays["as_of_ms"]))
        with torch.no_grad():
            known = np.unique(arrays["line_product"][arrays["line_ms"] < until])
            offer, alone = final.offers(Shop(arrays).offers(known[known >= 0], until // DAY_MS))
            mind, level = final.user(final.inputs(torch.from_numpy(arrays["features"][rows])))
            final.offer_centre.fill_(float(alone[:, 0].mean()))
            final.number_centre.fill_(float((mind @ offer.mean(dim=0) + level).mean()))
        found = {f"validation {key}": value for key, value in figures.items()}
        return final, {"epochs": best} | found

    def _fresh(self, arrays: Arrays, until_ms: int, seed: int) -> Any:
        """A network that knows how numbers are spread, and what was popular, before a time."""
        seeded(seed)
        network, rows = self.network(), arrays["as_of_ms"] < until_ms
        count, orders = popularity(arrays, until_ms // DAY_MS)
        share = torch.from_numpy(np.log((count + 1.0) / (orders + 2.0)).astype(np.float32))
        network.names.know(torch.from_numpy(arrays["product_words"]), share - START)
        network.inputs.learn(arrays["features"][rows])
        network.alone.price.learn(arrays["product_price"][:, None])
        network.alone.sold.learn(Shop(arrays).sold_before(until_ms))
        network.personal.inputs.learn(arrays["own"][rows][arrays["own_product"][rows] >= 0])
        return network

    def _fit(
        self, network: Any, arrays: Arrays, until_ms: int, epochs: int, seed: int, validate: Any, tell: Tell
    ) -> int:
        batches = by_day(arrays["as_of_ms"], np.flatnonzero(arrays["as_of_ms"] < until_ms), _STEP_CUSTOMERS)
        shop, targets = Shop(arrays), Targets(arrays)
        counts = np.bincount(
            arrays["line_product"][(arrays["line_ms"] < until_ms) & (arrays["line_product"] >= 0)],
            minlength=len(arrays["product_price"]),
        )
        chance = counts**0.75 / (counts**0.75).sum()
        rng = np.random.default_rng(seed)
        size = min(_STEP_PRODUCTS, int((counts > 0).sum()))

        def of_day(batch: Any) -> Any:
            # Of what these customers bought before nothing is left to chance: that is most of what there is to learn.
            own = arrays["own_product"][batch]
            products = np.union1d(rng.choice(len(chance), size, replace=False, p=chance), own[own >= 0])
            offers = shop.offers(products, int(arrays["as_of_ms"][batch[0]]) // DAY_MS)
            offers.sold[torch.from_numpy(rng.random(len(products)) < _UNTOLD)] = torch.nan
            logits = network.logits(_customers(arrays, batch), offers)[0]
            lately = np.exp2((arrays["as_of_ms"][batch, None] - until_ms) / (_HALF_LIFE_DAYS * DAY_MS))
            weight, label = torch.from_numpy(lately.astype(np.float32)), targets.label(batch, products)
            found = F.binary_cross_entropy_with_logits(logits, label, weight=weight, reduction="none")
            return found.mean(dim=1).sum() * 100 / (_STEP_CUSTOMERS * _STEP_DAYS)

        def loss(index: Any) -> Any:
            return sum(of_day(batches[i]) for i in index)

        recipe = Recipe(epochs=epochs, batch=_STEP_DAYS, rate=3e-3, decay=3e-2, patience=3, seed=seed)
        return train(network, loss, len(batches), recipe, validate, tell)

    def evaluate(self, network: Any, arrays: Arrays, split: Split) -> Evaluation:
        """Ranking among candidates, and calibration over popular ones, against popularity and personal frequency."""
        every = np.flatnonzero(split.test(arrays["as_of_ms"]))
        rows = by_lot(every, 0)
        test = ranked(arrays, rows, lambda part: scored(network, arrays, part))
        probability = _sigmoid(test.logits)
        metrics = offer_figures(test, probability, arrays["customer"][rows], arrays["features"][rows, dataset.ORDERS])
        label, chance = test.label.ravel(), probability.ravel()
        calibration = {
            "ece": next(metric.value for metric in metrics if metric.name == "ECE"),
            "mean_probability": float(chance.mean()),
            "rate": float(label.mean()),
        }
        lot = f" of {len(every):,}, by lot," if len(rows) < len(every) else ""
        notes = [f"{len(rows):,} orders{lot} were tested, each with {len(arrays['product_price']):,} candidates."]
        curves = [curve_of("a popular product is in the next order", label, chance)]
        return Evaluation(metrics, calibration, len(rows), notes, curves)

    def inputs(self, arrays: Arrays, split: Split, rows: int, seed: int) -> Arrays:
        """Customers of the test period; some of the products as offers with made-up discounts and margins."""
        rng = np.random.default_rng(seed)
        at = np.flatnonzero(split.test(arrays["as_of_ms"]))
        pick = rng.choice(at, rows, replace=len(at) < rows)
        sold = len(arrays["product_price"])
        # A small shop has products several times, at discounts that differ: which of equal ones comes first is open.
        few = sold < _OFFERS
        offers = rng.choice(sold, _OFFERS, replace=few)
        told = Shop(arrays).offers(offers, int(arrays["as_of_ms"][pick[0]]) // DAY_MS)
        price = told.price.numpy()
        discount = rng.permutation(np.linspace(0.0, 0.2, _OFFERS)) if few else rng.choice([0.0, 0.1, 0.2], len(offers))
        numbers = np.stack([price, discount, price * (0.4 - discount)], axis=1).astype(np.float32)
        customers = {name: part.numpy() for name, part in _customers(arrays, pick)._asdict().items()}
        eligible = (rng.random((rows, len(offers))) < 0.9).astype(np.float32)
        return customers | {
            "offer_words": told.words.numpy(),
            "offer_numbers": numbers,
            "offer_sold": told.sold.numpy(),
            "offer_product": told.product.numpy(),
            "eligible": eligible,
        }

    def hostile(self, inputs: Arrays) -> list[Arrays]:
        """Odd numbers everywhere, unseen and impossible word ids, and nothing eligible."""
        found = [inputs | {"eligible": np.zeros_like(inputs["eligible"])}]
        for value in (np.nan, 0.0, 1e30, -1e30, np.inf):
            names = ("features", "age_days", "viewed", "own", "offer_numbers", "offer_sold")
            changed = {name: np.full_like(inputs[name], value) for name in names}
            found += [inputs | changed, *(inputs | {name: array} for name, array in changed.items())]
        for word in (0, 8191, 8192, -5, 2**62):
            found.append(inputs | {name: np.full_like(inputs[name], word) for name in ("words", "offer_words")})
            found.append(inputs | {name: np.full_like(inputs[name], word) for name in ("own_product", "offer_product")})
        return found

    def problems(self, inputs: Arrays, outputs: Arrays) -> list[str]:
        """Anything not finite, a probability outside [0, 1], a wrong order, or an ineligible offer with a chance."""
        names = ("probability", "expected_margin", "sequence_contributions", "other_contributions")
        found = finite(outputs, *names)
        p, top = outputs["probability"], outputs["top"]
        if not ((p >= 0) & (p <= 1)).all():
            found.append("probability is outside [0, 1]")
        if (p[np.take_along_axis(inputs["eligible"], top, axis=1) <= 0] != 0).any():
            found.append("an ineligible offer has a probability")
        if (np.sort(top, axis=1)[:, 1:] == np.sort(top, axis=1)[:, :-1]).any():
            found.append("an offer is named twice")
        return found

    def aligned(self, expected: Arrays, outputs: Arrays) -> Arrays:
        """Offers that are worth the same but for rounding may have changed places, with each other; what is worth as
        much as the last, with one that is not shown."""
        worth = expected["expected_margin"]
        level = np.isclose(worth, outputs["expected_margin"], rtol=_TIE, atol=0.0).all(axis=1)
        same = expected["top"][:, :, None] == outputs["top"][:, None, :]
        level &= (same.any(axis=2) | np.isclose(worth, worth[:, -1:], rtol=_TIE, atol=0.0)).all(axis=1)
        place = same.argmax(axis=2)
        found = {}
        for name, given in outputs.items():
            moved = np.take_along_axis(given, place.reshape(*place.shape, *[1] * (given.ndim - 2)), axis=1)
            shape = (-1, place.shape[1], *[1] * (given.ndim - 2))
            moved = np.where(same.any(axis=2).reshape(shape), moved, expected[name])
            found[name] = np.where(level.reshape(-1, *[1] * (given.ndim - 1)), moved, given)
        return found

    def heads(self, network: Any, arrays: Arrays, origin: Origin) -> list[Head]:
        """What the shop says of an offer's product."""
        return [Head(input="offer_sold", output="probability", features=list(SOLD), baseline=network.baseline)]

    def fallback(self, log: Log, split: Split) -> Fallback:
        """Popular products."""
        return popular_products(log, split.fit_until_ms)


class Targets:
    """Which products each row's order held, as a dense label matrix on demand."""

    def __init__(self, arrays: Arrays) -> None:
        self._product = arrays["target_product"]
        self._starts = np.searchsorted(arrays["target_row"], np.arange(len(arrays["as_of_ms"]) + 1))
        self._products = len(arrays["product_price"])

    def label(self, rows: Any, products: Any) -> Any:
        """float32 (rows, products)."""
        column = np.full(self._products, -1)
        column[products] = np.arange(len(products))
        label = torch.zeros(len(rows), len(products))
        for i, row in enumerate(rows.tolist()):
            at = column[self._product[self._starts[row] : self._starts[row + 1]]]
            label[i, at[at >= 0]] = 1.0
        return label


def _customers(arrays: Arrays, rows: Any) -> Customers:
    # The last row is that of no product, -1.
    words = np.concatenate([arrays["product_words"], np.zeros((1, arrays["product_words"].shape[1]), np.int64)])
    held, place = np.unique(arrays["product"][rows], return_inverse=True)
    place = place.reshape(arrays["product"][rows].shape).astype(np.int64)
    own = _numbers(arrays["own_product"][rows]), arrays["own"][rows]
    parts = arrays["features"][rows], words[held], place, arrays["age_days"][rows], arrays["viewed"][rows], *own
    return Customers(*(torch.from_numpy(part) for part in parts))


class Shop:
    """Products as offers, with what the shop says of them as of a day."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays, self._popularity = arrays, Popularity(arrays)

    def sold(self, products: Any, day: int) -> Any:
        """Of some products as of the end of the day before, float32 (c, 6), columns as `features.vectors.joined`."""
        rows = {"product": products.astype(np.int64), "as_of_ms": np.full(len(products), day * DAY_MS, np.int64)}
        return self._popularity.columns(rows)

    def sold_before(self, until_ms: int) -> Any:
        """Of some thousand products on every seventh day with an order before a time, float32 (n, 6)."""
        days = np.unique(self._arrays["as_of_ms"][self._arrays["as_of_ms"] < until_ms] // DAY_MS)[::7]
        products = len(self._arrays["product_price"])
        some = np.arange(0, products, max(1, products // _SPREAD_PRODUCTS))
        return np.concatenate([self.sold(some, int(day)) for day in days])

    def offers(self, products: Any, day: int) -> Offers:
        """Products at their price."""
        words, price = self._arrays["product_words"][products], self._arrays["product_price"][products]
        parts = words, price, self.sold(products, day), _numbers(products)
        return Offers(*(torch.from_numpy(part) for part in parts))


def by_day(as_of_ms: Any, rows: Any, most: int) -> list[Any]:
    """Rows in parts of one day each (UTC), no more than so many: all of a part see the same of the shop.

    >>> [part.tolist() for part in by_day(np.array([0, DAY_MS, 1, 2]), np.arange(4), 2)]
    [[0, 2], [3], [1]]
    """
    day = as_of_ms[rows] // DAY_MS
    order = np.argsort(day, kind="stable")
    days = np.split(rows[order], np.flatnonzero(np.diff(day[order])) + 1)
    return [of_day[at : at + most] for of_day in days for at in range(0, len(of_day), most)]


def _numbers(products: Any) -> Any:
    """Numbers of products as the graph takes them, int64: any will do, if 0 is none."""
    return products.astype(np.int64) + 1


def scored(network: Any, arrays: Arrays, candidates: Candidates) -> Any:
    """Log-odds of every candidate, float32 of shape (rows, candidates).

    Those of a day are scored together and picked from.
    """
    shop = Shop(arrays)
    logits = np.zeros(candidates.product.shape, np.float32)
    for at in by_day(arrays["as_of_ms"][candidates.rows], np.arange(len(candidates.rows)), 256):
        rows = candidates.rows[at]
        asked = np.zeros(len(arrays["product_price"]), np.bool_)
        asked[candidates.product[at]] = True
        every, column = np.flatnonzero(asked), np.cumsum(asked)[candidates.product[at]] - 1
        with torch.no_grad():
            offers = shop.offers(every, int(arrays["as_of_ms"][rows[0]]) // DAY_MS)
            told = network.logits(_customers(arrays, rows), offers)[0].numpy()
        logits[at] = np.take_along_axis(told, column, axis=1)
    return logits


def _sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))
