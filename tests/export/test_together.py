"""Models made at the same time: each says what it does, and one that fails ends them all."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

from export.errors import UsageError
from export.terminal import bar
from export.together import together


def meet(mine: Path, other: Path) -> None:
    """Comes back once the other one is there as well."""
    mine.touch()
    until = time.monotonic() + 60
    while not other.exists():
        assert time.monotonic() < until, "the other one was not begun"
        time.sleep(0.02)
    with bar(mine.name) as tell:
        tell("has met the other", 0.5)


def refuse(why: str) -> None:
    raise UsageError(why)


def stay(mine: Path) -> None:
    mine.write_text(str(os.getpid()))
    time.sleep(120)


def refuse_after(mine: Path) -> None:
    while not mine.exists() or not mine.read_text():
        time.sleep(0.02)
    refuse("too few orders")


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_two_run_at_the_same_time_and_tell_lines(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    together({"a": partial(meet, a, b), "b": partial(meet, b, a)}, cores=2)
    lines = capfd.readouterr().err.splitlines()
    assert sorted(line.rstrip() for line in lines) == ["a: has met the other, 50%", "b: has met the other, 50%"]


def test_one_core_runs_them_one_after_another_in_this_process(tmp_path: Path) -> None:
    order: list[tuple[str, int]] = []
    together({name: partial(lambda n: order.append((n, os.getpid())), name) for name in ("a", "b")}, cores=1)
    assert order == [("a", os.getpid()), ("b", os.getpid())]


def test_more_than_there_are_cores_wait_their_turn(tmp_path: Path) -> None:
    together({name: partial(Path.touch, tmp_path / name) for name in ("a", "b", "c")}, cores=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_one_that_fails_says_why_and_ends_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    held = tmp_path / "pid"
    with pytest.raises(UsageError, match="reorder has failed"):
        together({"stockout": partial(stay, held), "reorder": partial(refuse_after, held)}, cores=2)
    assert "tidecast-export: too few orders" in capfd.readouterr().err
    assert gone(int(held.read_text()))
    assert "TTY_COMPATIBLE" not in os.environ
