"""Plans: what happens in a run, drawn from its seed and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

from stream.settings import KafkaSettings
from tests.faults.fault import Fault, kinds
from tests.faults.inputs import VARIANTS

#: The group protocols that workers can be told to use.
PROTOCOLS: Sequence[str] = ("classic", "consumer") if "group_protocol" in KafkaSettings.model_fields else ("classic",)
#: The share of runs with a second fault.
_SECOND = 0.3
#: So many seeds have everything.
_FAR = 200


@dataclass(frozen=True)
class Plan:
    """What happens in a run.

    Args:
        seed: all of it follows from this.
        variant: which input.
        protocol: of the group.
        static: whether workers have names of their own.
        workers: how many there are at the beginning.
        settled: whether traffic waits until each of them has a share.
        batch_max_records, commit_interval_ms: settings of the workers.
        traffic_s: how long the input takes.
        faults: with the share of the input after which each strikes.
        mutation: how the protocol is broken on purpose; see `tests.faults.mutations`.
    """

    seed: int
    variant: int
    protocol: str
    static: bool
    workers: int
    settled: bool
    batch_max_records: int
    commit_interval_ms: int
    traffic_s: float
    faults: tuple[tuple[float, Fault], ...]
    mutation: str = ""

    @property
    def group(self) -> str:
        """What the names of its consumer group and of its workers' transactions begin with, such as run-17-."""
        return f"run-{self.seed}-"

    @property
    def name(self) -> str:
        """Of its directory, such as run-17."""
        name = f"run-{self.seed}" if self.faults else f"undisturbed-{self.variant}"
        return f"{name}-{self.mutation}" if self.mutation else name

    @property
    def replay(self) -> str:
        """The command that runs it alone."""
        flags = [f"--group-protocol {self.protocol}"] if draw(self.seed).protocol != self.protocol else []
        flags += [f"--mutation {self.mutation}"] if self.mutation else []
        return " ".join(["python -m tests.faults --replay", str(self.seed), *flags])

    @property
    def ages(self) -> bool:
        """Whether scores age, and ticks make them anew. By the input, since runs of one input are compared."""
        return self.variant == VARIANTS - 1

    @property
    def brokers(self) -> int:
        """How many it needs."""
        return max((fault.brokers for _, fault in self.faults), default=1)

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        faults = [{"after": round(share, 3), **fault.told()} for share, fault in self.faults]
        return {**{name: getattr(self, name) for name in self.__annotations__ if name != "faults"}, "faults": faults}


def undisturbed(variant: int) -> Plan:
    """The run that all others are compared with."""
    return Plan(-1 - variant, variant, PROTOCOLS[0], True, 1, True, 100, 100, 1.0, ())


def draw(seed: int, protocol: str | None = None) -> Plan:
    """The plan of a seed: kinds take turns, so that any row of seeds has each as often as any other.

    Args:
        protocol: in place of the one that the seed draws.
    """
    every = list(kinds().values())
    round_ = _round(every)
    random = Random(seed)
    first, turn = round_[seed % len(round_)], _turn(round_, seed)
    others = [f for f in every if f.mixes and f is not first and not (f.at_step and first.at_step)]
    chosen = [first.draw(random, turn)]
    if first.mixes and random.random() < _SECOND:
        chosen.append(random.choice(others).draw(random, random.randrange(1_000)))
    shares = sorted(random.uniform(0.1, 0.7) for _ in chosen)
    drawn = random.choice(PROTOCOLS)
    return Plan(
        seed=seed,
        variant=random.randrange(VARIANTS),
        protocol=protocol or drawn,
        static=random.random() < 0.7,
        workers=max(random.choice((1, 1, 2, 3)), *(f.workers for f in chosen)),
        settled=random.random() < 0.5 or any(f.at_step for f in chosen),
        batch_max_records=random.choice((25, 60, 150, 400)),
        commit_interval_ms=random.choice((20, 100, 100, 300)),
        traffic_s=round(random.uniform(1.0, 2.0), 2),
        faults=tuple(zip(shares, chosen, strict=True)),
    )


def _round(every: Sequence[type[Fault]]) -> list[type[Fault]]:
    """The kinds in turn, each as often as it weighs, well spread."""
    places = [((n + 0.5) / kind.weight, kind.kind, kind) for kind in every for n in range(kind.weight)]
    return [kind for _, _, kind in sorted(places, key=lambda place: place[:2])]


def _turn(round_: Sequence[type[Fault]], seed: int) -> int:
    """How many seeds before this one had its kind first."""
    rounds, at = divmod(seed, len(round_))
    first = round_[at]
    return rounds * first.weight + round_[:at].count(first)


def plans(runs: int, first_seed: int, only: Sequence[str] = (), protocol: str | None = None) -> Iterator[Plan]:
    """So many plans, of the seeds from the first on; seeds whose (first) kind is not wanted are passed over."""
    found = 0
    for seed in count(first_seed):
        if found == runs:
            return
        plan = draw(seed, protocol)
        if not only or plan.faults[0][1].kind in only or any(f.kind in only for _, f in plan.faults):
            found += 1
            yield plan


def covering(first_seed: int = 0) -> list[Plan]:
    """Few plans that have every kind of fault, and every step at which one strikes: each brings something new."""
    every, found = [draw(seed) for seed in range(first_seed, first_seed + _FAR)], set[str]()
    chosen = []
    for plan in every:
        faces = {fault.face for _, fault in plan.faults}
        if not faces <= found:
            chosen.append(plan)
            found |= faces
    return chosen
