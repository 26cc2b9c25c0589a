"""Step 6: the offsets go with the transaction, and the answer, or none."""

from __future__ import annotations

from collections.abc import Iterator

from tests.protocol import broker, owning
from tests.protocol.turn import Turn
from tests.protocol.world import Move, Offsets, Rules, Worker, put, spent


def finished(rules: Rules, worker: Worker) -> Worker:
    """The worker after one of the steps past 3; what all are done of is to be committed, if it is not yet."""
    todo = worker.todo[1:]
    if todo:
        return worker._replace(at="working", todo=todo)
    done = worker.done if "6" in rules.order else _done(worker)
    return worker._replace(at="ready", todo="", position=worker.batch, batch=(), done=done)


def _done(worker: Worker) -> Offsets:
    """What the next commit says: K never goes back."""
    return tuple(
        max(end, k) if end > at else was
        for at, end, k, was in zip(worker.position, worker.batch, worker.k, worker.done, strict=True)
    )


def sends(turn: Turn) -> Iterator[Move]:
    """Offsets with the group metadata, then EndTxn."""
    world, worker, rules = turn.world, turn.worker, turn.rules
    offsets = _done(worker) if worker.batch else worker.done
    told = f"step 6: sends offsets {offsets}"
    member = world.owner == turn.i and (worker.current or rules.metadata == "newest")
    if worker.txn < 0:
        yield owning.conflict(turn, f"{told}: its transaction was aborted")
    elif not member and rules.metadata != "none":
        yield owning.conflict(turn, f"{told}: refused, the generation is over")
    elif broker.free(world, turn.i):
        world = broker.opened(world, turn.i)
        txn = broker.find(world, world.workers[turn.i].txn)
        world = broker.replaced(world, txn._replace(offsets=offsets, ending=True))
        waits = world.workers[turn.i]._replace(at="ending", done=offsets)
        yield Move(f"{told} in transaction {txn.number}, and EndTxn", put(world, turn.i, waits))


def hears(turn: Turn) -> Iterator[Move]:
    """The answer of EndTxn, or none."""
    world, worker = turn.world, turn.worker
    if worker.txn < 0:
        yield owning.conflict(turn, "is told that its transaction was aborted")
        return
    txn = broker.find(world, worker.txn) if worker.txn else None
    if txn is None or txn.decided:
        yield turn.move("step 6: is told that it is committed", _committed(turn))
    if world.left.timeouts:
        yield _hears_nothing(turn.within(spent(world, "timeouts")))
    elif txn is not None and not (txn.ending or txn.decided):
        yield _hears_nothing(turn)  # the request was lost: that it gets no answer is no further fault


def _committed(turn: Turn) -> Worker:
    worker = turn.worker
    k = tuple(map(max, worker.k, worker.done))
    told = worker._replace(at="ready", k=k, txn=0, done=(-1,) * len(k))
    return finished(turn.rules, told) if worker.batch else told


def _hears_nothing(turn: Turn) -> Move:
    """EndTxn has timed out: whether it was committed is not known."""
    if turn.rules.new_producer:
        anew = turn.within(broker.same_producer_again(turn.world, turn.i))
        return owning.conflict(anew, "hears nothing of EndTxn, makes a new producer")
    told, worker = "hears nothing of EndTxn, asks again with the same producer", turn.worker
    if not worker.txn:
        return turn.move(told, worker)
    # It is answered on a new connection, and the first request may still be under way.
    txn = broker.find(turn.world, worker.txn)
    asked = put(turn.world, turn.i, worker._replace(late_end=txn.ending))
    return Move(told, broker.replaced(asked, txn._replace(ending=False, decided=True)))
