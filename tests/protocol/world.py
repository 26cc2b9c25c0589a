"""What the model knows: the records of one moment of broker, store, group and two workers.

All are immutable and hashable. A moment (`World`) is small enough that millions are held at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

#: By input partition.
Offsets = tuple[int, ...]
#: What the view of each partition has folded of one entity, in order: stands for the entity's state itself.
Features = tuple[tuple[int, ...], ...]
#: Of an entity that is not in memory, or was never scored.
UNKNOWN: Features = ()
#: A transactional id: a worker's by its index; one that no process has any more; and none.
FORSAKEN, NOBODY = -1, -2


@dataclass(frozen=True, slots=True)
class Rules:
    """The protocol. Each field is a rule that a mutation breaks; the defaults are the protocol as it should be.

    Args:
        order: of steps 4 and 5; with a 6 in it the offsets are committed there, and not when the interval is over.
        fence_offset, fence_epoch: what is compared where a fence is looked at.
        fences_with_reads: step 2 looks at the fences of `all` its partitions in the moment in which it reads features;
            at those of the micro-batch; `after` that moment; or `never`.
        unique_claims: no epoch is given twice, even if the store forgets some.
        watch_fences: a worker without input looks whether the fences are where it left them.
        abort_on_conflict, forget_on_conflict: what a fence conflict does before K and R are read again.
        abort_on_revoke, forget_on_revoke, drop_on_revoke: what a revoke does to the transaction, the caches, and to a
            micro-batch that waits for the store.
        end_of_owner: who claims ends the transaction of an owner who has not let go, before K is read.
        metadata: the group generation sent with the offsets: of the `polled` batch, the `newest`, or `none`.
        stable_k: K is read when no transaction that carries offsets is pending.
        begin: where reading begins: `min` of K and R, `k` or `r`.
        skip_folded, skip_published: events before R are not folded, events before K are not published.
        keep_scores: what is not published again is scored all the same, for the store.
        catch_up_first: events in [min(K, R), K) of all partitions come before any event past K.
        new_producer: after a time-out of EndTxn the producer is thrown away.
    """

    order: str = "45"
    fence_offset: bool = True
    fence_epoch: bool = True
    fences_with_reads: Literal["all", "batch", "after", "never"] = "all"
    unique_claims: bool = False
    watch_fences: bool = True
    abort_on_conflict: bool = True
    forget_on_conflict: bool = True
    abort_on_revoke: bool = True
    forget_on_revoke: bool = True
    drop_on_revoke: bool = True
    end_of_owner: bool = True
    metadata: Literal["polled", "newest", "none"] = "polled"
    stable_k: bool = True
    begin: Literal["min", "k", "r"] = "min"
    skip_folded: bool = True
    skip_published: bool = True
    keep_scores: bool = True
    catch_up_first: bool = True
    new_producer: bool = True


class Faults(NamedTuple):
    """How many may still come; of rebalances, those that no crash forces; of time-outs, the broker's."""

    crashes: int = 0
    rebalances: int = 0
    losses: int = 0
    timeouts: int = 0


@dataclass(frozen=True, slots=True)
class Setup:
    """What comes in, and how much may go wrong.

    Args:
        name: for people.
        events: the entity of each event, by input partition.
        faults: the most of each kind.
        repartition: the only input is `orders`; partition 1 is `demand`, made of its lines.
        batch: the most events of a partition in a micro-batch.
        evicts: a worker may drop what it has in memory at any time.
    """

    name: str
    events: tuple[tuple[int, ...], ...]
    faults: Faults
    repartition: bool = False
    batch: int = 2
    evicts: bool = False

    @property
    def partitions(self) -> int:
        """How many input partitions there are."""
        return 2 if self.repartition else len(self.events)

    @property
    def entities(self) -> int:
        """How many entities there are."""
        return 1 + max(max(entities) for entities in self.events)

    def folds(self, partition: int) -> bool:
        """Whether the partition's events change features: with a repartition only `demand` does."""
        return partition == 1 or not self.repartition


class Entry(NamedTuple):
    """An output record: a `line` of an event of partition 0, or a `score` of an entity with the features that it saw.

    Args:
        txn: the transaction that it is in; 0 once that is committed.
        sources: by partition, the newest event behind it; -1: none.
    """

    txn: int
    kind: Literal["line", "score"]
    entity: int
    sources: Offsets
    features: Features = UNKNOWN


