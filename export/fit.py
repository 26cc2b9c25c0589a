"""The training loop: AdamW in mini-batches, a rate that ramps down, early stopping on validation, seeded, resumable."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.resume import next_fit

#: Of the rows at some indices, or of what was made of them.
Loss = Callable[[Any], Any]
Prepare = Callable[[NDArray[np.int64]], Any]


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

    def state(self) -> tuple[int, list[Any]]:
        """What `restore` goes on from."""
        return self._steps, self._held

    def restore(self, state: tuple[int, list[Any]]) -> None:
        self._steps, self._held = state

    def swap(self) -> None:
        """Exchanges the average with the module's weights."""
        for held, weight in zip(self._held, self._module.parameters(), strict=True):
            last = weight.data.clone()
            weight.data.copy_(held)
            held.copy_(last)


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
    prepare: Prepare = lambda at: at,
) -> int:
    """Trains `module` in place.

    Args:
        module: what is trained; ends with the weights of its best epoch, in eval mode.
        loss: of what `prepare` gives, a scalar tensor.
        rows: how many there are.
        recipe: how.
        validate: gives a figure to make small, after each epoch. Without it, all epochs are run.
        tell: hears a text and the share done.
        prepare: makes of the indices of a batch what `loss` needs, where no weight has a part in it. It runs a batch
            ahead, in a thread of its own, without gradients.

    Returns:
        How many epochs the kept weights have seen.
    """
    rng = np.random.default_rng(recipe.seed)
    optimiser = torch.optim.AdamW(module.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    run = _Run(module, optimiser, rng, _Average(module, recipe.averaged) if recipe.averaged else None)
    progress = next_fit(f"{recipe}, {rows} rows, {sum(p.numel() for p in module.parameters())} weights")
    if progress.state:
        run.restore(progress.state)
        tell(f"going on after epoch {run.epoch}", run.epoch / recipe.epochs)
    while run.epoch < recipe.epochs and run.epoch - run.best_epoch < (recipe.patience if validate else recipe.epochs):
        _epoch(run, loss, rows, recipe, prepare)
        run.epoch += 1
        told = f"epoch {run.epoch}"
        if validate is not None:
            told += f", validation {run.judge(validate):.5f}"
        tell(told, run.epoch / recipe.epochs)
        progress.save(**run.state())
    if run.kept is not None:
        module.load_state_dict(run.kept)
    elif run.average is not None:
        run.average.swap()
    module.eval()
    return run.best_epoch or recipe.epochs


class _Run:
    """A training under way."""

    def __init__(self, module: Any, optimiser: Any, rng: np.random.Generator, average: _Average | None) -> None:
        self.module, self.optimiser, self.rng, self.average = module, optimiser, rng, average
        self.epoch = self.best_epoch = 0
        self.best = np.inf
        self.kept: dict[str, Any] | None = None

    def judge(self, validate: Callable[[], float]) -> float:
        """Validates, and keeps the weights if they are the best so far."""
        if self.average is not None:
            self.average.swap()
        with torch.no_grad():
            figure = validate()
        if figure < self.best:
            self.best, self.best_epoch = figure, self.epoch
            self.kept = copy.deepcopy(self.module.state_dict())
        if self.average is not None:
            self.average.swap()
        return figure

    def state(self) -> dict[str, Any]:
        """What `restore` goes on from."""
        return {
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "orders": self.rng.bit_generator.state,
            "torch": torch.get_rng_state(),
            "epochs": (self.epoch, self.best_epoch, self.best, self.kept),
            "average": None if self.average is None else self.average.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.bit_generator.state = state["orders"]
        torch.set_rng_state(state["torch"])
        self.epoch, self.best_epoch, self.best, self.kept = state["epochs"]
        if self.average is not None:
            self.average.restore(state["average"])


def _epoch(run: _Run, loss: Loss, rows: int, recipe: Recipe, prepare: Prepare) -> None:
    """All rows once, in a new order; the rate falls as half a cosine over all epochs."""
    steps = max(1, -(-rows // recipe.batch))
    run.module.train()
    order = run.rng.permutation(rows)
    batches = [order[step * recipe.batch : (step + 1) * recipe.batch] for step in range(steps)]
    for step, batch in enumerate(_prepared(prepare, batches)):
        done = (run.epoch + step / steps) / recipe.epochs
        for group in run.optimiser.param_groups:
            group["lr"] = recipe.rate * (0.5 + 0.5 * np.cos(np.pi * done))
        run.optimiser.zero_grad(set_to_none=True)
        value = loss(batch)
        value.backward()
        torch.nn.utils.clip_grad_norm_(run.module.parameters(), 5.0)
        run.optimiser.step()
        if run.average is not None:
            run.average.update()
    run.module.eval()


def _prepared(prepare: Prepare, batches: Sequence[NDArray[np.int64]]) -> Iterator[Any]:
    """All batches in order. While one is learnt from, a second core makes the next, where there is one."""

    def made(at: NDArray[np.int64]) -> Any:
        with torch.no_grad():  # each thread has a switch of its own for this
            return prepare(at)

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(made, batches[0])
        for batch in batches[1:]:
            ready, ahead = ahead, pool.submit(made, batch)
            yield ready.result()
        yield ahead.result()
