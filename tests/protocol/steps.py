"""What a worker does: the numbered steps, and what comes before and after them.

Steps 1 to 4 touch nothing that others see but the worker's own open transaction, so they are one move here: a crash
within them is the same as one before them.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.protocol import broker
from tests.protocol.world import (
    NO_BATCH,
    Entry,
    Features,
    Move,
    Offsets,
    Rules,
    Setup,
    Store,
    Worker,
    World,
    changed,
    gone,
    inputs,
    put,
)


def moves(setup: Setup, rules: Rules, world: World, i: int) -> Iterator[Move]:
    """All that worker i may do next."""
    for told, after in _moves(setup, rules, world, i):
        yield Move(f"worker {i + 1} {told}", after)


def _moves(setup: Setup, rules: Rules, world: World, i: int) -> Iterator[Move]:
    worker = world.workers[i]
    if worker.at == "down":
        for told, after in broker.new_producers(world, i):
            yield Move(f"starts again {told}", put(after, i, gone(setup, "idle")))
    elif worker.at == "idle" and world.owner == i:
        yield Move("is assigned the partitions", put(world, i, worker._replace(at="reread", current=True)))
    elif worker.at in ("reread", "claim"):
        yield from _begin(setup, rules, world, i)
    elif worker.at == "ready":
        yield from _ready(setup, rules, world, i)
    elif worker.at in ("produced", "unwritten"):
        yield _write(setup, rules, world, i)
    elif worker.at == "ending":
        yield from _answer(setup, rules, world, i)


def _begin(setup: Setup, rules: Rules, world: World, i: int) -> Iterator[Move]:
    """Reads K, then claims the partitions and reads R."""
    worker = world.workers[i]
    pending = any(t.offsets is not None and not t.in_group for t in world.txns)
    if worker.at == "reread":
        if not (pending and rules.stable_k):
            yield Move(f"reads K = {world.k}", put(world, i, worker._replace(at="claim", k=world.k)))
    else:
        yield _claim(rules, world, i)
    if not worker.current:
        yield _revoked(setup, rules, world, i)


def _claim(rules: Rules, world: World, i: int) -> Move:
    worker, fence = world.workers[i], world.store.fence
    epoch = 1 + (max(_epochs(world)) if rules.unique_claims else world.store.epoch)
    begin = {"min": tuple(map(min, worker.k, fence)), "k": worker.k, "r": fence}[rules.begin]
    claimed = worker._replace(at="ready", r=fence, position=begin, epoch=epoch, done=(-1,) * len(fence), batch=NO_BATCH)
    after = put(world._replace(store=world.store._replace(epoch=epoch)), i, claimed)
    return Move(f"claims: epoch {epoch}, R = {fence}, begins at {begin}", after)


def _epochs(world: World) -> list[int]:
    replica = [] if world.replica is None else [world.replica.epoch]
    return [world.store.epoch, *replica, *(w.epoch for w in world.workers)]


def _revoked(setup: Setup, rules: Rules, world: World, i: int) -> Move:
    """The group takes the partitions, or has taken them: the worker hears of it while it polls."""
    if rules.abort_on_revoke:
        world = broker.abandoned(world, i)
    worker = world.workers[i]
    kept = gone(setup, "idle")._replace(txn=worker.txn, held=worker.held, late_end=worker.late_end)
    if not rules.forget_on_revoke:
        kept = kept._replace(cache=worker.cache)
    return Move("hears that its partitions are revoked", put(world, i, kept))


def _ready(setup: Setup, rules: Rules, world: World, i: int) -> Iterator[Move]:
    worker = world.workers[i]
    if worker.txn >= 0 and not any(t.worker == i and t.decided for t in world.txns):
        if rules.store_before_commit or max(worker.done) < 0:
            yield from _polls(setup, rules, world, i)
        if max(worker.done) >= 0:
            yield _send(setup, rules, world, i)
    if worker.txn < 0:
        yield _reread("finds its transaction aborted", setup, world, i)
    if not worker.current:
        yield _revoked(setup, rules, world, i)
    elif world.left.rebalances:
        faults = world.left._replace(rebalances=world.left.rebalances - 1)
        told, after = _revoked(setup, rules, world._replace(owner=-1, left=faults), i)
        yield Move("is asked for its partitions: " + told, after)
    if setup.evicts and any(worker.cache):
        yield Move("evicts what it has in memory", put(world, i, worker._replace(cache=(None,) * setup.entities)))
    if rules.watch_fences and max(worker.done) < 0 and not _fences_as_believed(world, worker):
        yield _conflict("looks at its fences: not where it left them", setup, rules, world, i)


def _polls(setup: Setup, rules: Rules, world: World, i: int) -> Iterator[Move]:
    worker = world.workers[i]
    behind = [p for p in range(setup.partitions) if worker.position[p] < worker.k[p]]
    for p in range(setup.partitions):
        events = inputs(setup, world, p)
        first, end = worker.position[p], len(events)
        if rules.catch_up_first and behind:
            end = min(end, worker.k[p])
        for after in range(first + 1, min(end, first + setup.batch) + 1):
            yield _fold_score_produce(setup, rules, world, i, (p, first, after))


def _fold_score_produce(setup: Setup, rules: Rules, world: World, i: int, batch: tuple[int, int, int]) -> Move:
    """Steps 1 to 4."""
    p, first, after = batch
    worker = world.workers[i]
    events = list(enumerate(inputs(setup, world, p)))[first:after]
    reads = rules.fences_with_reads and any(setup.folds(p) and worker.cache[e] is None for _, (e, _) in events)
    if reads and (world.store.fence, world.store.epoch) != (worker.r, worker.epoch):
        return _conflict("step 2: fence conflict", setup, rules, world, i)
    cache = list(worker.cache)
    for offset, (entity, source) in events:
        if setup.folds(p):
            features = _loaded(world, cache, entity)
            if offset >= worker.r[p] or not rules.skip_folded:
                features = _folded(features, p, source)
            cache[entity] = features
    new = [(offset, e) for offset, (e, _) in events if offset >= worker.k[p] or not rules.skip_published]
    folded = worker._replace(at="produced", cache=tuple(cache), batch=batch)
    if not rules.store_before_commit:
        folded = folded._replace(at="ready", position=changed(worker.position, p, after), done=_done(worker, p, after))
    produced = _produced(setup, rules, put(world, i, folded), i, p, new)
    said = f"steps 1-4: takes {p}:{first}..{after - 1} in, folds from {worker.r[p]}, publishes {[o for o, _ in new]}"
    return Move(said, produced)


def _loaded(world: World, cache: list[Features | None], entity: int) -> Features:
    return world.store.features[entity] if cache[entity] is None else cache[entity] or ()


def _folded(features: Features, p: int, source: int) -> Features:
    return tuple((*had, source) if q == p else had for q, had in enumerate(features))


def _produced(setup: Setup, rules: Rules, world: World, i: int, p: int, new: list[tuple[int, int]]) -> World:
    """Step 4: lines of the first partition, and a score for each entity touched by something new."""
    held = world.workers[i].held
    entries = [Entry(0, "line", entity, (p, offset)) for offset, entity in new if p == 0]
    if setup.folds(p):
        newest = {entity: offset for offset, entity in new}
        cache = world.workers[i].cache
        entries += [Entry(0, "score", e, (p, offset), cache[e] or ()) for e, offset in sorted(newest.items())]
    if not rules.records_before_commit:
        return put(world, i, world.workers[i]._replace(held=(*held, *entries)))
    return appended(world, i, entries)


def appended(world: World, i: int, entries: list[Entry]) -> World:
    """The world with records in the open transaction of worker i."""
    if not entries:
        return world
    world = broker.opened(world, i)
    number = world.workers[i].txn
    return world._replace(log=(*world.log, *(e._replace(txn=number) for e in entries)))


def _done(worker: Worker, p: int, after: int) -> Offsets:
    """What the next commit says: K never goes back."""
    return changed(worker.done, p, max(after, worker.k[p]))


def _fences_as_believed(world: World, worker: Worker) -> bool:
    return (world.store.fence, world.store.epoch) == (worker.r, worker.epoch)


def _same_fences(rules: Rules, world: World, worker: Worker, partitions: int, only: int | None = None) -> bool:
    checked = [only] if only is not None else range(partitions)
    same = all(world.store.fence[p] == worker.r[p] for p in checked) or not rules.fence_offset
    return same and (world.store.epoch == worker.epoch or not rules.fence_epoch)


def _write(setup: Setup, rules: Rules, world: World, i: int) -> Move:
    """Step 5: compare-and-set."""
    worker = world.workers[i]
    p, _, after = worker.batch
    only = None if rules.check_all_fences else p
    if not _same_fences(rules, world, worker, setup.partitions, only):
        return _conflict("step 5: fence conflict", setup, rules, world, i)
    r = max(after, worker.r[p])
    store = _stored(setup, rules, world, worker, r)
    position = changed(worker.position, p, after)
    written = worker._replace(at="ready", r=changed(worker.r, p, r), position=position, batch=NO_BATCH)
    if rules.store_before_commit:
        written = written._replace(done=_done(worker, p, after))
    return Move(f"step 5: writes the store, fence {p} at {r}", put(world._replace(store=store), i, written))


def _stored(setup: Setup, rules: Rules, world: World, worker: Worker, r: int) -> Store:
    p, first, after = worker.batch
    events = list(enumerate(inputs(setup, world, p)))[first:after]
    moved = {e for offset, (e, _) in events if setup.folds(p) and (offset >= worker.r[p] or not rules.skip_folded)}
    features = tuple(
        _with_view(had, worker.cache[e] or had, p) if e in moved else had for e, had in enumerate(world.store.features)
    )
    return world.store._replace(fence=changed(world.store.fence, p, r), features=features)


def _with_view(had: Features, now: Features, p: int) -> Features:
    """A view folds one stream only: the records of the others are not written."""
    return tuple(b if q == p else a for q, (a, b) in enumerate(zip(had, now, strict=True)))


def _conflict(told: str, setup: Setup, rules: Rules, world: World, i: int) -> Move:
    if world.store.epoch > world.workers[i].epoch:
        after = broker.abandoned(world, i)
        return Move(f"{told}: a newer owner, stops", broker.crashed(setup, after, i))
    return _reread(told, setup, world, i)


def _reread(told: str, setup: Setup, world: World, i: int) -> Move:
    """Aborts, forgets what is cached, reads K and R again."""
    world = broker.abandoned(world, i)
    worker = world.workers[i]
    again = gone(setup, "reread")._replace(current=worker.current, late_end=worker.late_end)
    return Move(f"{told}: aborts, reads K and R again", put(world, i, again))


def _send(setup: Setup, rules: Rules, world: World, i: int) -> Move:
    """Step 6: offsets with the group metadata, then EndTxn."""
    worker = world.workers[i]
    told = f"step 6: sends offsets {worker.done}"
    member = world.owner == i and (worker.current or rules.metadata == "newest")
    if not member and rules.metadata != "none":
        _, after = _revoked(setup, rules, world, i)
        return Move(f"{told}: refused, the generation is over", after)
    world = broker.opened(world, i)
    txn = broker.find(world, world.workers[i].txn)
    world = broker.replaced(world, txn._replace(offsets=worker.done, ending=True))
    return Move(f"{told} in transaction {txn.number}, and EndTxn", put(world, i, _at_ending(world, i)))


def _at_ending(world: World, i: int) -> Worker:
    return world.workers[i]._replace(at="ending")


def _answer(setup: Setup, rules: Rules, world: World, i: int) -> Iterator[Move]:
    """The answer of EndTxn, or none."""
    worker = world.workers[i]
    if worker.txn < 0:
        yield _reread("is told that its transaction was aborted", setup, world, i)
    elif worker.txn == 0 or broker.find(world, worker.txn).decided:
        yield Move("step 6: is told that it is committed", _committed(rules, world, i))
    if worker.txn >= 0 and world.left.timeouts:
        left = world.left._replace(timeouts=world.left.timeouts - 1)
        yield from _unknown(setup, rules, world._replace(left=left), i)
    elif worker.txn > 0 and not (broker.find(world, worker.txn).ending or broker.find(world, worker.txn).decided):
        # The request was lost: that it gets no answer is no further fault.
        yield from _unknown(setup, rules, world, i)


def _committed(rules: Rules, world: World, i: int) -> World:
    worker = world.workers[i]
    k = tuple(map(max, worker.k, worker.done))
    at = "ready" if rules.store_before_commit else "unwritten"
    world = put(world, i, worker._replace(at=at, k=k, txn=0, done=(-1,) * len(k), held=()))
    return appended(world, i, list(worker.held))


def _unknown(setup: Setup, rules: Rules, world: World, i: int) -> Iterator[Move]:
    """EndTxn has timed out: whether it was committed is not known."""
    worker = world.workers[i]
    if rules.new_producer:
        for told, after in broker.new_producers(world, i):
            again = _reread("", setup, after, i).world
            yield Move(f"hears nothing of EndTxn, goes on {told}: reads K and R again", again)
    elif worker.txn > 0:
        # It asks again on a new connection, is answered, and the first request may still be under way.
        txn = broker.find(world, worker.txn)
        asked = put(world, i, worker._replace(late_end=txn.ending))
        after = broker.replaced(asked, txn._replace(ending=False, decided=True))
        yield Move("hears nothing of EndTxn, asks again with the same producer: decided", after)
