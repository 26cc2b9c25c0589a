"""The protocol broken in one rule at a time: which invariant tells, and under which faults it is found soonest."""

from __future__ import annotations

from dataclasses import dataclass

from tests.protocol.invariants import ACKNOWLEDGED, LATEST, ONCE, PROGRESS, SCORE, STATE
from tests.protocol.world import Faults, Rules, Setup

_ONE = ((0, 0),)
_TWO = ((0,), (0,))

CRASH = Setup("a crash", _ONE, Faults(crashes=1))
LOSS = Setup("a loss", _ONE, Faults(losses=1))
MOVED = Setup("a rebalance", _ONE, Faults(rebalances=1))
TORN = Setup("a crash, a time-out", _ONE, Faults(crashes=1, timeouts=1))
SINGLE = Setup("one event: a rebalance", ((0,),), Faults(rebalances=1))
HALF = Setup("two topics: a crash", _TWO, Faults(crashes=1))
TOPICS = Setup("two topics: a loss", _TWO, Faults(losses=1), evicts=True)
ZOMBIE = Setup("a rebalance, a loss", _ONE, Faults(rebalances=1, losses=1))
LOST = Setup("one event: a rebalance, a loss", ((0,),), Faults(rebalances=1, losses=1))
SINGLY = Setup("event by event: a rebalance, a loss", _ONE, Faults(rebalances=1, losses=1), batch=1, evicts=True)
#: Where the whole protocol is looked at to the end.
COMPLETE = (
    CRASH,
    LOSS,
    MOVED,
    SINGLE,
    TORN,
    HALF,
    TOPICS,
    Setup("a crash, a loss", _ONE, Faults(crashes=1, losses=1)),
    Setup("two entities: two losses", ((0, 1, 0),), Faults(losses=2)),
    Setup("repartition: a crash", _ONE, Faults(crashes=1), repartition=True),
    Setup("repartition: a loss", _ONE, Faults(losses=1), repartition=True),
)
#: Too large to be seen to the end in a test: looked at as far as time allows.
DEEP = (
    LOST,
    ZOMBIE,
    SINGLY,
    Setup("one topic: all faults", _ONE, Faults(1, 1, 1, 1)),
    Setup("two topics: all faults", _TWO, Faults(1, 1, 1, 1), evicts=True),
    Setup("repartition: all faults", _ONE, Faults(1, 1, 1, 1), repartition=True),
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
    breaks: str = ""


MUTATIONS = (
    Mutation("the fence's offset is not checked", Rules(fence_offset=False), ZOMBIE, STATE),
    Mutation("neither offset nor epoch is checked", Rules(fence_offset=False, fence_epoch=False), MOVED, STATE),
    Mutation("the epoch alone is not checked", Rules(fence_epoch=False), MOVED),
    Mutation("features are read without the fences", Rules(fences_with_reads="never"), ZOMBIE, STATE),
    Mutation("the fences are read after the features", Rules(fences_with_reads="after"), SINGLY, STATE),
    Mutation("only the micro-batch's fences are read", Rules(fences_with_reads="batch"), TOPICS, SCORE),
    Mutation("nobody watches the fences", Rules(watch_fences=False), LOSS, PROGRESS),
    Mutation("a conflict does not abort", Rules(abort_on_conflict=False), LOSS, ONCE),
    Mutation("caches are kept after a conflict", Rules(forget_on_conflict=False), LOSS, STATE),
    Mutation("a revoke does not abort", Rules(abort_on_revoke=False), MOVED, ONCE),
    Mutation("caches are kept after a revoke", Rules(forget_on_revoke=False), MOVED, STATE),
    Mutation("a micro-batch outlives a revoke", Rules(drop_on_revoke=False), MOVED, ACKNOWLEDGED),
    Mutation("a micro-batch outlives a revoke and a loss", Rules(drop_on_revoke=False), ZOMBIE, STATE),
    Mutation("no group metadata", Rules(metadata="none"), LOST, ONCE),
    Mutation("group metadata of a newer generation", Rules(metadata="newest"), LOST, ONCE),
    Mutation("no group metadata, but no loss", Rules(metadata="none"), MOVED),
    Mutation("nobody ends another owner's transaction", Rules(end_of_owner=False), CRASH),
    Mutation("both at once", Rules(metadata="none", end_of_owner=False), MOVED, ONCE),
    Mutation("K is read while it is unstable", Rules(stable_k=False), CRASH, ONCE),
    Mutation("begin at K", Rules(begin="k"), LOSS, STATE),
    Mutation("begin at R", Rules(begin="r"), CRASH, ACKNOWLEDGED),
    Mutation("events in [K, R) are folded again", Rules(skip_folded=False), CRASH, STATE),
    Mutation("events in [R, K) are published again", Rules(skip_published=False), LOSS, ONCE),
    Mutation("events in [R, K) are not scored", Rules(keep_scores=False), LOSS, LATEST),
    Mutation("no catching up first", Rules(catch_up_first=False), TOPICS, SCORE),
    Mutation("no catching up first, but no loss", Rules(catch_up_first=False), HALF),
    Mutation("the producer is kept after a time-out", Rules(new_producer=False), TORN, ONCE),
    Mutation("step 6 before step 5", Rules(order="465"), CRASH, ACKNOWLEDGED),
    Mutation("step 6 before step 4", Rules(order="564"), HALF),
    Mutation("step 6 before step 4, no catching up first", Rules(order="564", catch_up_first=False), HALF, SCORE),
    Mutation("step 5 before step 4", Rules(order="54"), SINGLE),
)
