"""Training on prefixes: batches of like lengths, a rate that falls to nothing, and a file an epoch to go on from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.datasets.prefixes import LENGTH, Prefixes
from export.networks.session import SessionNet
from export.nextitem.sampling import Softmax
from export.tasks.base import Tell

#: Rows of a step: few where there are few, so that an epoch has some hundred steps.
_LEAST, _MOST, _STEPS = 64, 512, 300
#: Steps in which the rate rises from nothing, and at most this share of all.
_WARM_STEPS, _WARM_SHARE = 200, 0.05
#: Batches whose rows are sorted by length together.
_POOL = 32


@dataclass(frozen=True, slots=True)
class Stage:
    """A training from some weights to better ones.

    Args:
        name: of its file.
        key: of what it depends on; a file with another key is not gone on from.
        rows: what is learnt.
        seen: how often each product was viewed in them.
        epochs: at most.
        rate: highest learning rate at the largest batch; at smaller ones it is less.
        patience: epochs without a better validation before it stops.
        seed: of the order of rows and of all draws.
    """

    name: str
    key: str
    rows: Prefixes
    seen: NDArray[np.int64]
    epochs: int
    rate: float
    patience: int
    seed: int


@dataclass(slots=True)
class _State:
    """What an epoch leaves: after how many, the best figure, that of which epoch, and its weights."""

    key: str
    done: int
    best: float
    best_epoch: int
    kept: dict[str, Any]
    network: dict[str, Any]
    optimiser: dict[str, Any]


def train(
    network: SessionNet, stage: Stage, directory: Path, validate: Callable[[], float] | None, tell: Tell
) -> tuple[int, float]:
    """Trains in place; goes on after the last epoch that is in the directory.

    Args:
        network: ends with the weights of its best epoch, in eval mode.
        stage: how.
        directory: where its file is.
        validate: gives a figure to make large, after each epoch; without it, the last epoch counts.
        tell: hears a text and the share done.

    Returns:
        The best epoch and its figure; what was broken off and gone on from gives the same weights as what was not.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=stage.rate, fused=True)
    path = directory / f"{stage.name}.pt"
    state = _resumed(path, stage.key, network, optimiser)
    while state.done < stage.epochs and state.done - state.best_epoch < stage.patience:
        _epoch(network, optimiser, stage, state.done, tell)
        figure = float(state.done) if validate is None else _figure(validate)
        state.done += 1
        if figure > state.best:
            state.best, state.best_epoch = figure, state.done
            state.kept = copy.deepcopy(network.state_dict())
        state.network, state.optimiser = network.state_dict(), optimiser.state_dict()
        _save(state, path)
        told = f"epoch {state.done}" + ("" if validate is None else f", validation {figure:.4f}")
        tell(told, state.done / stage.epochs)
    network.load_state_dict(state.kept)
    network.eval()
    return state.best_epoch, state.best


def _figure(validate: Callable[[], float]) -> float:
    with torch.no_grad():
        return validate()


def _resumed(path: Path, key: str, network: SessionNet, optimiser: Any) -> _State:
    if path.exists():
        state = _State(**torch.load(path, weights_only=True))
        if state.key == key:
            network.load_state_dict(state.network)
            optimiser.load_state_dict(state.optimiser)
            return state
    return _State(key, 0, float("-inf"), 0, {}, {}, {})


def _save(state: _State, path: Path) -> None:
    """By way of another file: one that was broken off while it was written is of no use."""
    fields = {name: getattr(state, name) for name in _State.__slots__}
    torch.save(fields, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def _epoch(network: SessionNet, optimiser: Any, stage: Stage, epoch: int, tell: Tell) -> None:
    """One pass; its draws hang on the seed and the epoch alone, not on what was before."""
    network.train()
    torch.manual_seed(stage.seed * 1_000 + epoch)
    loss = Softmax(stage.seen, stage.seed * 1_000 + epoch)
    batch = min(max(len(stage.rows) // _STEPS, _LEAST), _MOST)
    steps = -(-len(stage.rows) // batch)
    warm = min(_WARM_STEPS, 1 + int(_WARM_SHARE * steps * stage.epochs))
    highest = stage.rate * (batch / _MOST) ** 0.5
    for step, rows in enumerate(_batches(stage.rows, batch, np.random.default_rng([stage.seed, epoch]))):
        done = epoch * steps + step
        rate = highest * min(1.0, (done + 1) / warm) * (1.0 - done / (stage.epochs * steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        views = stage.rows.window(rows)
        first = int((views > 0).any(axis=0).argmax())
        value = loss(
            network, torch.from_numpy(views[:, first:]), torch.from_numpy(stage.rows.item[stage.rows.place[rows]])
        )
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        if step % 50 == 0:
            tell(f"epoch {epoch + 1}, step {step} of {steps}", done / (stage.epochs * steps))
    network.eval()


def _batches(rows: Prefixes, batch: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Random rows, those of a batch about equally long: most prefixes are short, and padding costs as much as views."""
    size = np.minimum(rows.place - rows.begin, LENGTH)
    order = rng.permutation(len(rows))
    batches = []
    for begin in range(0, len(order), batch * _POOL):
        pool = order[begin : begin + batch * _POOL]
        pool = pool[np.argsort(size[pool], kind="stable")]
        batches += [pool[i : i + batch] for i in range(0, len(pool), batch)]
    for at in rng.permutation(len(batches)).tolist():
        yield batches[at]
