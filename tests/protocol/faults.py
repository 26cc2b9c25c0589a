"""What goes wrong by itself: crashes, and a store that loses what it had."""

from __future__ import annotations

from collections.abc import Iterator

from tests.protocol.world import Move, Setup, Worker, World, blank, empty_store, put, spent


def moves(setup: Setup, world: World) -> Iterator[Move]:
    """All faults that may come next; the broker's own are with the broker."""
    if world.left.crashes:
        for i, worker in enumerate(world.workers):
            if worker.at not in ("down", "idle"):
                crashed = put(world, i, blank(setup, "down"))  # its transaction stays with the broker
                yield Move(f"worker {i + 1} crashes {where(worker)}", spent(crashed, "crashes"))
    if all(w.at != "reading" for w in world.workers):  # a pipeline that breaks is sent again as a whole
        yield from _losses(setup, world)


def where(worker: Worker) -> str:
    """Where in the steps a worker is, for people."""
    if worker.at == "working":
        return f"before step {worker.todo[0]}"
    if worker.at == "ready" and max(worker.done) >= 0:
        return "before step 6"
    return _WHERE.get(worker.at, "while it reads K and R")


_WHERE = {"ready": "between micro-batches", "polled": "before step 2", "reading": "in step 2", "ending": "in step 6"}


def _losses(setup: Setup, world: World) -> Iterator[Move]:
    if world.replica is not None:
        told = f"failover: the store is as it was, fence {world.replica.fence}, epoch {world.replica.epoch}"
        yield Move(told, world._replace(store=world.replica, replica=None))
    elif world.left.losses:
        yield Move("the replica hears no more of the store", spent(world._replace(replica=world.store), "losses"))
        if world.store.epoch:
            yield Move("the store is wiped", spent(world._replace(store=empty_store(setup)), "losses"))
