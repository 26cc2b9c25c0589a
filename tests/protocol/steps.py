"""What a worker does: the steps as they are numbered in stream/commit.py."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.protocol import broker, owning
from tests.protocol.ending import finished, hears, sends
from tests.protocol.turn import Turn
from tests.protocol.world import UNKNOWN, Entry, Features, Move, Offsets, Rules, Setup, Store, World, inputs, put


def moves(setup: Setup, rules: Rules, world: World, i: int) -> Iterator[Move]:
    """All that worker i may do next."""
    turn = Turn(setup, rules, world, i)
    for told, after in _MOVES[turn.worker.at](turn):
        yield Move(f"worker {i + 1} {told}", after)


def _ready(turn: Turn) -> Iterator[Move]:
    """Between micro-batches: polls; commits when the interval is over; hears of a revoke; looks at its fences."""
    worker = turn.worker
    yield from _polls(turn)
    if max(worker.done) >= 0:
        yield from sends(turn)
    yield from owning.is_revoked(turn)
    if turn.setup.evicts and any(worker.cache):
        nothing = (UNKNOWN,) * turn.setup.entities
        yield turn.move("evicts what it has in memory", worker._replace(cache=nothing))
    if turn.rules.watch_fences and not turn.as_believed(range(turn.setup.partitions)):
        yield owning.conflict(turn, "looks at its fences: not where it left them")


def _polls(turn: Turn) -> Iterator[Move]:
    """Step 1: up to so many events of each partition; nothing past K while there is something before it.

    Steps 1 to 3 touch nothing that others see, so they are one move: a crash or a revoke among them is the same as one
    before them. Only a mutation stops there.
    """
    setup, worker = turn.setup, turn.worker
    behind = any(at < k for at, k in zip(worker.position, worker.k, strict=True)) and turn.rules.catch_up_first
    ends = []
    for p, at in enumerate(worker.position):
        end = min(len(inputs(setup, turn.world, p)), at + setup.batch)
        ends.append(range(at, max(at, min(end, worker.k[p]) if behind else end) + 1))
    for batch in product(*ends):
        polled = turn.move(f"step 1: polls {worker.position} to {batch}", worker._replace(at="polled", batch=batch))
        if batch != worker.position:
            yield from [polled] if not turn.rules.drop_on_revoke else _goes_on(turn.within(polled.world))


def _events(turn: Turn) -> list[tuple[int, int, int, int]]:
    """(partition, offset, entity, source) of the micro-batch at hand."""
    found = []
    for p, (first, end) in enumerate(zip(turn.worker.position, turn.worker.batch, strict=True)):
        for offset, (entity, source) in list(enumerate(inputs(turn.setup, turn.world, p)))[first:end]:
            found.append((p, offset, entity, source))
    return found


def _touched(turn: Turn) -> list[int]:
    """The entities whose features the micro-batch touches."""
    return sorted({entity for p, _, entity, _ in _events(turn) if turn.setup.folds(p)})


def _waits_for_the_store(turn: Turn) -> Iterator[Move]:
    """Polled, but the store does not answer yet: meanwhile it may hear of a revoke."""
    yield from owning.is_revoked(turn)
    yield from _goes_on(turn)


def _goes_on(turn: Turn) -> Iterator[Move]:
    """Step 2, its first half: loads what is not in memory, and looks at the fences in the same moment."""
    worker, mode = turn.worker, turn.rules.fences_with_reads
    missing = [e for e in _touched(turn) if not worker.cache[e]]
    guarded = {"all": range(turn.setup.partitions), "batch": turn.moving}.get(mode, ())
    if missing and not turn.as_believed(guarded):
        yield owning.conflict(turn, "step 2: fence conflict")
        return
    features = turn.world.store.features
    cache = tuple(features[e] if e in missing else had for e, had in enumerate(worker.cache))
    if missing and mode == "after":
        yield turn.move(f"step 2: reads features {missing}", worker._replace(cache=cache, at="reading"))
    else:
        yield _folds_and_scores(turn, cache)


def _looks_after_reading(turn: Turn) -> Iterator[Move]:
    if turn.as_believed(range(turn.setup.partitions)):
        yield _folds_and_scores(turn, turn.worker.cache)
    else:
        yield owning.conflict(turn, "step 2: fence conflict")


def _folds_and_scores(turn: Turn, loaded: tuple[Features, ...]) -> Move:
    """Steps 2 and 3."""
    worker, cache = turn.worker, list(loaded)
    for p, offset, entity, source in _events(turn):
        if turn.setup.folds(p) and (offset >= worker.r[p] or not turn.rules.skip_folded):
            cache[entity] = tuple((*had, source) if q == p else had for q, had in enumerate(cache[entity]))
    results = tuple(_results(turn, cache))
    scored = worker._replace(at="working", cache=tuple(cache), results=results, todo=turn.rules.order)
    took = f"{worker.position} to {worker.batch}, folds from R = {worker.r}, publishes from K = {worker.k}"
    return turn.move(f"steps 1-3: takes {took}: {len(results)} records", scored)


def _results(turn: Turn, cache: list[Features]) -> Iterator[Entry]:
    """A line for each new event of partition 0, and a score for each entity that something new touches."""
    nothing = (-1,) * turn.setup.partitions
    newest: dict[int, Offsets] = {}
    for p, offset, entity, _ in _events(turn):
        if offset >= turn.worker.k[p] or not turn.rules.skip_published:
            if p == 0:
                yield Entry(0, "line", entity, _with(nothing, p, offset))
            if turn.setup.folds(p):
                newest[entity] = _with(newest.get(entity, nothing), p, offset)
    for entity, sources in sorted(newest.items()):
        yield Entry(0, "score", entity, sources, cache[entity])


def _with(offsets: Offsets, p: int, offset: int) -> Offsets:
    return (*offsets[:p], offset, *offsets[p + 1 :])


def _works(turn: Turn) -> Iterator[Move]:
    """The steps after 3, in the order of the rules; waiting for the store in step 4 it may hear of a revoke."""
    step = turn.worker.todo[0]
    if step == "4":
        yield from owning.is_revoked(turn)
        yield _writes(turn)
    elif step == "5":
        yield from _produces(turn)
    else:
        yield from sends(turn)


def _writes(turn: Turn) -> Move:
    """Step 4: compare-and-set."""
    worker = turn.worker
    if not turn.as_believed(turn.moving):
        return owning.conflict(turn, "step 4: fence conflict")
    r = tuple(map(max, worker.r, worker.batch))
    written = turn.within(turn.world._replace(store=_stored(turn, r)))
    return written.move(f"step 4: writes the store, fence {r}", finished(turn.rules, worker._replace(r=r)))


def _stored(turn: Turn, r: Offsets) -> Store:
    store, worker, rules = turn.world.store, turn.worker, turn.rules
    features, latest = [list(of_views) for of_views in store.features], list(store.latest)
    scored = _touched(turn) if rules.keep_scores else [e.entity for e in worker.results]
    for p, offset, entity, _ in _events(turn):
        if turn.setup.folds(p) and (offset >= worker.r[p] or not rules.skip_folded):
            features[entity][p] = worker.cache[entity][p]  # a view folds one stream only: the others are not written
            latest[entity] = worker.cache[entity] if entity in scored else latest[entity]
    fence = tuple(r[p] if p in turn.moving else at for p, at in enumerate(store.fence))
    return store._replace(fence=fence, features=tuple(map(tuple, features)), latest=tuple(latest))


def _produces(turn: Turn) -> Iterator[Move]:
    """Step 5: inside the open transaction, which the first record begins."""
    worker, world = turn.worker, turn.world
    after = worker._replace(results=())
    if not worker.results:
        yield turn.move("step 5: has nothing to produce", finished(turn.rules, after))
    elif worker.txn < 0:
        yield owning.conflict(turn, "step 5: its transaction was aborted")
    elif broker.free(world, turn.i):
        world = broker.opened(world, turn.i)
        txn = world.workers[turn.i].txn
        world = world._replace(log=(*world.log, *(e._replace(txn=txn) for e in worker.results)))
        told = f"step 5: produces {len(worker.results)} records in transaction {txn}"
        yield Move(told, put(world, turn.i, finished(turn.rules, after._replace(txn=txn))))


_MOVES = {
    "down": owning.starts,
    "idle": owning.is_assigned,
    "assigned": owning.claims,
    "claimed": owning.ends_another,
    "conflict": owning.reads_own_fences,
    "lost": owning.claims,
    "knowing": owning.reads_k,
    "ready": _ready,
    "polled": _waits_for_the_store,
    "reading": _looks_after_reading,
    "working": _works,
    "ending": hears,
}
