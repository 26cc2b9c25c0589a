"""The protocol as it should be has no violation; each rule that is broken is told by the invariant it carries."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.protocol.explore import Result, Search
from tests.protocol.invariants import STATE
from tests.protocol.mutations import COMPLETE, CRASH, DEEP, MUTATIONS, ZOMBIE, Mutation
from tests.protocol.world import Rules, Setup

BROKEN = [m for m in MUTATIONS if m.breaks]
HARMLESS = [m for m in MUTATIONS if not m.breaks]
PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"


@functools.cache
def protocol(setup: Setup) -> Result:
    """What a search finds, once for all tests."""
    return Search(setup, Rules(), max_states=3_000 if setup in DEEP else None).run()


@functools.cache
def mutated(mutation: Mutation) -> Result:
    """What a search finds, once for all tests."""
    return Search(mutation.setup, mutation.rules, max_states=30_000).run()


@pytest.mark.parametrize("setup", COMPLETE, ids=lambda s: s.name)
def test_no_interleaving_breaks_the_protocol(setup: Setup) -> None:
    result = protocol(setup)
    assert result.complete
    assert not result.invariant, str(result)
    assert result.states > 500


@pytest.mark.parametrize("setup", DEEP, ids=lambda s: s.name)
def test_nothing_breaks_it_as_far_as_was_looked(setup: Setup) -> None:
    result = protocol(setup)
    assert not result.invariant, str(result)
    assert result.states >= 3_000
    assert result.depth >= 8


@pytest.mark.parametrize("mutation", BROKEN, ids=lambda m: m.name)
def test_a_broken_rule_is_found(mutation: Mutation) -> None:
    assert mutated(mutation).invariant == mutation.breaks, str(mutated(mutation))


@pytest.mark.parametrize("mutation", HARMLESS, ids=lambda m: m.name)
def test_a_rule_that_another_one_backs_can_be_broken(mutation: Mutation) -> None:
    assert mutated(mutation).complete
    assert not mutated(mutation).invariant, str(mutated(mutation))


def test_what_is_found_is_the_mutation_and_not_the_protocol() -> None:
    assert {m.setup for m in MUTATIONS} <= {*COMPLETE, *DEEP}
    assert all(m.rules != Rules() for m in MUTATIONS)


def test_epochs_that_are_never_repeated_do_not_replace_reading_fences_with_features() -> None:
    result = Search(ZOMBIE, Rules(fences_with_reads="never", unique_claims=True), max_states=30_000).run()
    assert result.invariant == STATE, str(result)


def test_workers_crash_between_any_two_steps() -> None:
    crashes = {told.partition(" crashes ")[2] for told in protocol(CRASH).told if " crashes " in told}
    assert {f"before step {n}" for n in (4, 5, 6)} < crashes
    assert {"in step 6", "between micro-batches", "while it reads K and R"} < crashes


def test_whatever_may_happen_does() -> None:
    told = "\n".join(move for setup in (*COMPLETE, *DEEP) for move in protocol(setup).told)
    for move in (
        "the partitions are worker 2's",
        "hears that its partitions are revoked",
        "starts again with its transactional id",
        "starts again with another transactional id",
        "forsaken, times out: aborted",
        "times out under worker 1: aborted",
        "EndTxn of transaction 1 is lost",
        "hears nothing of EndTxn",
        "refused, the generation is over",
        "the store is wiped",
        "failover",
        "step 2: fence conflict",
        "step 4: fence conflict",
        "step 5: its transaction was aborted",
        "not where it left them",
        "a newer owner, stops",
        "its claim is lost",
        "evicts",
    ):
        assert move in told, move


def test_a_search_ends_at_its_depth() -> None:
    result = Search(CRASH, Rules(), max_depth=7).run()
    assert (result.depth, result.complete) == (7, False)
    assert str(result).endswith("all interleavings of 7 moves: no violation")


def test_a_trace_can_be_followed_by_people() -> None:
    told = str(mutated(next(m for m in MUTATIONS if m.name == "step 6 before step 5"))).splitlines()
    assert told[0].endswith("'acknowledged' is broken")
    assert told[2].strip() == "1 worker 1 is assigned the partitions"
    assert [line.split("step")[1].lstrip("s ")[:1] for line in told if " step" in line] == ["1", "4", "6"]
    assert told[-1].strip() == "→ K is 1, and the line of event 0:0 was never published"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_the_page_tells_what_is_found(mutation: Mutation) -> None:
    found = f"{mutation.breaks} | {len(mutated(mutation).trace)} |" if mutation.breaks else "none |"
    assert f"| {mutation.name} | {found}" in PAGE.read_text(encoding="utf-8")
