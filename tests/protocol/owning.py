"""How a worker comes to partitions and loses them: assignment, K and R, revoke, and reading K and R again."""

from __future__ import annotations

from collections.abc import Iterator

from tests.protocol import broker
from tests.protocol.turn import Turn
from tests.protocol.world import Move, Offsets, Worker, World, blank, put


def starts(turn: Turn) -> Iterator[Move]:
    """A process that is down is started again; a static name of its own keeps the transactional id."""
    idle = put(turn.world, turn.i, blank(turn.setup, "idle"))
    yield Move("starts again with its transactional id", broker.same_producer_again(idle, turn.i))
    if any(t.worker == turn.i for t in turn.world.txns):
        yield Move("starts again with another transactional id", broker.other_producer(idle, turn.i))


def is_assigned(turn: Turn) -> Iterator[Move]:
    """The group gives it the partitions."""
    if turn.world.owner == turn.i:
        yield turn.move("is assigned the partitions", turn.worker._replace(at="assigned", current=True))


def reads_k(turn: Turn) -> Iterator[Move]:
    """Waits for transactions that carry offsets, and reads K; assigned it claims next, else it knows R already."""
    pending = any(t.offsets and not t.in_group for t in turn.world.txns)
    if pending and turn.rules.stable_k:
        return
    told, worker = f"reads K = {turn.world.k}", turn.worker._replace(k=turn.world.k)
    if worker.at == "assigned":
        yield turn.move(told, worker._replace(at="claiming"))
    else:
        yield _begins(turn, told, worker)


def claims(turn: Turn) -> Iterator[Move]:
    """Raises the epoch and reads R, in one moment; `lost` it goes on with reading K."""
    store = turn.world.store
    epoch = 1 + (max(_epochs(turn)) if turn.rules.unique_claims else store.epoch)
    claimed = turn.within(turn.world._replace(store=store._replace(epoch=epoch)))
    told, worker = f"claims: epoch {epoch}, R = {store.fence}", turn.worker._replace(r=store.fence, epoch=epoch)
    if worker.at == "claiming":
        yield _begins(claimed, told, worker)
    else:
        yield claimed.move(told, worker._replace(at="resuming"))


def _epochs(turn: Turn) -> list[int]:
    replica = turn.world.replica
    known = [w.epoch for w in turn.world.workers]
    return [turn.world.store.epoch, *known, 0 if replica is None else replica.epoch]


def _begins(turn: Turn, told: str, worker: Worker) -> Move:
    begins: dict[str, Offsets] = {"min": tuple(map(min, worker.k, worker.r)), "k": worker.k, "r": worker.r}
    position = begins[turn.rules.begin]
    # A micro-batch that a mutation has kept over a revoke goes on, and by the next poll with the new generation.
    kept = worker._replace(at="polled") if worker.batch else worker._replace(at="ready", position=position)
    return turn.move(f"{told}, begins at {position}", kept)


def is_revoked(turn: Turn) -> Iterator[Move]:
    """Hears, while it polls or waits for the store, that it has lost the partitions.

    Often a worker is asked for them first. That is the same as hearing of the rebalance at once.
    """
    if not turn.worker.current:
        yield Move("hears that its partitions are revoked", _lets_go(turn))


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
        yield turn.move(told, worker._replace(at="resuming", r=store.fence))
