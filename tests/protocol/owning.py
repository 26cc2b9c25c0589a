"""How a worker comes to partitions and loses them: assignment, K and R, revoke, and reading K and R again."""

from __future__ import annotations

from collections.abc import Iterator

from tests.protocol import broker
from tests.protocol.turn import Turn
from tests.protocol.world import NOBODY, Move, Offsets, World, blank, put


def starts(turn: Turn) -> Iterator[Move]:
    """A process that is down is started again; a static name of its own keeps the transactional id."""
    idle = put(turn.world, turn.i, blank(turn.setup, "idle"))
    yield Move("starts again with its transactional id", broker.same_producer_again(idle, turn.i))
    if broker.remembered(idle, turn.i):
        yield Move("starts again with another transactional id", broker.other_producer(idle, turn.i))


def is_assigned(turn: Turn) -> Iterator[Move]:
    """The group gives it the partitions."""
    if turn.world.owner == turn.i:
        yield turn.move("is assigned the partitions", turn.worker._replace(at="assigned", current=True))


def claims(turn: Turn) -> Iterator[Move]:
    """Raises the epoch, leaves its transactional id, and reads R, in one moment."""
    store, worker = turn.world.store, turn.worker
    epoch = 1 + (max(_epochs(turn)) if turn.rules.unique_claims else store.epoch)
    world = turn.world._replace(store=store._replace(epoch=epoch, owner=turn.i))
    told, claimed = f"claims: epoch {epoch}, R = {store.fence}", worker._replace(r=store.fence, epoch=epoch)
    if worker.at == "assigned" and store.owner not in (NOBODY, turn.i) and turn.rules.end_of_owner:
        yield turn.within(world).move(
            f"{told}; another owner has not let go", claimed._replace(at="claimed", ends=store.owner)
        )
    else:
        yield turn.within(world).move(told, claimed._replace(at="knowing"))


def ends_another(turn: Turn) -> Iterator[Move]:
    """Makes a producer of another owner's transactional id: that one is refused from now on, should it live."""
    worker, world = turn.worker, turn.world
    if broker.free(world, worker.ends):
        ended = broker.ended(world, worker.ends)
        if worker.ends >= 0 and world.workers[worker.ends].at != "down":
            ended = put(ended, worker.ends, world.workers[worker.ends]._replace(txn=-1))
        after = worker._replace(at="knowing", ends=NOBODY)
        yield Move("ends what the other owner may have left open", put(ended, turn.i, after))


def reads_k(turn: Turn) -> Iterator[Move]:
    """Waits for transactions that carry offsets, reads K, and begins."""
    pending = any(t.offsets and not t.in_group for t in turn.world.txns)
    if not (pending and turn.rules.stable_k):
        worker = turn.worker._replace(k=turn.world.k)
        begins: dict[str, Offsets] = {"min": tuple(map(min, worker.k, worker.r)), "k": worker.k, "r": worker.r}
        position = begins[turn.rules.begin]
        # A micro-batch that a mutation has kept over a revoke goes on, and by the next poll with the new generation.
        kept = worker._replace(at="polled") if worker.batch else worker._replace(at="ready", position=position)
        yield turn.move(f"reads K = {worker.k}, begins at {position}", kept)


def _epochs(turn: Turn) -> list[int]:
    replica = turn.world.replica
    known = [w.epoch for w in turn.world.workers]
    return [turn.world.store.epoch, *known, 0 if replica is None else replica.epoch]


def is_revoked(turn: Turn) -> Iterator[Move]:
    """Hears, while it polls or waits for the store, that it has lost the partitions.

    Often a worker is asked for them first. That is the same as hearing of the rebalance at once.
    """
    if not turn.worker.current:
        after, store = _lets_go(turn), turn.world.store
        yield Move("hears that its partitions are lost", after)
        if (store.owner, store.epoch) == (turn.i, turn.worker.epoch):
            told = "hears that its partitions are revoked, and takes its name off the fence"
            yield Move(told, after._replace(store=store._replace(owner=NOBODY)))


def _lets_go(turn: Turn) -> World:
    rules, worker = turn.rules, turn.worker
    world = broker.abandoned(turn.world, turn.i) if rules.abort_on_revoke else turn.world
    kept = blank(turn.setup, "idle")._replace(txn=world.workers[turn.i].txn, late_end=worker.late_end)
    if not rules.forget_on_revoke:
        kept = kept._replace(cache=worker.cache)
    if not rules.drop_on_revoke and worker.at == "polled":
        kept = kept._replace(batch=worker.batch, position=worker.position)
    return put(world, turn.i, kept)


def conflict(turn: Turn, told: str) -> Move:
    """A fence conflict, or a transaction that did not end as it should."""
    rules, worker = turn.rules, turn.worker
    world = broker.abandoned(turn.world, turn.i) if rules.abort_on_conflict else turn.world
    again = blank(turn.setup, "conflict")._replace(
        current=worker.current, epoch=worker.epoch, txn=world.workers[turn.i].txn, late_end=worker.late_end
    )
    if not rules.forget_on_conflict:
        again = again._replace(cache=worker.cache)
    return Move(f"{told}: aborts, forgets, reads K and R again", put(world, turn.i, again))


def reads_own_fences(turn: Turn) -> Iterator[Move]:
    """A newer owner: stops. The store has forgotten the claim: claims again. Else goes on with R."""
    store, worker, checked = turn.world.store, turn.worker, turn.rules.fence_epoch
    told = f"reads its fences: epoch {store.epoch}, R = {store.fence}"
    if checked and store.epoch > worker.epoch:
        yield turn.move(f"{told}; a newer owner, stops", blank(turn.setup, "down"))
    elif checked and store.epoch < worker.epoch:
        yield turn.move(f"{told}; its claim is lost", worker._replace(at="lost"))
    else:
        yield turn.move(told, worker._replace(at="knowing", r=store.fence))
