"""`make models`: each shipped model has a work directory of its own, and is released with its own version and text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from export import wholecommands
from export.releases import RELEASES


def test_each_model_is_made_and_released_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs, out, into = tmp_path / "logs", tmp_path / "out", tmp_path / "into"
    learnt: list[tuple[str, Path, Path]] = []
    released: list[tuple[str, Path, str, str]] = []

    def together(jobs: Mapping[str, Callable[[], None]]) -> None:
        for job in jobs.values():
            assert isinstance(job, partial)
            model, events, work = job.args[:3]
            learnt.append((model, events, work))

    def release(
        model: str, events: Path, work: Path, into: Path, version: str, data: str, licence: str, text: Path
    ) -> None:
        assert (model, events, work) in learnt
        released.append((model, into, version, text.stem))

    monkeypatch.setattr(wholecommands, "together", together)
    for step in ("quantize", "benchmark"):
        monkeypatch.setattr(wholecommands, step, lambda model, events, work: None)
    monkeypatch.setattr(wholecommands, "release", release)
    wholecommands.shipped(logs, out, into)
    assert len({work for _, _, work in learnt}) == len(RELEASES)
    assert {(events.parent, work.parent) for _, events, work in learnt} == {(logs, out)}
    assert sorted(released) == sorted((one.model, into, one.version, one.key) for one in RELEASES)
    learnt.clear()
    released.clear()
    wholecommands.shipped(logs, out, into, model=["reorder"])
    assert [version for _, _, version, _ in released] == [one.version for one in RELEASES if one.model == "reorder"]
