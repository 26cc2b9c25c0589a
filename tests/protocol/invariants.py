"""What must hold, by name; `check` gives the first that does not, in words."""

from __future__ import annotations

from collections.abc import Callable

from tests.protocol.world import Setup, World, inputs

#: An invariant's name: of a breach, in a report and in the tests.
STATE = "state"
ONCE = "once"
SCORE = "score"
ACKNOWLEDGED = "acknowledged"
PROGRESS = "progress"


def check(setup: Setup, world: World) -> tuple[str, str] | None:
    """The name of the first invariant that is broken, and what is wrong; None where all hold."""
    for name, invariant in _EVERYWHERE:
        wrong = invariant(setup, world)
        if wrong:
            return name, wrong
    if quiescent(setup, world):
        wrong = _complete(setup, world)
        if wrong:
            return ONCE, wrong
        wrong = _scores(setup, world)
        if wrong:
            return SCORE, wrong
    return None


def quiescent(setup: Setup, world: World) -> bool:
    """Whether all input is acknowledged and in the store, and no transaction is open."""
    if world.txns:
        return False
    ends = tuple(len(inputs(setup, world, p)) for p in range(setup.partitions))
    return world.k == ends and world.store.fence == ends


def _state(setup: Setup, world: World) -> str:
    """The store holds the fold of what is before its fences: each event once, in order."""
    for p in range(setup.partitions):
        before = inputs(setup, world, p)[: world.store.fence[p]]
        for entity, features in enumerate(world.store.features):
            wanted = tuple(source for e, source in before if e == entity) if setup.folds(p) else ()
            if features[p] != wanted:
                return f"entity {entity} has folded {features[p]} of partition {p}, and not {wanted}"
    return ""


def _no_duplicates(setup: Setup, world: World) -> str:
    """What read_committed sees has nothing twice, and is in the order of the input.

    Decided transactions count: they can only be committed.
    """
    decided = {0} | {t.number for t in world.txns if t.decided}
    newest: dict[tuple[str, int, int], int] = {}
    for entry in world.log:
        of, offset = (entry.kind, entry.entity, entry.source[0]), entry.source[1]
        if entry.txn in decided and newest.get(of, -1) >= offset:
            return f"the {entry.kind} of entity {entry.entity} from {entry.source} is published again"
        if entry.txn in decided:
            newest[of] = offset
    return ""


def _acknowledged(setup: Setup, world: World) -> str:
    """Every line of an event before K is published."""
    decided = {0} | {t.number for t in world.txns if t.decided}
    have = {e.source for e in world.log if e.txn in decided and e.kind == "line"}
    lost = [offset for offset in range(world.k[0]) if (0, offset) not in have]
    return f"K is {world.k[0]}, and the line of event {lost[0]} was never published" if lost else ""


def _complete(setup: Setup, world: World) -> str:
    """At the end, a line for each event."""
    return _acknowledged(setup, world)


def _scores(setup: Setup, world: World) -> str:
    """At the end, the last score of each entity is of its final state."""
    last = {e.entity: e.features for e in world.log if e.kind == "score"}
    for entity, features in enumerate(world.store.features):
        if any(features) and last.get(entity) != features:
            return f"the last score of entity {entity} saw {last.get(entity)}, its state is {features}"
    return ""


_EVERYWHERE: tuple[tuple[str, Callable[[Setup, World], str]], ...] = (
    (STATE, _state),
    (ONCE, _no_duplicates),
    (ACKNOWLEDGED, _acknowledged),
)
