"""The protocol as it should be has no violation; each rule that is broken is told by the invariant it carries."""

from __future__ import annotations

import pytest

from tests.protocol.explore import Search
from tests.protocol.invariants import STATE
from tests.protocol.mutations import COMPLETE, DEEP, MUTATIONS, ZOMBIE, Mutation
from tests.protocol.world import Rules, Setup

BROKEN = [m for m in MUTATIONS if m.breaks]
HARMLESS = [m for m in MUTATIONS if not m.breaks]


@pytest.mark.parametrize("setup", COMPLETE, ids=lambda s: s.name)
def test_no_interleaving_breaks_the_protocol(setup: Setup) -> None:
    result = Search(setup, Rules()).run()
    assert result.complete
    assert not result.invariant, str(result)
    assert result.states > 1_000


@pytest.mark.parametrize("setup", DEEP, ids=lambda s: s.name)
def test_nothing_breaks_it_as_far_as_was_looked(setup: Setup) -> None:
    result = Search(setup, Rules(), max_states=60_000).run()
    assert not result.invariant, str(result)
    assert result.states >= 60_000


@pytest.mark.parametrize("mutation", BROKEN, ids=lambda m: m.name)
def test_a_broken_rule_is_found(mutation: Mutation) -> None:
    result = Search(mutation.setup, mutation.rules, max_states=60_000).run()
    assert result.invariant == mutation.breaks, str(result)


@pytest.mark.parametrize("mutation", BROKEN, ids=lambda m: m.name)
def test_it_is_the_mutation_that_is_found(mutation: Mutation) -> None:
    result = Search(mutation.setup, Rules(), max_states=30_000).run()
    assert not result.invariant, str(result)


@pytest.mark.parametrize("mutation", HARMLESS, ids=lambda m: m.name)
def test_a_second_line_is_not_what_carries_it(mutation: Mutation) -> None:
    result = Search(mutation.setup, mutation.rules).run()
    assert result.complete
    assert not result.invariant, str(result)


def test_epochs_that_are_never_repeated_do_not_replace_reading_fences_with_features() -> None:
    rules = Rules(fences_with_reads=False, check_all_fences=True, unique_claims=True)
    result = Search(ZOMBIE, rules, max_states=60_000).run()
    assert result.invariant == STATE, str(result)


def test_a_trace_can_be_followed_by_people() -> None:
    mutation = next(m for m in MUTATIONS if m.name == "step 6 before the records of step 4")
    told = str(Search(mutation.setup, mutation.rules).run())
    assert "'acknowledged' is broken" in told
    assert told.splitlines()[2].strip() == "1 worker 1 is assigned the partitions"
    assert told.endswith("K is 1, and the line of event 0 was never published")
