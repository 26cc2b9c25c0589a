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
    """

    epochs: int
    batch: int
    rate: float
    decay: float = 1e-4
    patience: int = 3
    seed: int = 7


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
        module.eval()
        if validate is None:
            tell(f"epoch {epoch + 1}", (epoch + 1) / recipe.epochs)
            continue
        with torch.no_grad():
            figure = validate()
        tell(f"epoch {epoch + 1}, validation {figure:.5f}", (epoch + 1) / recipe.epochs)
        if figure < best:
            best, best_epoch, kept = figure, epoch + 1, copy.deepcopy(module.state_dict())
        elif epoch + 1 - best_epoch >= recipe.patience:
            break
    if kept is not None:
        module.load_state_dict(kept)
    module.eval()
    return best_epoch or recipe.epochs
