"""What a kind of fault is. Each is one small class in `tests/faults/kinds/`; nothing else needs to know of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from importlib import import_module
from pkgutil import iter_modules
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from tests.faults.scene import Scene


@dataclass(frozen=True)
class Fault(ABC):
    """A fault with all that was drawn for it; its fields are what a plan shows."""

    #: Its name on the command line and in the report.
    kind: ClassVar[str]
    #: One sentence for `--help`.
    doc: ClassVar[str]
    #: How many brokers it needs, and workers at its beginning.
    brokers: ClassVar[int] = 1
    workers: ClassVar[int] = 1
    #: Whether it may happen in one run with another; and whether it needs the fail points of worker 1 for itself.
    mixes: ClassVar[bool] = True
    at_step: ClassVar[bool] = False
    #: Whether the store may lose what it had.
    loses: ClassVar[bool] = False
    #: How many of a round of seeds have it first.
    weight: ClassVar[int] = 1

    @classmethod
    @abstractmethod
    def draw(cls, random: Random, turn: int) -> Fault:
        """One of its kind; `turn` counts up from seed to seed, for what must all have its turn."""

    def prepare(self, scene: Scene) -> None:
        """Before there is any worker: settings and relays."""
        return

    @abstractmethod
    def strike(self, scene: Scene) -> None:
        """Its moment has come; traffic flows while `scene.pause` and `scene.until` wait."""

    def heal(self, scene: Scene) -> None:
        """Traffic is over: what must be well again for the run to end."""
        return

    @property
    def face(self) -> str:
        """What a set of runs that covers everything must have once: the kind, with the step that it strikes at."""
        return self.kind

    def told(self) -> dict[str, Any]:
        """What a plan shows of it."""
        return {"kind": self.kind, **asdict(self)}


def kinds() -> dict[str, type[Fault]]:
    """Every kind there is, by name, in the order of names."""
    package = import_module("tests.faults.kinds")
    for module in iter_modules(package.__path__, f"{package.__name__}."):
        import_module(module.name)
    return {fault.kind: fault for fault in sorted(_leaves(Fault), key=lambda f: f.kind)}  # type: ignore[type-abstract]


def _leaves(fault: type[Fault]) -> list[type[Fault]]:
    return [leaf for sub in fault.__subclasses__() for leaf in (_leaves(sub) or [sub])]
