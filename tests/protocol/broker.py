"""What Kafka and Redis do: transactions to their end, time-outs, rebalances, and a store that loses what it had."""

from __future__ import annotations

from collections.abc import Iterator

from tests.protocol.world import Move, Rules, Setup, Txn, World, empty_store, gone, put


def find(world: World, number: int) -> Txn:
    """The transaction of a number."""
    return next(t for t in world.txns if t.number == number)


def replaced(world: World, txn: Txn) -> World:
    """The world with a transaction changed."""
    return world._replace(txns=tuple(txn if t.number == txn.number else t for t in world.txns))


def opened(world: World, i: int) -> World:
    """The world in which worker i has an open transaction."""
    if world.workers[i].txn:
        return world
    number = next(n for n in range(1, 99) if all(t.number != n for t in world.txns))
    world = world._replace(txns=(*world.txns, Txn(number, i)))
    return put(world, i, world.workers[i]._replace(txn=number))


def aborted(world: World, number: int) -> World:
    """Aborts a transaction: its records and pending offsets are as if they had never been."""
    return world._replace(
        txns=tuple(t for t in world.txns if t.number != number),
        log=tuple(e for e in world.log if e.txn != number),
    )


def abandoned(world: World, i: int) -> World:
    """Worker i aborts its open transaction, if it has one."""
    number = world.workers[i].txn
    if number > 0 and not find(world, number).decided:
        world = aborted(world, number)
    return put(world, i, world.workers[i]._replace(txn=0, held=()))


def new_producers(world: World, i: int) -> Iterator[Move]:
    """Worker i makes a producer: one of the same id ends what the last one left, one of another id leaves it alone."""
    same, other = world, world
    for txn in world.txns:
        if txn.worker == i:
            same = same if txn.decided else aborted(same, txn.number)
            other = replaced(other, txn._replace(worker=-1))
    fresh = world.workers[i]._replace(txn=0, late_end=False)
    yield Move("with a new producer of the same id", put(same, i, fresh))
    if other != world:
        yield Move("with a producer of another id", put(other, i, fresh))


def moves(setup: Setup, rules: Rules, world: World) -> Iterator[Move]:
    """All that can happen outside the workers."""
    for txn in world.txns:
        yield from _transaction(world, txn)
    yield from _late_ends(world)
    yield from _group(world)
    yield from _crashes(setup, world)
    yield from _store(setup, world)


def _transaction(world: World, txn: Txn) -> Iterator[Move]:
    name = f"transaction {txn.number}"
    if txn.decided:
        yield from _markers(world, txn)
        return
    if txn.ending:
        decided = txn._replace(ending=False, decided=True)
        yield Move(f"EndTxn arrives: {name} is decided", replaced(world, decided))
        if world.left.timeouts:
            lost = replaced(world, txn._replace(ending=False))
            yield Move(f"EndTxn of {name} is lost", _spend(lost, timeouts=1))
    forsaken = txn.worker < 0 or world.workers[txn.worker].at == "down"
    if forsaken:
        yield Move(f"{name}, forsaken, times out: aborted", aborted(world, txn.number))
    elif world.left.timeouts:
        fenced = world.workers[txn.worker]._replace(txn=-1)
        yield Move(
            f"{name} times out under worker {txn.worker + 1}: aborted",
            _spend(put(aborted(world, txn.number), txn.worker, fenced), timeouts=1),
        )


def _markers(world: World, txn: Txn) -> Iterator[Move]:
    if not txn.in_group:
        k = world.k if txn.offsets is None else txn.offsets
        k = tuple(o if o >= 0 else now for o, now in zip(k, world.k, strict=True))
        yield Move(
            f"marker of transaction {txn.number} in the group: K is {_at(k)}",
            _over(replaced(world._replace(k=k), txn._replace(in_group=True)), txn.number),
        )
    if not txn.in_output:
        log = tuple(e._replace(txn=0) if e.txn == txn.number else e for e in world.log)
        yield Move(
            f"marker of transaction {txn.number} in the outputs: they can be read",
            _over(replaced(world._replace(log=log), txn._replace(in_output=True)), txn.number),
        )


def _over(world: World, number: int) -> World:
    """Forgets a transaction that has both markers; its worker may still wait for the answer."""
    txn = find(world, number)
    if not (txn.in_group and txn.in_output):
        return world
    world = world._replace(txns=tuple(t for t in world.txns if t.number != number))
    if txn.worker >= 0 and world.workers[txn.worker].txn == number:
        world = put(world, txn.worker, world.workers[txn.worker]._replace(txn=0))
    return world


def _late_ends(world: World) -> Iterator[Move]:
    for i, worker in enumerate(world.workers):
        if worker.late_end:
            after = put(world, i, worker._replace(late_end=False))
            if worker.txn > 0 and not find(world, worker.txn).decided:
                after = replaced(after, find(world, worker.txn)._replace(decided=True))
            yield Move(f"the old EndTxn of worker {i + 1} arrives, for the transaction that is open now", after)


def _group(world: World) -> Iterator[Move]:
    forced = world.owner < 0 or world.workers[world.owner].at == "down"
    if not forced and not world.left.rebalances:
        return
    spent = world if forced else _spend(world, rebalances=1)
    unaware = tuple(w._replace(current=False) for w in world.workers)
    for i, worker in enumerate(world.workers):
        if worker.at != "down":
            told = f"rebalance: the partitions are worker {i + 1}'s; nobody knows yet"
            yield Move(told, spent._replace(owner=i, workers=unaware))


def _crashes(setup: Setup, world: World) -> Iterator[Move]:
    if world.left.crashes:
        for i, worker in enumerate(world.workers):
            if worker.at not in ("down", "idle"):
                told = f"worker {i + 1} crashes {_WHERE[worker.at]}"
                yield Move(told, _spend(crashed(setup, world, i), crashes=1))


_WHERE = {
    "reread": "before it reads K",
    "claim": "after it read K",
    "ready": "between micro-batches",
    "produced": "after step 4",
    "unwritten": "after step 6, before step 5",
    "ending": "in step 6, EndTxn under way",
}


def crashed(setup: Setup, world: World, i: int) -> World:
    """Worker i is gone; its transaction stays with the broker."""
    return put(world, i, gone(setup, "down"))


def _store(setup: Setup, world: World) -> Iterator[Move]:
    if world.replica is not None:
        yield Move(
            f"failover: the store is as it was, fence {_at(world.replica.fence)}, epoch {world.replica.epoch}",
            world._replace(store=world.replica, replica=None),
        )
    elif world.left.losses:
        yield Move("the replica hears no more of the store", _spend(world._replace(replica=world.store), losses=1))
        if world.store.epoch:
            yield Move("the store is wiped", _spend(world._replace(store=empty_store(setup)), losses=1))


def _spend(world: World, crashes: int = 0, rebalances: int = 0, losses: int = 0, timeouts: int = 0) -> World:
    c, r, s, t = world.left
    return world._replace(left=type(world.left)(c - crashes, r - rebalances, s - losses, t - timeouts))


def _at(offsets: tuple[int, ...]) -> str:
    return ", ".join(map(str, offsets))
