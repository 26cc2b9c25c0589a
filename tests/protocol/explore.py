"""Breadth-first search over all interleavings; the first breach found has a shortest trace."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tests.protocol import broker, steps
from tests.protocol.invariants import PROGRESS, check, quiescent
from tests.protocol.world import Move, Rules, Setup, World, beginning


@dataclass(frozen=True)
class Result:
    """What a search has found.

    Args:
        states: how many different ones were reached.
        moves: how many moves were tried.
        depth: of the state that is farthest from the beginning.
        complete: every reachable state was looked at.
        invariant: the name of the one that is broken; empty: none.
        wrong: what is wrong, in words.
        trace: what was done to come there.
    """

    states: int
    moves: int
    depth: int
    seconds: float
    complete: bool
    invariant: str = ""
    wrong: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = f"{self.states} states, {self.moves} moves, depth {self.depth}, {self.seconds:.1f} s"
        if not self.invariant:
            return f"{head}, {'all interleavings' if self.complete else 'to the limit'}: no violation"
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
        #: By state: its number. By number: the number that it was reached from, and how far from the beginning.
        self._number: dict[World, int] = {}
        self._parent: list[int] = []
        self._depth: list[int] = []
        self._before: list[list[int]] = []
        self._quiet: list[int] = []
        self._tried, self._complete = 0, True
        self._worlds: deque[World] = deque()

    def run(self) -> Result:
        """Searches until something is broken, or all has been seen."""
        began = time.perf_counter()
        broken = self._spread()
        if broken is None and self._complete:
            stuck = self._stuck()
            if stuck is not None:
                broken = stuck, PROGRESS, "from here the end cannot be reached any more"
        taken = time.perf_counter() - began
        found = (len(self._number), self._tried, max(self._depth), taken, self._complete)
        if broken is None:
            return Result(*found)
        at, invariant, wrong = broken
        return Result(*found, invariant, wrong, self._trace(at))

    def _spread(self) -> tuple[int, str, str] | None:
        broken = self._meet(beginning(self._setup), -1)
        here = 0
        while self._worlds and broken is None:
            world = self._worlds.popleft()
            if self._beyond(here):
                self._complete = False
                break
            for move in self._moves(world):
                broken = broken or self._meet(move.world, here)
            here += 1
        return broken

    def _beyond(self, here: int) -> bool:
        deep = self._max_depth is not None and self._depth[here] >= self._max_depth
        return deep or (self._max_states is not None and len(self._number) >= self._max_states)

    def _moves(self, world: World) -> Iterator[Move]:
        yield from broker.moves(self._setup, self._rules, world)
        for i in range(len(world.workers)):
            yield from steps.moves(self._setup, self._rules, world, i)

    def _meet(self, world: World, parent: int) -> tuple[int, str, str] | None:
        self._tried += 1
        world = canonical(world, self._rules)
        number = self._number.setdefault(world, len(self._number))
        if number < len(self._parent):
            self._before[number].append(parent)
            return None
        self._parent.append(parent)
        self._depth.append(0 if parent < 0 else self._depth[parent] + 1)
        self._before.append([parent] if parent >= 0 else [])
        self._worlds.append(world)
        if quiescent(self._setup, world):
            self._quiet.append(number)
        wrong = check(self._setup, world)
        return None if wrong is None else (number, *wrong)

    def _stuck(self) -> int | None:
        """The first state from which no quiescent one can be reached."""
        leads = [False] * len(self._parent)
        todo = list(self._quiet)
        for number in todo:
            leads[number] = True
        while todo:
            for before in self._before[todo.pop()]:
                if not leads[before]:
                    leads[before] = True
                    todo.append(before)
        return next((n for n, led in enumerate(leads) if not led), None)

    def _trace(self, at: int) -> tuple[str, ...]:
        """Walks back to the beginning, then forth again to hear what was done."""
        path = [at]
        while self._parent[path[-1]] >= 0:
            path.append(self._parent[path[-1]])
        told, world = [], canonical(beginning(self._setup), self._rules)
        for number in reversed(path[:-1]):
            move = next(m for m in self._moves(world) if self._number.get(canonical(m.world, self._rules)) == number)
            told.append(move.told)
            world = canonical(move.world, self._rules)
        return tuple(told)


def canonical(world: World, rules: Rules) -> World:
    """Leaves out what can make no difference any more, so that there are fewer states to look at."""
    world = _without_old_scores(world)
    return _ranked(world) if rules.unique_claims else world


def _without_old_scores(world: World) -> World:
    """A committed score that a newer committed one of its entity and partition follows."""
    newest = {(e.entity, e.source[0]): e.source[1] for e in world.log if e.kind == "score" and e.txn == 0}
    log = tuple(e for e in world.log if e.kind != "score" or e.txn or e.source[1] >= newest[e.entity, e.source[0]])
    return world if len(log) == len(world.log) else world._replace(log=log)


def _ranked(world: World) -> World:
    """Epochs that are never given twice matter only by their order."""
    replica = 0 if world.replica is None else world.replica.epoch
    held = {0, world.store.epoch, replica, *(w.epoch for w in world.workers)}
    rank = {epoch: n for n, epoch in enumerate(sorted(held))}
    if all(epoch == n for epoch, n in rank.items()):
        return world
    return world._replace(
        store=world.store._replace(epoch=rank[world.store.epoch]),
        replica=None if world.replica is None else world.replica._replace(epoch=rank[replica]),
        workers=tuple(w._replace(epoch=rank[w.epoch]) for w in world.workers),
    )
