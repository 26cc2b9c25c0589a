"""The protocol broken in one rule at a time: which invariant tells, and under which faults it is found soonest."""

from __future__ import annotations

from dataclasses import dataclass

from tests.protocol.invariants import ACKNOWLEDGED, ONCE, PROGRESS, SCORE, STATE
from tests.protocol.world import Rules, Setup

_ONE = ((0, 0),)
_TWO = ((0,), (0,))

CRASH = Setup("a crash", _ONE, faults=(1, 0, 0, 0))
LOSS = Setup("a store that loses", _ONE, faults=(0, 0, 1, 0))
CUT = Setup("a broker that does not answer", _ONE, faults=(0, 0, 0, 1))
MOVED = Setup("a rebalance", _ONE, faults=(0, 1, 0, 0))
ZOMBIE = Setup("a rebalance and a store that loses", _ONE, faults=(0, 1, 1, 0))
TOPICS = Setup("two topics and a store that loses", _TWO, faults=(0, 0, 1, 0))
HALF = Setup("two topics and a crash", _TWO, faults=(1, 0, 0, 0))
TORN = Setup("a broker that does not answer, and a crash", _ONE, faults=(1, 0, 0, 1), batch=1)
#: Where the whole protocol is looked at to the end.
COMPLETE = (
    Setup("one topic: a crash, a loss, a time-out", _ONE, faults=(1, 0, 1, 1)),
    Setup("one topic: a rebalance, a time-out", _ONE, faults=(0, 1, 0, 1)),
    Setup("one topic, three events of two entities: two losses", ((0, 1, 0),), faults=(0, 0, 2, 0), evicts=True),
    Setup("two topics: a crash, a loss", _TWO, faults=(1, 0, 1, 0), evicts=True),
    Setup("repartition: a crash, a loss, a time-out", _ONE, repartition=True, faults=(1, 0, 1, 1)),
)
#: Too large to be seen to the end in a test: looked at as far as time allows.
DEEP = (
    ZOMBIE,
    Setup("one topic: all faults", _ONE, faults=(1, 1, 1, 1)),
    Setup("two topics: a rebalance, a loss", _TWO, faults=(0, 1, 1, 0), evicts=True),
    Setup("repartition: all faults", _ONE, repartition=True, faults=(1, 1, 1, 1)),
)


@dataclass(frozen=True)
class Mutation:
    """A rule that is broken.

    Args:
        name: what is done wrong.
        rules: the protocol with that.
        setup: where it is looked for.
        breaks: the invariant that tells; empty: none does, and docs/protocol.md says why.
    """

    name: str
    rules: Rules
    setup: Setup
    breaks: str


MUTATIONS = (
    Mutation("the fence's offset is not checked", Rules(fence_offset=False), ZOMBIE, STATE),
    Mutation("neither offset nor epoch is checked", Rules(fence_offset=False, fence_epoch=False), MOVED, STATE),
    Mutation("features are read without their fences", Rules(fences_with_reads=False), ZOMBIE, STATE),
    Mutation(
        "step 5 after step 6, no catching up", Rules(store_before_commit=False, catch_up_first=False), HALF, SCORE
    ),
    Mutation("step 6 before the records of step 4", Rules(records_before_commit=False), CRASH, ACKNOWLEDGED),
    Mutation("no group metadata", Rules(metadata="none"), MOVED, ONCE),
    Mutation("group metadata of a newer generation", Rules(metadata="newest"), MOVED, ONCE),
    Mutation("K is read while it is unstable", Rules(stable_k=False), LOSS, ONCE),
    Mutation("caches are kept after a revoke", Rules(forget_on_revoke=False), ZOMBIE, STATE),
    Mutation("a revoke does not abort", Rules(abort_on_revoke=False), MOVED, ONCE),
    Mutation("begin at K", Rules(begin="k"), LOSS, STATE),
    Mutation("begin at R", Rules(begin="r"), CUT, ACKNOWLEDGED),
    Mutation("events in [K, R) are folded again", Rules(skip_folded=False), CUT, STATE),
    Mutation("events in [R, K) are published again", Rules(skip_published=False), LOSS, ONCE),
    Mutation("the producer is kept after a time-out", Rules(new_producer=False), TORN, ONCE),
    Mutation("no catching up first", Rules(catch_up_first=False), TOPICS, SCORE),
    Mutation("nobody watches the fences", Rules(watch_fences=False), LOSS, PROGRESS),
    Mutation("no catching up, and no loss", Rules(catch_up_first=False), HALF, ""),
    Mutation("step 5 after step 6 alone", Rules(store_before_commit=False), HALF, ""),
    Mutation("the epoch alone is not checked in step 5", Rules(fence_epoch=False), MOVED, ""),
)
