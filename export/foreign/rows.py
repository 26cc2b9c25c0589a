"""Rows to try a foreign model with: those of the released model's golden file, mixed, since nobody gave others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import UsageError
from export.foreign.description import Description
from models.manifest import TASKS, versions

Arrays = dict[str, NDArray[Any]]

_SHIPPED = Path(__file__).parents[2] / "models" / "artifacts"
#: How far a value is moved: by a factor around 1.
_SPREAD = 0.3


class GoldenRows:
    """Inputs of a task's graph.

    Args:
        told: of which model.
        released: a directory of released models; the newest one's golden rows are taken.
    """

    def __init__(self, told: Description, released: Path | None = None) -> None:
        registry = released or _SHIPPED
        known = [v for v in versions(registry, told.name) if (registry / told.name / v / "golden.npz").exists()]
        if not known:
            raise UsageError(f"there is no released {told.name} in {registry} whose rows could be taken")
        with np.load(registry / told.name / known[-1] / "golden.npz") as file:
            self._rows = {name.removeprefix("in."): file[name] for name in file.files if name.startswith("in.")}
        self._kinds = {name: kind for name, kind in TASKS[told.task][0].items() if name in self._rows}

    def __call__(self, rows: int, seed: int) -> Arrays:
        """So many of them, drawn with replacement, each value moved a little; what is shared stays."""
        random = np.random.default_rng(seed)
        first = next(iter(self._kinds))
        pick = random.integers(len(self._rows[first]), size=rows)
        axis = self._kinds[first].split("[")[1][0]
        out = {}
        for name, kind in self._kinds.items():
            array = self._rows[name]
            if kind.split("[")[1][0] == axis:
                array = array[pick]
                if name == first:
                    array = (array * np.exp(random.normal(0.0, _SPREAD, array.shape))).astype(array.dtype)
            out[name] = array
        return out
