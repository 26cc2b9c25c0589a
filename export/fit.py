"""The training loop: AdamW in mini-batches, a rate that ramps down, early stopping on validation, seeded, resumable."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.resume import next_fit

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
    """Makes torch repeatable, on one core: small networks gain little by a second, and lose a lot where it is busy."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)


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
    run = _Run(module, optimiser, rng)
    progress = next_fit(f"{recipe}, {rows} rows, {sum(p.numel() for p in module.parameters())} weights")
    if progress.state:
        run.restore(progress.state)
        tell(f"going on after epoch {run.epoch}", run.epoch / recipe.epochs)
    while run.epoch < recipe.epochs and run.epoch - run.best_epoch < (recipe.patience if validate else recipe.epochs):
        _epoch(run, loss, rows, recipe)
        run.epoch += 1
        told = f"epoch {run.epoch}"
        if validate is not None:
            told += f", validation {run.judge(validate):.5f}"
        tell(told, run.epoch / recipe.epochs)
        progress.save(**run.state())
    if run.kept is not None:
        module.load_state_dict(run.kept)
    module.eval()
    return run.best_epoch or recipe.epochs


class _Run:
    """A training under way."""

    def __init__(self, module: Any, optimiser: Any, rng: np.random.Generator) -> None:
        self.module, self.optimiser, self.rng = module, optimiser, rng
        self.epoch = self.best_epoch = 0
        self.best = np.inf
        self.kept: dict[str, Any] | None = None

    def judge(self, validate: Callable[[], float]) -> float:
        """Validates, and keeps the weights if they are the best so far."""
        with torch.no_grad():
            figure = validate()
        if figure < self.best:
            self.best, self.best_epoch = figure, self.epoch
            self.kept = copy.deepcopy(self.module.state_dict())
        return figure

    def state(self) -> dict[str, Any]:
        """What `restore` goes on from."""
        return {
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "orders": self.rng.bit_generator.state,
            "torch": torch.get_rng_state(),
            "epochs": (self.epoch, self.best_epoch, self.best, self.kept),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.bit_generator.state = state["orders"]
        torch.set_rng_state(state["torch"])
        self.epoch, self.best_epoch, self.best, self.kept = state["epochs"]


def _epoch(run: _Run, loss: Loss, rows: int, recipe: Recipe) -> None:
    """All rows once, in a new order; the rate falls as half a cosine over all epochs."""
    steps = max(1, -(-rows // recipe.batch))
    run.module.train()
    order = run.rng.permutation(rows)
    for step in range(steps):
        done = (run.epoch + step / steps) / recipe.epochs
        for group in run.optimiser.param_groups:
            group["lr"] = recipe.rate * (0.5 + 0.5 * np.cos(np.pi * done))
        run.optimiser.zero_grad(set_to_none=True)
        value = loss(order[step * recipe.batch : (step + 1) * recipe.batch])
        value.backward()
        torch.nn.utils.clip_grad_norm_(run.module.parameters(), 5.0)
        run.optimiser.step()
    run.module.eval()
