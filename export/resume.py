"""Resuming: what a training has got after each epoch, so that one that was cut off goes on where it was.

A task may fit several networks one after another; each call of `export.fit.train` within `resumable` has its own file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass
class _Place:
    """Where the fits of one training are kept, and how many have begun."""

    directory: Path
    begun: int = 0


_PLACE: ContextVar[_Place | None] = ContextVar("place", default=None)


@dataclass
class Progress:
    """Of one fit.

    Args:
        key: what was fitted how; another one's file is passed over.
        path: of its file; None keeps nothing.
        state: after the last epoch that was kept; empty at the beginning.
    """

    key: str
    path: Path | None
    state: dict[str, Any] = field(default_factory=dict)

    def save(self, **state: Any) -> None:
        """Keeps the state in place of the last one; a crash leaves one of the two."""
        if self.path is None:
            return
        draft = self.path.with_suffix(".draft")
        torch.save({"key": self.key} | state, draft)
        os.replace(draft, self.path)


@contextmanager
def resumable(directory: Path) -> Iterator[None]:
    """Keeps each fit in the directory, or goes on from what is there; forgets them once all are done."""
    token = _PLACE.set(_Place(directory))
    try:
        yield
        forget(directory)
    finally:
        _PLACE.reset(token)


def forget(directory: Path) -> None:
    """Removes what was kept."""
    for path in directory.glob("fit-*.pt"):
        path.unlink()


def next_fit(key: str) -> Progress:
    """The progress of the next fit; nothing is kept outside `resumable`."""
    place = _PLACE.get()
    if place is None:
        return Progress(key, None)
    path = place.directory / f"fit-{place.begun}.pt"
    place.begun += 1
    state = torch.load(path, weights_only=False) if path.exists() else {}
    return Progress(key, path, state if state.get("key") == key else {})
