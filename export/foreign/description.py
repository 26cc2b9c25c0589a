"""The description of a foreign model: m.toml, written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from export.errors import UsageError
from features.vectors import contract
from models.manifest import TASKS, VERSION

#: The task of each model that the engine runs.
NAMES: Mapping[str, Literal["reorder", "stockout", "next_best_offer"]] = {
    "reorder": "reorder",
    "stockout": "stockout",
    "next-best-offer": "next_best_offer",
}


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Tidecast must know of a model.

    Args:
        name: which model it takes the place of.
        version: dotted; newer sorts later. A variant is told behind a plus.
        data: what it was trained on.
        features: the columns of its feature input, in its order; all of the vector's where empty.
        unknown: what it is given where a feature is unknown, by feature; 0 where nothing is said. Also the reference
            from which contributions are counted.
        inputs: how it calls the graph's inputs, where it calls them otherwise.
        outputs: how it calls the graph's outputs, or their places where it gives a tuple. One that has no
            `contributions` gets some.
        licence: of the model. data_licence: of the data.
        trained_from, trained_until: dates of the data.
        limits: for what it must not be used; goes into the card.
    """

    name: Literal["reorder", "stockout", "next-best-offer"]
    version: Annotated[str, Meta(pattern=VERSION)]
    data: str
    features: list[str] = []
    unknown: dict[str, float] = {}
    inputs: dict[str, str] = {}
    outputs: dict[str, str | int] = {}
    licence: str = "unknown"
    data_licence: str = "unknown"
    trained_from: str = "unknown"
    trained_until: str = "unknown"
    rows: int = 0
    seed: int = 0
    limits: str = "Its maker has told no limits."

    @property
    def task(self) -> Literal["reorder", "stockout", "next_best_offer"]:
        """The graph contract, a key of `models.manifest.TASKS`."""
        return NAMES[self.name]

    @property
    def columns(self) -> list[str]:
        """The columns of its feature input."""
        return self.features or list(contract(self.task).features)


def read_description(path: Path) -> Description:
    """Reads and checks m.toml.

    Raises:
        UsageError: it is missing, is no TOML, or names something that there is not.
    """
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=Description)
    except FileNotFoundError as error:
        raise UsageError(f"{path} is missing; docs/tutorial-own-model.md has one to copy") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    inputs, outputs = TASKS[found.task]
    for what, given, there in (
        ("features", found.columns, contract(found.task).features),
        ("unknown", found.unknown, found.columns),
        ("inputs", found.inputs, inputs),
        ("outputs", found.outputs, outputs),
    ):
        if strange := [name for name in given if name not in there]:
            raise UsageError(
                f"{path}: {what}: there is no {strange[0]!r} in {found.name}; there are {', '.join(there)}"
            )
    if twice := {name for name in found.columns if found.columns.count(name) > 1}:
        raise UsageError(f"{path}: features: {sorted(twice)[0]!r} comes twice")
    return found