class Txn(NamedTuple):
    """A Kafka transaction that is not over.

    Args:
        owner: the transactional id.
        offsets: what was sent to the group, pending; (): nothing yet.
        ending: an EndTxn (commit) is on its way to the coordinator.
        decided: the coordinator has decided on commit; now it writes the markers.
        in_group, in_output: the markers that have been written.
    """

    number: int
    owner: int
    offsets: Offsets = ()
    ending: bool = False
    decided: bool = False
    in_group: bool = False
    in_output: bool = False


class Store(NamedTuple):
    """Redis: one bucket. By entity the `features`, and what the latest score saw; the transactional id of the owner."""

    fence: Offsets
    epoch: int
    features: tuple[Features, ...]
    latest: tuple[Features, ...]
    owner: int = NOBODY


#: Where a worker is. `assigned`, `claimed`: to claim, to end another's transaction; `conflict`, `lost`: to read R
#: again, to claim again; `knowing`: it knows R, to read K. `polled`: step 1 is done, `reading`: features are read but
#: not the fences (both by mutations only); `working`: step 3 is done; `ending`: waits for the answer of EndTxn.
At = Literal[
    "down",
    "idle",
    "assigned",
    "claimed",
    "conflict",
    "lost",
    "knowing",
    "ready",
    "polled",
    "reading",
    "working",
    "ending",
]


class Worker(NamedTuple):
    """One worker: where it is, and what it believes.

    Args:
        current: no rebalance has been since it was assigned; it need not know.
        cache: features by entity.
        batch: where the micro-batch at hand ends, by partition; (): there is none.
        todo: its steps that are still to do.
        results: what step 3 made, for step 5.
        done: by partition, what is to be committed; -1: nothing.
        txn: its open transaction; 0: none; -1: it was aborted behind its back, or its producer is refused.
        ends: the transactional id whose transaction is to be ended.
        late_end: an old EndTxn of this very producer is still on its way: only a mutation leaves one.
    """

    at: At
    current: bool
    k: Offsets
    r: Offsets
    position: Offsets
    epoch: int
    cache: tuple[Features, ...]
    done: Offsets
    batch: Offsets = ()
    todo: str = ""
    results: tuple[Entry, ...] = ()
    txn: int = 0
    ends: int = NOBODY
    late_end: bool = False


class World(NamedTuple):
    """One moment. `replica` is a copy of the store that lags, and that a failover will bring back."""

    k: Offsets
    owner: int
    txns: tuple[Txn, ...]
    log: tuple[Entry, ...]
    store: Store
    replica: Store | None
    workers: tuple[Worker, Worker]
    left: Faults


class Move(NamedTuple):
    """What somebody may do next, and what the world is then."""

    told: str
    world: World


def empty_store(setup: Setup) -> Store:
    """A store that nobody has written to."""
    nothing = (((),) * setup.partitions,) * setup.entities
    return Store((0,) * setup.partitions, 0, nothing, (UNKNOWN,) * setup.entities)


def blank(setup: Setup, at: At) -> Worker:
    """A worker with nothing in memory."""
    none = (0,) * setup.partitions
    return Worker(at, False, none, none, none, 0, (UNKNOWN,) * setup.entities, (-1,) * setup.partitions)


def beginning(setup: Setup) -> World:
    """Two workers have joined, the first owns the partitions, nothing has been read."""
    idle = blank(setup, "idle")
    return World((0,) * setup.partitions, 0, (), (), empty_store(setup), None, (idle, idle), setup.faults)


def put(world: World, i: int, worker: Worker) -> World:
    """The world with worker i replaced."""
    first, second = world.workers
    return world._replace(workers=(worker, second) if i == 0 else (first, worker))


def spent(world: World, fault: str) -> World:
    """The world with one fault fewer to come."""
    return world._replace(left=world.left._replace(**{fault: getattr(world.left, fault) - 1}))


def readable_lines(world: World) -> list[Entry]:
    """The `line` records below the last stable offset: aborted ones are not in the log any more."""
    lines = []
    for entry in world.log:
        if entry.kind == "line":
            if entry.txn:
                break
            lines.append(entry)
    return lines


def inputs(setup: Setup, world: World, partition: int) -> list[tuple[int, int]]:
    """(entity, source) of every event that a consumer can read; a source is counted in the topic it came from first."""
    if setup.repartition and partition == 1:
        return [(line.entity, line.sources[0]) for line in readable_lines(world)]
    return [(entity, offset) for offset, entity in enumerate(setup.events[partition])]
