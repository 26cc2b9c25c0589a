"""What the model knows: the records of one moment of broker, store, group and two workers.

All are immutable and hashable. A moment (`World`) is small enough that hundreds of thousands are held at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

#: The sources that one view of one entity has folded, in order: stands for the state itself.
Sources = tuple[int, ...]
#: By input partition.
Offsets = tuple[int, ...]
#: All that is known of one entity: what its view on each partition has folded.
Features = tuple[Sources, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The protocol. Each field is a rule that a mutation breaks; the defaults are the protocol as it should be.

    Args:
        metadata: group generation sent with the offsets: of the `polled` batch, the `newest`, or `none`.
        begin: where a restart begins: `min` of K and R, `k` or `r`.
        fences_with_reads: step 2 reads features and fences at one moment, and goes on only if these are as believed.
        unique_claims: no epoch is given twice, even if the store forgets some.
        check_all_fences: a write checks the fences of all partitions whose entities it may have read.
        catch_up_first: events in [R, K) of all partitions come before any event past K.
        watch_fences: a worker without input looks whether the fences are where it left them.
    """

    fence_offset: bool = True
    fence_epoch: bool = True
    fences_with_reads: bool = True
    unique_claims: bool = False
    check_all_fences: bool = False
    store_before_commit: bool = True
    records_before_commit: bool = True
    metadata: str = "polled"
    stable_k: bool = True
    forget_on_revoke: bool = True
    abort_on_revoke: bool = True
    begin: str = "min"
    skip_folded: bool = True
    skip_published: bool = True
    new_producer: bool = True
    catch_up_first: bool = True
    watch_fences: bool = True


@dataclass(frozen=True, slots=True)
class Setup:
    """What comes in, and how much may go wrong.

    Args:
        name: for people.
        events: the entity of each event, by input partition.
        repartition: the only input is `orders`; partition 1 is `demand`, made of its lines.
        faults: how many crashes, unforced rebalances, losses of the store, and time-outs of the broker.
        batch: the most events in a micro-batch.
        evicts: a worker may drop what it has in memory at any time.
    """

    name: str
    events: tuple[tuple[int, ...], ...]
    repartition: bool = False
    faults: tuple[int, int, int, int] = (1, 1, 1, 1)
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


class Faults(NamedTuple):
    """How many may still come."""

    crashes: int
    rebalances: int
    losses: int
    timeouts: int


class Entry(NamedTuple):
    """An output record: a `line` (of partition, offset), or a `score` of an entity with the features that it saw.

    `txn` is the transaction that it is in, 0 once it is committed.
    """

    txn: int
    kind: str
    entity: int
    source: tuple[int, int]
    features: Features = ()


class Txn(NamedTuple):
    """A Kafka transaction that is not over.

    Args:
        worker: whose transactional id it has; -1: of an id that nobody uses any more.
        offsets: what was sent to the group, pending; None: nothing yet.
        ending: an EndTxn (commit) is on its way to the coordinator.
        decided: the coordinator has decided on commit; now it writes the markers.
        in_group, in_output: the markers that have been written.
    """

    number: int
    worker: int
    offsets: Offsets | None = None
    ending: bool = False
    decided: bool = False
    in_group: bool = False
    in_output: bool = False


class Store(NamedTuple):
    """Redis: one bucket. `features` by entity."""

    fence: Offsets
    epoch: int
    features: tuple[Features, ...]


class Worker(NamedTuple):
    """One worker: where it is in the steps, and what it believes.

    Args:
        at: down, idle (a member without partitions), reread (to read K), claim (to read R), ready, produced (step 4 is
            done), unwritten (step 6 was done before step 5: only a mutation comes here), ending (waits for EndTxn).
        current: no rebalance has been since it was assigned; it need not know.
        cache: features by entity; None: not in memory.
        batch: (partition, first, after) of the micro-batch at hand.
        done: by partition, what is to be committed; -1: nothing.
        txn: its open transaction; 0: none; -1: it was aborted behind its back.
        held: records that a mutation produces too late.
        late_end: an old EndTxn of this very producer is still on its way: only a mutation leaves one.
    """

    at: str
    current: bool
    k: Offsets
    r: Offsets
    position: Offsets
    epoch: int
    cache: tuple[Features | None, ...]
    batch: tuple[int, int, int]
    done: Offsets
    txn: int = 0
    held: tuple[Entry, ...] = ()
    late_end: bool = False


class World(NamedTuple):
    """One moment. `replica` is a copy of the store that lags, and that a failover will bring back."""

    k: Offsets
    owner: int
    txns: tuple[Txn, ...]
    log: tuple[Entry, ...]
    store: Store
    replica: Store | None
    workers: tuple[Worker, ...]
    left: Faults


class Move(NamedTuple):
    """What somebody may do next, and what the world is then."""

    told: str
    world: World


NO_BATCH = (0, 0, 0)


def empty_store(setup: Setup) -> Store:
    """A store that nobody has written to."""
    return Store((0,) * setup.partitions, 0, (((),) * setup.partitions,) * setup.entities)


def gone(setup: Setup, at: str) -> Worker:
    """A worker with nothing in memory."""
    none = (0,) * setup.partitions
    return Worker(at, False, none, none, none, 0, (None,) * setup.entities, NO_BATCH, (-1,) * setup.partitions)


def beginning(setup: Setup) -> World:
    """Two workers have joined, the first owns the partitions, nothing has been read."""
    idle = gone(setup, "idle")
    return World((0,) * setup.partitions, 0, (), (), empty_store(setup), None, (idle, idle), Faults(*setup.faults))


def put(world: World, i: int, worker: Worker) -> World:
    """The world with worker i replaced."""
    return world._replace(workers=tuple(worker if j == i else w for j, w in enumerate(world.workers)))


def changed(offsets: Offsets, partition: int, offset: int) -> Offsets:
    """The offsets with one replaced."""
    return tuple(offset if p == partition else o for p, o in enumerate(offsets))


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
        return [(line.entity, line.source[1]) for line in readable_lines(world)]
    return [(entity, offset) for offset, entity in enumerate(setup.events[partition])]
