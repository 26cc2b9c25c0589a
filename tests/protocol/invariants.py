"""What must hold, by name; `check` gives the first that does not, in words."""

from __future__ import annotations

from collections.abc import Callable

from tests.protocol.world import Entry, Features, Setup, World, inputs

#: An invariant's name: of a breach, in a report and in the tests.
STATE = "state"
ONCE = "once"
ACKNOWLEDGED = "acknowledged"
SCORE = "score"
LATEST = "latest"
PROGRESS = "progress"


def check(setup: Setup, world: World) -> tuple[str, str] | None:
    """The name of the first invariant that is broken, and what is wrong; None where all hold."""
    held = (*_ALWAYS, *_AT_THE_END) if quiescent(setup, world) else _ALWAYS
    for name, invariant in held:
        wrong = invariant(setup, world)
        if wrong:
            return name, wrong
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


def _published(world: World) -> list[Entry]:
    """What read_committed sees or will see: a transaction that is decided can only be committed."""
    seen = {0} | {t.number for t in world.txns if t.decided}
    return [e for e in world.log if e.txn in seen]


def _once(setup: Setup, world: World) -> str:
    """What is published has nothing twice, and is in the order of the input."""
    newest: dict[tuple[str, int, int], int] = {}
    for entry in _published(world):
        for p, offset in enumerate(entry.sources):
            if 0 <= offset <= newest.get((entry.kind, entry.entity, p), -1):
                return f"the {entry.kind} of entity {entry.entity} from {p}:{offset} is published again"
            newest[entry.kind, entry.entity, p] = max(offset, newest.get((entry.kind, entry.entity, p), -1))
    return ""


def _acknowledged(setup: Setup, world: World) -> str:
    """Of every event before K there is a line, and a score of its entity that is as new."""
    published = _published(world)
    lines = {e.sources[0] for e in published if e.kind == "line"}
    for p, k in enumerate(world.k):
        scored = {(e.entity, e.sources[p]) for e in published if e.kind == "score"}
        for offset, (entity, _) in enumerate(inputs(setup, world, p)[:k]):
            if p == 0 and offset not in lines:
                return f"K is {k}, and the line of event {p}:{offset} was never published"
            if setup.folds(p) and not any(e == entity and o >= offset for e, o in scored):
                return f"K is {k}, and entity {entity} was never scored with event {p}:{offset}"
    return ""


def _score(setup: Setup, world: World) -> str:
    """The last score of each entity is of its final state."""
    last = {e.entity: e.features for e in world.log if e.kind == "score"}
    return _differs("the last score", [last.get(e, ()) for e in range(setup.entities)], world)


def _latest(setup: Setup, world: World) -> str:
    """So is the one in the store."""
    return _differs("the latest score in the store", list(world.store.latest), world)


def _differs(what: str, saw: list[Features], world: World) -> str:
    for entity, features in enumerate(world.store.features):
        if any(features) and saw[entity] != features:
            return f"{what} of entity {entity} saw {saw[entity]}, its state is {features}"
    return ""


_Invariants = tuple[tuple[str, Callable[[Setup, World], str]], ...]
_ALWAYS: _Invariants = ((STATE, _state), (ONCE, _once), (ACKNOWLEDGED, _acknowledged))
_AT_THE_END: _Invariants = ((SCORE, _score), (LATEST, _latest))
