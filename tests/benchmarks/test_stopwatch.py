from __future__ import annotations

import pytest

from benchmarks.stopwatch import REST, Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the thread has spent; the last is now."""
    spent = [0]
    monkeypatch.setattr("benchmarks.stopwatch.time.thread_time_ns", lambda: spent[-1])
    return spent


def test_every_moment_counts_to_the_innermost_stage(clock: list[int]) -> None:
    def work(ns: int) -> None:
        clock.append(clock[-1] + ns)

    watch = Stopwatch()
    inner = watch.around("inner", work)

    def outer() -> None:
        work(5)
        inner(20)
        work(1)

    timed = watch.around("outer", outer)
    work(100)
    timed()
    timed()
    profile = watch.profile()
    assert {stage: round(s * 1e9) for stage, s in profile.seconds.items()} == {REST: 100, "outer": 12, "inner": 40}
    assert profile.entered == {"outer": 2, "inner": 2}


def test_an_error_ends_its_stage(clock: list[int]) -> None:
    def fail() -> None:
        clock.append(clock[-1] + 7)
        raise ValueError("on purpose")

    watch = Stopwatch()
    with pytest.raises(ValueError, match="on purpose"):
        watch.around("stage", fail)()
    clock.append(clock[-1] + 3)
    assert {stage: round(s * 1e9) for stage, s in watch.profile().seconds.items()} == {REST: 3, "stage": 7}


def test_a_part_that_is_gone_is_named() -> None:
    with pytest.raises(AttributeError, match="no_such_part"):
        Stopwatch().wrap("stage", "stream.decode:no_such_part")
