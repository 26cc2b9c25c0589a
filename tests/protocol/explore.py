"""Breadth-first search over all interleavings; the first breach found has a shortest trace."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tests.protocol import broker, faults, steps
from tests.protocol.invariants import PROGRESS, check, quiescent
from tests.protocol.world import Move, Rules, Setup, World, beginning


@dataclass(frozen=True)
class Result:
    """What a search has found.

    Args:
        states: how many different ones were reached.
        moves: how many moves were tried.
        depth: every interleaving of so many moves was looked at.
        complete: every reachable state was looked at.
        invariant: the name of the one that is broken; empty: none.
        wrong: what is wrong, in words.
        trace: what was done to come there.
        told: the moves that were met, in words.
    """

    states: int
    moves: int
    depth: int
    seconds: float
    complete: bool
    invariant: str = ""
    wrong: str = ""
    trace: tuple[str, ...] = ()
    told: frozenset[str] = frozenset()

    def __str__(self) -> str:
        head = f"{self.states:,} states, {self.moves:,} moves, {self.seconds:.1f} s"
        if not self.invariant:
            seen = "all interleavings" if self.complete else f"all interleavings of {self.depth} moves"
            return f"{head}, {seen}: no violation"
        steps_told = "".join(f"\n  {n:2} {told}" for n, told in enumerate(self.trace, 1))
        return f"{head}: {self.invariant!r} is broken\n{steps_told}\n   → {self.wrong}"


class Search:
    """One search.

    Args:
        setup, rules: what is looked at.
        max_depth, max_states: where to stop; None: nowhere.
    """

    def __init__(self, setup: Setup, rules: Rules, max_depth: int | None = None, max_states: int | None = None) -> None:
        self._setup, self._rules = setup, rules
        self._max_depth, self._max_states = max_depth, max_states
        self._told: set[str] = set()
        #: Of a state's parts, each by a number: the state's number.
        self._number: dict[bytes, int] = {}
        self._parts: dict[object, int] = {}
        #: By a state's number: which one it was first reached from, and how far it is from the beginning.
        self._parent, self._depth = array("q"), array("q")
        #: Every move: from, to.
        self._from, self._to = array("q"), array("q")
        self._quiet: list[int] = []
        self._worlds: deque[World] = deque()
        self._limit: int | None = None

    def run(self) -> Result:
        """Searches until something is broken, or all has been seen."""
        began = time.perf_counter()
        broken = self._spread()
        if broken is None and self._limit is None:
            stuck = self._stuck()
            if stuck is not None:
                broken = stuck, PROGRESS, "from here the end cannot be reached any more"
        taken = time.perf_counter() - began
        depth = self._depth[-1] if self._limit is None else self._limit
        at, invariant, wrong = broken or (0, "", "")
        return Result(
            states=len(self._parent),
            moves=len(self._to),
            depth=depth,
            seconds=taken,
            complete=self._limit is None,
            invariant=invariant,
            wrong=wrong,
            trace=self._trace(at),
            told=frozenset(self._told),
        )

    def _spread(self) -> tuple[int, str, str] | None:
        broken = self._meet(beginning(self._setup), -1)
        here = 0
        while self._worlds and broken is None:
            world = self._worlds.popleft()
            if self._beyond(here):
                self._limit = self._depth[here]
                break
            for move in self._moves(world):
                self._told.add(move.told)
                broken = broken or self._meet(move.world, here)
            here += 1
        return broken

    def _beyond(self, here: int) -> bool:
        deep = self._max_depth is not None and self._depth[here] >= self._max_depth
        return deep or (self._max_states is not None and len(self._parent) >= self._max_states)

    def _moves(self, world: World) -> Iterator[Move]:
        yield from broker.moves(world)
        yield from faults.moves(self._setup, world)
        for i in range(len(world.workers)):
            yield from steps.moves(self._setup, self._rules, world, i)

    def _key(self, world: World) -> bytes:
        """A state in 36 bytes: millions fit into memory."""
        known, parts = self._parts, (*world[:-2], *world.workers, world.left)
        return array("i", [known.setdefault(part, len(known)) for part in parts]).tobytes()

    def _meet(self, world: World, parent: int) -> tuple[int, str, str] | None:
        world = canonical(world, self._rules)
        number = self._number.setdefault(self._key(world), len(self._parent))
        if parent >= 0:
            self._from.append(parent)
            self._to.append(number)
        if number < len(self._parent):
            return None
        self._parent.append(parent)
        self._depth.append(0 if parent < 0 else self._depth[parent] + 1)
        self._worlds.append(world)
        if quiescent(self._setup, world):
            self._quiet.append(number)
        wrong = check(self._setup, world)
        return None if wrong is None else (number, *wrong)

    def _stuck(self) -> int | None:
        """The first state from which no quiescent one can be reached."""
        before: list[list[int]] = [[] for _ in self._parent]
        for at, to in zip(self._from, self._to, strict=True):
            before[to].append(at)
        leads = bytearray(len(self._parent))
        todo = list(self._quiet)
        while todo:
            number = todo.pop()
            if not leads[number]:
                leads[number] = 1
                todo += before[number]
        stuck = leads.find(0)
        return None if stuck < 0 else stuck

    def _trace(self, at: int) -> tuple[str, ...]:
        """Walks back to the beginning, then forth again to hear what was done."""
        path = [at]
        while self._parent[path[-1]] >= 0:
            path.append(self._parent[path[-1]])
        told, world = [], beginning(self._setup)
        for number in reversed(path[:-1]):
            move = next(m for m in self._moves(world) if self._number_of(m.world) == number)
            told.append(move.told)
            world = move.world
        return tuple(told)

    def _number_of(self, world: World) -> int | None:
        return self._number.get(self._key(canonical(world, self._rules)))


def canonical(world: World, rules: Rules) -> World:
    """Leaves out what can make no difference any more, so that there are fewer states to look at."""
    world = _without_old_scores(world)
    if rules.unique_claims:
        world = _ranked(world)
    return _swapped(world) if world.workers[1] < world.workers[0] else world


def _without_old_scores(world: World) -> World:
    """A committed score that a newer committed one of its entity and partitions follows."""
    newest: dict[tuple[int, int], int] = {}
    scores = [e for e in world.log if e.kind == "score" and e.txn == 0]
    for score in scores:
        newest |= {(score.entity, p): max(o, newest.get((score.entity, p), -1)) for p, o in enumerate(score.sources)}
    old = [s for s in scores if all(o < max(0, newest[s.entity, p]) for p, o in enumerate(s.sources))]
    return world._replace(log=tuple(e for e in world.log if e not in old)) if old else world


def _swapped(world: World) -> World:
    """Which of the workers is called the first makes no difference."""
    swap = {0: 1, 1: 0}
    txns = tuple(t._replace(owner=swap.get(t.owner, t.owner)) for t in world.txns)
    world = broker.renamed(world._replace(owner=1 - world.owner, txns=txns), swap)
    return world._replace(workers=(world.workers[1], world.workers[0]))


def _ranked(world: World) -> World:
    """Epochs that are never given twice matter only by their order."""
    replica = 0 if world.replica is None else world.replica.epoch
    held = {0, world.store.epoch, replica, *(w.epoch for w in world.workers)}
    rank = {epoch: n for n, epoch in enumerate(sorted(held))}
    if all(epoch == n for epoch, n in rank.items()):
        return world
    first, second = (w._replace(epoch=rank[w.epoch]) for w in world.workers)
    return world._replace(
        store=world.store._replace(epoch=rank[world.store.epoch]),
        replica=None if world.replica is None else world.replica._replace(epoch=rank[replica]),
        workers=(first, second),
    )
