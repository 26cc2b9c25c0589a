"""Faults of the broker: dead, frozen, moved, and cut off in the middle of EndTxn."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tests.faults.cluster import coordinator_of, elect_preferred
from tests.faults.fault import Fault
from tests.faults.kafkarelay import Cut, KafkaRelay

if TYPE_CHECKING:
    from tests.faults.scene import Scene


@dataclass(frozen=True)
class BrokerKilled(Fault):
    """A broker dies and comes back; with one broker, nothing works until then."""

    kind = "broker-killed"
    doc = "a broker is killed and started again"

    down_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> BrokerKilled:
        return cls(round(random.uniform(0.0, 1.5), 2))

    def strike(self, scene: Scene) -> None:
        number = scene.random.choice(list(scene.cluster.numbers))
        _kill_and_restart(scene, number, self.down_s)


def _kill_and_restart(scene: Scene, number: int, down_s: float) -> None:
    scene.note(f"broker {number} is killed")
    scene.cluster.kill(number)
    scene.pause(down_s)
    scene.meanwhile(lambda: scene.cluster.restart(number))
    scene.note(f"broker {number} is back")


@dataclass(frozen=True)
class LeaderMoved(Fault):
    """A broker is frozen until others lead its partitions, and gets them back when it has thawed."""

    kind = "leader-moved"
    doc = "leaders of partitions move to other brokers and back"
    brokers = 3

    longer_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> LeaderMoved:
        return cls(round(random.uniform(0.0, 1.0), 2))

    def strike(self, scene: Scene) -> None:
        number = scene.random.choice(list(scene.cluster.numbers))
        pid = scene.cluster.pid(number)
        os.kill(pid, signal.SIGSTOP)
        try:
            scene.pause(2.5 + self.longer_s)
        finally:
            os.kill(pid, signal.SIGCONT)
        scene.note(f"broker {number} goes on")
        scene.meanwhile(lambda: elect_preferred(scene.cluster))


@dataclass(frozen=True)
class CoordinatorLost(Fault):
    """The broker dies that coordinates the group, or the transactions of the first worker."""

    kind = "coordinator-lost"
    doc = "the coordinator of the group or of the transactions is lost"
    brokers = 3

    of: str
    down_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> CoordinatorLost:
        return cls(("group", "transactions")[turn % 2], round(random.uniform(0.0, 1.5), 2))

    @property
    def face(self) -> str:
        return f"{self.kind} {self.of}"

    def strike(self, scene: Scene) -> None:
        group = scene.settings.kafka.group_id
        if self.of == "group":
            number = coordinator_of(scene.cluster, "__consumer_offsets", group)
        else:
            number = coordinator_of(scene.cluster, "__transaction_state", f"{group}-worker-1")
        _kill_and_restart(scene, number, self.down_s)


@dataclass(frozen=True)
class EndTxnCut(Fault):
    """Connections are cut when a worker ends a transaction, before the broker knows of it or before it has answered."""

    kind = "end-txn-cut"
    doc = "connections are cut in the middle of EndTxn"

    cuts: tuple[Cut, ...]

    @classmethod
    def draw(cls, random: Random, turn: int) -> EndTxnCut:
        ways: tuple[Cut, ...] = ("before", "after")
        return cls(tuple(random.choice(ways) for _ in range(random.randint(1, 4))))

    def prepare(self, scene: Scene) -> None:
        ports = [int(address.rpartition(":")[2]) for address in scene.cluster.bootstrap.split(",")]
        relay = KafkaRelay(*ports)
        scene.enter_context(relay)
        scene.relays[self.kind] = relay
        scene.crew.environment["TIDECAST_KAFKA__BOOTSTRAP_SERVERS"] = ",".join(
            f"127.0.0.1:{relay.ports[port]}" for port in ports
        )

    def strike(self, scene: Scene) -> None:
        relay = scene.relays[self.kind]
        assert isinstance(relay, KafkaRelay)
        relay.cuts.extend(self.cuts)
        scene.until(lambda: not relay.cuts or scene.traffic.share >= 1, "transactions that end")
        scene.note(f"{relay.done} connections were cut")
        relay.cuts.clear()
