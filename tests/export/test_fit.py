"""The training loop: what was cut off goes on as if it had not been, and stops when nothing gets better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from export.fit import Recipe, seeded, train
from export.resume import resumable

ROWS = 200
RECIPE = Recipe(epochs=6, batch=32, rate=1e-2, patience=6)


class CutOffError(Exception):
    pass


def fitted(recipe: Recipe, cut_after: int | None = None, told: list[str] | None = None) -> Any:
    """A small network with dropout, so that torch's own random numbers count as well."""
    seeded(recipe.seed)
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(ROWS, 4)).astype(np.float32))
    y = (x[:, :1] * x[:, 1:2]).tanh()
    module = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 1))
    said = told if told is not None else []

    def tell(text: str, share: float) -> None:
        said.append(text)
        if cut_after is not None and text.startswith(f"epoch {cut_after + 1}"):
            raise CutOffError

    validate = lambda: float(((module(x) - y) ** 2).mean())  # noqa: E731  # a name would say no more
    train(module, lambda i: ((module(x[i]) - y[i]) ** 2).mean(), ROWS, recipe, validate, tell)
    return torch.cat([p.detach().ravel() for p in module.parameters()])


@pytest.mark.parametrize("cut_after", [1, 3, 5])
def test_a_training_cut_off_ends_as_one_that_was_not(tmp_path: Path, cut_after: int) -> None:
    whole = fitted(RECIPE)
    with pytest.raises(CutOffError), resumable(tmp_path):
        fitted(RECIPE, cut_after)
    told: list[str] = []
    with resumable(tmp_path):
        again = fitted(RECIPE, told=told)
    assert told[0] == f"going on after epoch {cut_after}"
    assert torch.equal(whole, again)
    assert not list(tmp_path.iterdir())


def test_the_second_of_two_fits_has_its_own_place(tmp_path: Path) -> None:
    with resumable(tmp_path):
        first = fitted(RECIPE)
        assert [p.name for p in tmp_path.iterdir()] == ["fit-0.pt"]
        assert torch.equal(first, fitted(RECIPE))


def test_another_recipe_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(CutOffError), resumable(tmp_path):
        fitted(RECIPE, cut_after=3)
    other = Recipe(epochs=6, batch=32, rate=2e-2, patience=6)
    told: list[str] = []
    with resumable(tmp_path):
        again = fitted(other, told=told)
    assert told[0].startswith("epoch 1,")
    assert torch.equal(again, fitted(other))


def test_it_stops_when_nothing_gets_better() -> None:
    figures = iter([3.0, 2.0, 2.5, 2.1, 2.2, 0.0])
    module = nn.Linear(1, 1)
    recipe = Recipe(epochs=6, batch=8, rate=0.0, patience=3)
    x = torch.ones(8, 1)
    assert train(module, lambda i: module(x[i]).mean(), 8, recipe, lambda: next(figures)) == 2
    assert next(figures) == 0.0


def test_what_is_made_ahead_changes_nothing() -> None:
    """Batches are made in another thread, in order, and none twice; the weights are the same bit for bit."""
    made: list[Any] = []
    x = torch.linspace(-1.0, 1.0, ROWS)[:, None]

    def fit(prepare: Any, loss: Any) -> Any:
        torch.manual_seed(3)
        module = nn.Linear(1, 1)
        train(module, lambda batch: loss(module, batch), ROWS, RECIPE, prepare=prepare)
        return module.weight.detach().clone()

    def prepare(at: Any) -> Any:
        assert not torch.is_grad_enabled()
        made.append(at)
        return x[at] * 2.0

    whole = fit(lambda at: at, lambda module, at: ((module(x[at] * 2.0) - 1.0) ** 2).mean())
    ahead = fit(prepare, lambda module, batch: ((module(batch) - 1.0) ** 2).mean())
    assert torch.equal(whole, ahead)
    epoch = np.concatenate(made[:7])
    assert len(made) == 7 * RECIPE.epochs
    assert sorted(epoch) == list(range(ROWS))


def test_what_cannot_be_made_ends_the_training() -> None:
    module = nn.Linear(1, 1)

    def prepare(at: Any) -> Any:
        raise ZeroDivisionError("of a batch")

    with pytest.raises(ZeroDivisionError, match="of a batch"):
        train(module, lambda batch: module(batch).mean(), ROWS, RECIPE, prepare=prepare)
