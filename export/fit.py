"""The training loop: AdamW in mini-batches, a learning-rate ramp down, early stopping on validation, seeded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Loss = Callable[[NDArray[np.int64]], Any]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Args:
        epochs: at most; with validation, the best epoch is kept.
        batch: rows a step.
        rate: highest learning rate.
        decay: weight decay.
        patience: epochs without a better validation before it stops.
        seed: of initial weights and of the order of rows.
        averaged: the running average of the weights is kept instead of the last ones; each step's part in it shrinks
            by this factor with every step. 0 keeps the last ones.
    """

    epochs: int
    batch: int
    rate: float
    decay: float = 1e-4
    patience: int = 3
    seed: int = 7
    averaged: float = 0.0


class _Average:
    """The running average of a module's weights.

    Source: B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging" (1992).
    """

    def __init__(self, module: Any, decay: float) -> None:
        self._module, self._decay, self._steps = module, decay, 0
        self._held = [p.detach().clone() for p in module.parameters()]

    def update(self) -> None:
        """Takes in the weights after a step; the first steps count for little."""
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + 10.0))
        with torch.no_grad():
            for held, weight in zip(self._held, self._module.parameters(), strict=True):
                held.lerp_(weight, 1.0 - decay)

    def swap(self) -> None:
        """Exchanges the average with the module's weights."""
        for held, weight in zip(self._held, self._module.parameters(), strict=True):
            last = weight.data.clone()
            weight.data.copy_(held)
            held.copy_(last)


def seeded(seed: int) -> None:
    """Makes torch repeatable and leaves the other cores to others."""
    torch.manual_seed(seed)
    torch.set_num_threads(2)


def train(
    module: Any,
    loss: Loss,
    rows: int,
    recipe: Recipe,
    validate: Callable[[], float] | None = None,
    tell: Callable[[str, float], None] = lambda text, share: None,
) -> int:
    """Trains `module` in place.

    Args:
        module: what is trained; ends with the weights of its best epoch, in eval mode.
        loss: of the rows at some indices, a scalar tensor.
        rows: how many there are.
        recipe: how.
        validate: gives a figure to make small, after each epoch. Without it, all epochs are run.
        tell: hears a text and the share done.

    Returns:
        How many epochs the kept weights have seen.
    """
    rng = np.random.default_rng(recipe.seed)
    optimiser = torch.optim.AdamW(module.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    steps = max(1, -(-rows // recipe.batch))
    average = _Average(module, recipe.averaged)
    best, best_epoch, kept = np.inf, 0, None
    for epoch in range(recipe.epochs):
        module.train()
        order = rng.permutation(rows)
        for step in range(steps):
            done = (epoch + step / steps) / recipe.epochs
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate * (0.5 + 0.5 * np.cos(np.pi * done))
            optimiser.zero_grad(set_to_none=True)
            value = loss(order[step * recipe.batch : (step + 1) * recipe.batch])
            value.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimiser.step()
            if recipe.averaged:
                average.update()
        module.eval()
        if validate is None:
            tell(f"epoch {epoch + 1}", (epoch + 1) / recipe.epochs)
            continue
        if recipe.averaged:
            average.swap()
        with torch.no_grad():
            figure = validate()
        tell(f"epoch {epoch + 1}, validation {figure:.5f}", (epoch + 1) / recipe.epochs)
        if figure < best:
            best, best_epoch, kept = figure, epoch + 1, copy.deepcopy(module.state_dict())
        if recipe.averaged:
            average.swap()
        if epoch + 1 - best_epoch >= recipe.patience:
            break
    if kept is not None:
        module.load_state_dict(kept)
    elif recipe.averaged:
        average.swap()
    module.eval()
    return best_epoch or recipe.epochs
