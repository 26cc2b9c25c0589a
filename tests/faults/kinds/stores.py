"""Faults of the store: gone, rolled back, replaced, empty, unwilling, slow, full."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tests.faults.fault import Fault
from tests.faults.relay import SlowRelay

if TYPE_CHECKING:
    from tests.faults.scene import Scene


@dataclass(frozen=True)
class StoreKilled(Fault):
    """The store dies and starts with nothing, as one does that keeps nothing on disk."""

    kind = "store-killed"
    doc = "the store is killed and starts again empty"
    loses = True

    down_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> StoreKilled:
        return cls(round(random.choice((0.0, random.uniform(0.1, 1.5))), 2))

    def strike(self, scene: Scene) -> None:
        scene.store.keep_nothing()
        scene.store.kill()
        scene.pause(self.down_s)
        scene.store.start()


@dataclass(frozen=True)
class StoreRolledBack(Fault):
    """The store dies and starts with what it had written to its disk a while ago: the last second is lost."""

    kind = "store-rolled-back"
    doc = "the store is killed and starts again with its last second lost"
    loses = True

    lost_s: float
    down_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> StoreRolledBack:
        return cls(round(random.uniform(0.1, 1.0), 2), round(random.uniform(0.0, 0.5), 2))

    def strike(self, scene: Scene) -> None:
        scene.store.keep()
        scene.pause(self.lost_s)
        scene.store.kill()
        scene.pause(self.down_s)
        scene.store.start()
        scene.store.keep_nothing()


@dataclass(frozen=True)
class StoreFailsOver(Fault):
    """The store dies, and a replica that has fallen behind answers at its address."""

    kind = "store-fails-over"
    doc = "the store fails over to a replica that lags behind"
    loses = True

    lag_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> StoreFailsOver:
        return cls(round(random.uniform(0.0, 1.0), 2))

    def strike(self, scene: Scene) -> None:
        replica = scene.store.replica()
        scene.pause(0.1)
        replica.fall_behind()
        scene.pause(self.lag_s)
        scene.store.fail_over(replica)


@dataclass(frozen=True)
class StoreWiped(Fault):
    """FLUSHALL, once or twice."""

    kind = "store-wiped"
    doc = "the store is wiped with FLUSHALL"
    loses = True

    again_after_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> StoreWiped:
        return cls(round(random.choice((0.0, random.uniform(0.05, 0.5))), 2))

    def strike(self, scene: Scene) -> None:
        scene.store.client.flushall()
        if self.again_after_s:
            scene.pause(self.again_after_s)
            scene.store.client.flushall()


@dataclass(frozen=True)
class StoreReadOnly(Fault):
    """The server that answers is a replica for a while: it takes no writes."""

    kind = "store-read-only"
    doc = "the store takes no writes for a while"

    seconds: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> StoreReadOnly:
        return cls(round(random.uniform(0.3, 2.0), 2))

    def strike(self, scene: Scene) -> None:
        scene.store.client.replicaof("127.0.0.1", "1")  # where nobody is
        scene.pause(self.seconds)
        scene.store.client.replicaof("no", "one")


@dataclass(frozen=True)
class StoreFull(Fault):
    """maxmemory is reached, and nothing may be evicted."""

    kind = "store-full"
    doc = "the store is full for a while (maxmemory, noeviction)"

    seconds: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> StoreFull:
        return cls(round(random.uniform(0.3, 2.0), 2))

    def strike(self, scene: Scene) -> None:
        scene.store.client.config_set("maxmemory", "1mb")
        scene.pause(self.seconds)
        scene.store.client.config_set("maxmemory", "0")


@dataclass(frozen=True)
class StoreHangs(Fault):
    """The store takes requests and answers none, for longer than workers wait: they may have been carried out."""

    kind = "store-hangs"
    doc = "the store answers nothing for longer than workers wait, and then all"

    seconds: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> StoreHangs:
        return cls(round(random.uniform(1.2, 2.5), 2))

    def strike(self, scene: Scene) -> None:
        scene.store.freeze()
        scene.pause(self.seconds)
        scene.store.thaw()


@dataclass(frozen=True)
class StoreSlow(Fault):
    """Every answer of the store comes late."""

    kind = "store-slow"
    doc = "the store is slow"

    delay_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> StoreSlow:
        return cls(round(random.uniform(0.02, 0.3), 3))

    def prepare(self, scene: Scene) -> None:
        relay = SlowRelay(scene.store.port)
        scene.enter_context(relay)
        scene.relays[self.kind] = relay
        scene.crew.environment["TIDECAST_STORE__URL"] = f"redis://127.0.0.1:{relay.ports[scene.store.port]}/0"

    def strike(self, scene: Scene) -> None:
        self._slow(scene, self.delay_s)

    def heal(self, scene: Scene) -> None:
        self._slow(scene, 0.0)

    def _slow(self, scene: Scene, delay_s: float) -> None:
        relay = scene.relays[self.kind]
        assert isinstance(relay, SlowRelay)
        relay.delay_s = delay_s
