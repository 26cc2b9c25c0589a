"""What Kafka does: transactions to their end, time-outs, and who owns the partitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.protocol.world import FORSAKEN, NOBODY, Move, Txn, World, put, spent


def find(world: World, number: int) -> Txn:
    """The transaction of a number."""
    return next(t for t in world.txns if t.number == number)


def replaced(world: World, txn: Txn) -> World:
    """The world with a transaction changed."""
    return world._replace(txns=tuple(txn if t.number == txn.number else t for t in world.txns))


def free(world: World, i: int) -> bool:
    """Whether worker i may go on with a transaction: its last one is wholly over."""
    return not any(t.owner == i and t.decided for t in world.txns)


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
    return put(world, i, world.workers[i]._replace(txn=0))


def ended(world: World, owner: int) -> World:
    """What a transactional id has open is ended, since somebody makes a producer of it."""
    for txn in world.txns:
        if txn.owner == owner and not txn.decided:
            world = aborted(world, txn.number)
    return world


def same_producer_again(world: World, i: int) -> World:
    """Worker i makes a producer of its transactional id."""
    return put(ended(world, i), i, world.workers[i]._replace(txn=0, late_end=False))


def other_producer(world: World, i: int) -> World:
    """Worker i takes another transactional id: what the last one left open is left to whom it may concern."""
    world = put(world, i, world.workers[i]._replace(txn=0, late_end=False))
    left = FORSAKEN if any(t.owner == i for t in world.txns) else NOBODY
    txns = tuple(t._replace(owner=FORSAKEN) if t.owner == i else t for t in world.txns)
    return renamed(world._replace(txns=txns), {i: left})


def renamed(world: World, names: Mapping[int, int]) -> World:
    """The world with other transactional ids where they are remembered."""
    store, replica = world.store, world.replica
    first, second = (w._replace(ends=names.get(w.ends, w.ends)) for w in world.workers)
    return world._replace(
        store=store._replace(owner=names.get(store.owner, store.owner)),
        replica=replica and replica._replace(owner=names.get(replica.owner, replica.owner)),
        workers=(first, second),
    )


def remembered(world: World, owner: int) -> bool:
    """Whether a transactional id matters to anybody."""
    names = {t.owner for t in world.txns} | {w.ends for w in world.workers} | {world.store.owner}
    return owner in names or (world.replica is not None and world.replica.owner == owner)


def moves(world: World) -> Iterator[Move]:
    """All that the broker may do next."""
    for txn in world.txns:
        yield from _markers(world, txn) if txn.decided else _undecided(world, txn)
    yield from _late_ends(world)
    yield from _rebalances(world)


def _undecided(world: World, txn: Txn) -> Iterator[Move]:
    name = f"transaction {txn.number}"
    if txn.ending:
        yield Move(f"EndTxn arrives: {name} is decided", replaced(world, txn._replace(ending=False, decided=True)))
        if world.left.timeouts:
            lost = replaced(world, txn._replace(ending=False))
            yield Move(f"EndTxn of {name} is lost", spent(lost, "timeouts"))
    if txn.owner == FORSAKEN or world.workers[txn.owner].at == "down":
        yield Move(f"{name}, forsaken, times out: aborted", aborted(world, txn.number))
    elif world.left.timeouts:
        fenced = put(world, txn.owner, world.workers[txn.owner]._replace(txn=-1))
        told = f"{name} times out under worker {txn.owner + 1}: aborted"
        yield Move(told, spent(aborted(fenced, txn.number), "timeouts"))


def _markers(world: World, txn: Txn) -> Iterator[Move]:
    if not txn.in_group:
        sent = txn.offsets or world.k
        k = tuple(o if o >= 0 else now for o, now in zip(sent, world.k, strict=True))
        marked = replaced(world._replace(k=k), txn._replace(in_group=True))
        yield Move(f"marker of transaction {txn.number} in the group: K is {k}", _over(marked, txn.number))
    if not txn.in_output:
        log = tuple(e._replace(txn=0) if e.txn == txn.number else e for e in world.log)
        marked = replaced(world._replace(log=log), txn._replace(in_output=True))
        yield Move(f"marker of transaction {txn.number} in the outputs: they can be read", _over(marked, txn.number))


def _over(world: World, number: int) -> World:
    """Forgets a transaction that has both markers; its worker may still wait for the answer."""
    txn = find(world, number)
    if not (txn.in_group and txn.in_output):
        return world
    world = world._replace(txns=tuple(t for t in world.txns if t.number != number))
    if txn.owner >= 0 and world.workers[txn.owner].txn == number:
        world = put(world, txn.owner, world.workers[txn.owner]._replace(txn=0))
    return world


def _late_ends(world: World) -> Iterator[Move]:
    for i, worker in enumerate(world.workers):
        if worker.late_end:
            after = put(world, i, worker._replace(late_end=False))
            if worker.txn > 0 and not find(world, worker.txn).decided:
                after = replaced(after, find(world, worker.txn)._replace(decided=True))
            yield Move(f"the old EndTxn of worker {i + 1} arrives, for the transaction that is open now", after)


def _rebalances(world: World) -> Iterator[Move]:
    forced = world.workers[world.owner].at == "down"
    if forced or world.left.rebalances:
        after = world if forced else spent(world, "rebalances")
        for i in range(len(world.workers)):
            after = put(after, i, after.workers[i]._replace(current=False))
        for i, worker in enumerate(world.workers):
            if worker.at != "down":
                yield Move(f"rebalance: the partitions are worker {i + 1}'s; nobody knows yet", after._replace(owner=i))
