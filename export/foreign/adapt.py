"""Adapting: a foreign module in the shape of its task's graph contract (`models.manifest.TASKS`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from export.errors import UsageError
from export.foreign.description import Description
from export.networks.telescope import contributions
from features.vectors import contract
from models.manifest import OPTIONAL, TASKS, tensors_of

_CONTRIBUTIONS = "contributions"
#: The output that contributions are of, as the engine's reasons mean it.
_EXPLAINED = {"reorder": "probability", "stockout": "demand_quantiles"}
_MEDIAN = 1
_ALMOST = 1e-6


class Adapted(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Takes the task's inputs by position and gives its outputs.

    Features are put into the module's order; unknown ones (NaN) become what the description says.

    Args:
        module: takes and gives what the description says.
        told: the description.
        given: the outputs that the module has, by name, with their places where it gives a tuple.
    """

    columns: Any
    unknown: Any

    def __init__(self, module: Any, told: Description, given: Mapping[str, str | int]) -> None:
        super().__init__()
        self.module, self.task, self.given = module, told.task, dict(given)
        #: What is optional and neither it has nor is made for it.
        self.lacks = OPTIONAL[told.task] - given.keys() - told.inputs.keys() - ({_CONTRIBUTIONS})
        wanted, self.gives = tensors_of(told.task, self.lacks)
        self.named = {name: told.inputs.get(name, name) for name in wanted} if told.inputs else {}
        #: What the graph's outputs are made of: a module may work in another precision.
        self.kinds = {name: getattr(torch, kind.partition("[")[0]) for name, kind in self.gives.items()}
        #: Kinds of the inputs behind the features, and which of them have no row each.
        self.behind = list(wanted.values())[1:]
        self.shared = ["[n" not in kind for kind in self.behind]
        every = contract(told.task).features
        self.width = len(every)
        self.register_buffer("columns", torch.tensor([every.index(name) for name in told.columns]))
        self.register_buffer("unknown", torch.tensor([told.unknown.get(name, 0.0) for name in told.columns]))

    def _of(self, name: str, features: Any, others: tuple[Any, ...]) -> Any:
        """One output of the module."""
        inputs = (features, *others)
        out = self.module(**dict(zip(self.named.values(), inputs, strict=True))) if self.named else self.module(*inputs)
        place: Any = self.given[name]
        found = out[place] if isinstance(out, (Mapping, tuple, list)) else out
        return found.to(self.kinds[name])

    def score(self, features: Any, others: tuple[Any, ...]) -> Any:
        """What contributions are of: log-odds of the longest horizon, or log1p of the median demand; (n,)."""
        out = self._of(_EXPLAINED[self.task], features, others)
        if self.task == "stockout":
            return torch.log1p(out[:, _MEDIAN].clamp_min(0.0))
        return torch.logit(out[:, -1], eps=_ALMOST)

    def _contributions(self, features: Any, others: tuple[Any, ...]) -> Any:
        def score(rows: Any, times: int) -> Any:
            repeated = zip(others, self.shared, strict=True)
            return self.score(rows, tuple(o if same else o.repeat_interleave(times, dim=0) for o, same in repeated))

        found = contributions(score, features, self.unknown)
        wide = torch.zeros(features.shape[0], self.width, dtype=found.dtype)
        return wide.index_copy(1, self.columns, found)

    def _known(self, features: Any) -> Any:
        known = features[:, self.columns].clamp(-1e30, 1e30)
        return torch.where(torch.isnan(known), self.unknown, known)

    def answers(self, features: Any, *others: Any) -> Any:
        """What the module itself says first."""
        return self._of(next(iter(self.given)), self._known(features), others)

    def forward(self, features: Any, *others: Any) -> tuple[Any, ...]:
        """The graph."""
        known, out = self._known(features), []
        for name in self.gives:
            made = name == _CONTRIBUTIONS and name not in self.given
            out.append(self._contributions(known, others) if made else self._of(name, known, others))
        return tuple(out)

    def train(self, mode: bool = True) -> Any:
        """It stays as it was opened: a program of torch.export has no other way to be."""
        return self

    @property
    def baseline(self) -> float:
        """The score at the reference, where every contribution is 0.

        It hangs on the other inputs too: told is that of a demand over 7 days, and of who has bought nothing lately.
        """
        if self.task == "next_best_offer":
            return 0.0
        with torch.no_grad():
            return float(self.score(self.unknown[None, :], self._plain_others()))

    def _plain_others(self) -> tuple[Any, ...]:
        """One row of the inputs behind the features."""
        if self.task == "stockout":
            return torch.tensor([7.0]), torch.zeros(1), torch.tensor([0.95])
        return tuple(_blank(kind) for kind in self.behind)


def _blank(kind: str) -> Any:
    """One row of a tensor of which nothing is known.

    >>> _blank("int64[b, 4]").tolist(), _blank("float32[n]").isnan().tolist()
    ([[0, 0, 0, 0]], [True])
    """
    name, _, axes = kind[:-1].partition("[")
    size = [int(axis) if axis.isdigit() else 1 for axis in axes.split(", ")]
    dtype = getattr(torch, name)
    return torch.full(size, torch.nan if dtype.is_floating_point else 0, dtype=dtype)


def adapt(module: Any, told: Description) -> Adapted:
    """A foreign module as its task's graph.

    Raises:
        UsageError: it lacks an output that cannot be made for it.
    """
    outputs = list(TASKS[told.task][1])
    made = {_CONTRIBUTIONS} if told.task in _EXPLAINED else set()
    extra = made | OPTIONAL[told.task]
    names = [name for name in outputs if (name in told.outputs if told.outputs else name not in extra)]
    if missing := [name for name in outputs if name not in names and name not in extra]:
        raise UsageError(f"outputs: {told.name} must give {missing[0]!r} ({TASKS[told.task][1][missing[0]]})")
    given = {name: told.outputs.get(name, place) for place, name in enumerate(names)}
    return Adapted(module, told, given)
