"""The work directory: what one step leaves for the next."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from export.errors import UsageError
from export.split import Split

Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")


class Origin(msgspec.Struct, frozen=True):
    """What a data set was made from, and the features that it has.

    `hours_events` is the log of the hours where that is another one.
    """

    model: str
    events: str
    seed: int
    rows: int
    split: Split
    hours_events: str | None = None
    columns: list[str] = []


@dataclass(frozen=True, slots=True)
class Work:
    """Files of one model under way: dataset.npz, origin.json, checkpoint.pt, metrics.json, model.onnx, parity.json."""

    model: str
    directory: Path

    def path(self, name: str, step: str | None = None) -> Path:
        """A file that an earlier step has written.

        Raises:
            UsageError: it is not there; says which step to run.
        """
        found = self.directory / name
        if step is not None and not found.exists():
            raise UsageError(f"{found} is missing; run `tidecast-export {step} {self.model}` first")
        return found

    def save_dataset(self, arrays: Arrays, origin: Origin) -> None:
        """Writes rows and where they come from."""
        self.directory.mkdir(parents=True, exist_ok=True)
        contents: Any = arrays
        np.savez(self.directory / "dataset.npz", **contents)
        self.save("origin.json", origin)

    def dataset(self) -> tuple[Arrays, Origin]:
        """Reads them back."""
        with np.load(self.path("dataset.npz", "dataset")) as file:
            return {name: file[name] for name in file.files}, self.load("origin.json", "dataset", Origin)

    def is_of(
        self,
        events: Path,
        hours_events: Path | None = None,
        test_from_ms: int | None = None,
        seed: int | None = None,
        columns: list[str] | None = None,
    ) -> bool:
        """Whether there is a data set here that was made from these events as they are now, with the test beginning
        then, by this seed, and with these features; None takes any.
        """
        made = self.directory / "dataset.npz"
        if not (made.exists() and (self.directory / "origin.json").exists()):
            return False
        origin = self.load("origin.json", "dataset", Origin)
        also = None if hours_events is None else str(hours_events)
        same = (origin.events, origin.hours_events) == (str(events), also) and seed in (None, origin.seed)
        same = same and columns in (None, origin.columns)
        logs = [directory for directory in (events, hours_events) if directory is not None and directory.is_dir()]
        newest = max((file.stat().st_mtime for log in logs for file in log.iterdir()), default=0.0)
        return same and test_from_ms in (None, origin.split.test_from_ms) and newest <= made.stat().st_mtime

    def save(self, name: str, value: Any) -> None:
        """Writes a record as JSON, indented."""
        (self.directory / name).write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")

    def load(self, name: str, step: str, kind: type[T]) -> T:
        """Reads a record that `step` wrote."""
        return msgspec.json.decode(self.path(name, step).read_bytes(), type=kind)

    def save_network(self, network: Any) -> None:
        """Writes the weights."""
        torch.save(network.state_dict(), self.directory / "checkpoint.pt")

    def network(self, fresh: Any) -> Any:
        """Reads the weights into a fresh network, ready to run.

        Raises:
            UsageError: they are of a network that is made otherwise, or of none.
        """
        path = self.path("checkpoint.pt", "train")
        try:
            fresh.load_state_dict(torch.load(path, weights_only=True))
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise UsageError(
                f"{path} does not fit this version's {self.model}: it was trained by another version, or is broken; "
                f"run `tidecast-export train {self.model}` again"
            ) from error
        return fresh.eval()
