"""Ticks and their steps, as the log alone decides them."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from stream.ageing import STEPS, Ageing, ageing_of, last_rank, mark_of, rank_of
from stream.clock import Clock, Step, pack, unpack
from stream.errors import UsageError
from stream.settings import load
from stream.topology import CONSUMED
from tests.stream.build import fake_models


def test_a_tick_is_at_the_record_that_moves_the_watermark_across_a_multiple() -> None:
    clock = Clock(newest_ms=25)
    steps = [clock.step_at(0, at, 25, 10) for at in (25, 29, 30, 31, 58, 3)]
    assert steps == [None, None, Step(0, 30, 0), Step(0, 30, 0), Step(0, 50, 0), None]


def test_the_first_record_of_a_partition_is_no_tick() -> None:
    assert Clock().step_at(0, 12_345, 0, 10) is None


@pytest.mark.parametrize("seed", range(5))
def test_ticks_are_those_of_a_naive_count(seed: int) -> None:
    r = random.Random(seed)
    times = [max(1, i * 4 - r.randrange(30)) for i in range(300)]
    clock, found = Clock(), []
    for offset, at in enumerate(times):
        if (step := clock.step_at(offset, at, clock.newest_ms, 7)) is not None:
            found.append((offset, step.tick_ms))
            clock = clock.stepped(step, scored=True, left=False)
        clock = clock.moved(at)
    expected = []
    for offset in range(1, len(times)):
        before, after = max(times[:offset]), max(times[: offset + 1])
        crossed = [t for t in range(before + 1, after + 1) if t % 7 == 0]
        expected += [(offset, crossed[-1])] if crossed else []
    assert found == expected
    assert [step.offset for step in clock.steps] == [offset for offset, _ in expected]


def test_what_is_left_of_a_tick_goes_on_at_the_next_record_until_nothing_is_left() -> None:
    clock = Clock(newest_ms=25)
    first = clock.step_at(7, 31, 25, 10)
    assert first is not None
    clock = clock.stepped(first, scored=True, left=True).moved(31)
    second = clock.step_at(9, 12, 31, 10)
    assert second == Step(9, 30, 1)
    done = clock.stepped(second, scored=False, left=False)
    assert done.step_at(10, 32, 31, 10) is None
    assert done.steps == (first,), "a step that scored nothing has nothing to publish again"


def test_a_newer_tick_takes_over_what_is_left_of_an_older_one() -> None:
    clock = Clock(newest_ms=31, tick_ms=30, following=5)
    assert clock.step_at(7, 42, 31, 10) == Step(7, 40, 0)


def test_a_tick_has_no_more_steps_than_marks_can_tell_apart() -> None:
    clock = Clock(newest_ms=25)
    for offset in range(STEPS):
        step = clock.step_at(offset, 31, clock.newest_ms, 10)
        assert step == Step(offset, 30, offset)
        clock = clock.stepped(step, scored=False, left=True).moved(31)
    assert clock.step_at(STEPS, 31, 31, 10) is None


def test_marks_tell_topics_and_steps_apart_and_never_reach_the_next_time() -> None:
    marks = [mark_of(topic.name, number) for topic in CONSUMED for number in range(STEPS)]
    assert len(set(marks)) == len(marks)
    assert rank_of(5) < rank_of(5, min(marks)) <= rank_of(5, max(marks)) <= last_rank(5) < rank_of(6)


def test_a_clock_is_kept_as_it_is() -> None:
    clock = Clock(2**41, 2**40, 3, (Step(2**62, 2**40, 1), Step(2**62 + 1, 2**40, 2)))
    assert unpack(pack(clock)) == clock
    assert [step.offset for step in clock.since(2**62 + 1).steps] == [2**62 + 1]
    assert clock.since(0) is clock


def test_settings_say_which_scores_age_where_manifests_do_not() -> None:
    manifests = {name: model.manifest for name, model in fake_models().items()}
    assert ageing_of(manifests, load(environ={}).settings) == Ageing()
    flags = ["models.rescore_after_days.next-best-offer=0.5", "worker.rescore_tick_ms=60000"]
    assert ageing_of(manifests, load(flags, environ={}).settings) == Ageing(60_000, {"next-best-offer": 43_200_000})
    with pytest.raises(UsageError, match=r"models.rescore_after_days.reordr: no such model; there are \['next-best"):
        ageing_of(manifests, load(["models.rescore_after_days.reordr=7"], environ={}).settings)


def test_a_setting_of_0_stops_what_a_manifest_asks_for() -> None:
    manifests = {n: replace(m.manifest, rescore_after_days=7.0) for n, m in fake_models().items()}
    settings = load(["models.rescore_after_days.reorder=0"], environ={}).settings
    assert ageing_of(manifests, settings).after_ms == dict.fromkeys(["stockout", "next-best-offer"], 7 * 86_400_000)
