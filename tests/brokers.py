"""Which broker the tests run on, and which guarantees it lets them exercise.

In this order: one that TIDECAST_TEST_KAFKA names, Docker by way of testcontainers, Apache Kafka as local processes, the
embedded broker. TIDECAST_NO_KAFKA=1 leaves the embedded one only; TIDECAST_REQUIRE_KAFKA=1 makes a test fail that would
be skipped for lack of Kafka.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NoReturn

import pytest
from confluent_kafka.admin import AdminClient

from stream.admin import connect
from stream.embedded import Embedded, wait_for
from stream.errors import UsageError
from stream.localkafka import LocalKafka, check
from stream.settings import load
from stream.topology import TOPICS
from tests import containers


class Guarantee(StrEnum):
    """What some brokers let tests exercise and others do not, as a sentence for the end of a run."""

    APACHE = "the pipeline on Apache Kafka, with the settings that workers have by default"
    ISOLATION = "exactly once: readers do not see the records of aborted transactions"
    NEW_GROUPS = "the consumer group protocol of Kafka 4 (KIP-848)"
    FAILOVER = "nothing acknowledged is lost when one of three brokers dies"
    FAULTS = "exactly once while workers, brokers and stores are killed, frozen, wiped and slowed down (tests/faults)"


KAFKA = frozenset({Guarantee.APACHE, Guarantee.ISOLATION, Guarantee.NEW_GROUPS})
#: A member of a KIP-848 group cannot name its time-out; Kafka's own would make a test of a lost worker take 45 s.
_SHORT_SESSIONS = {"group.consumer.session.timeout.ms": "6000", "group.consumer.heartbeat.interval.ms": "1000"}


@dataclass(frozen=True)
class Broker:
    """A broker, or three, that run.

    Args:
        name: for people.
        bootstrap: addresses.
        guarantees: what can be exercised on it.
        environment: settings for workers on it.
        local: the processes, where tests may kill them.
        lack: skips or fails a test for lack of guarantees.
    """

    name: str
    bootstrap: str
    guarantees: frozenset[Guarantee]
    environment: Mapping[str, str]
    lack: Callable[[Sequence[Guarantee], str], NoReturn]
    local: LocalKafka | None = None

    @property
    def isolates(self) -> bool:
        """Whether it hides the records of aborted transactions."""
        return Guarantee.ISOLATION in self.guarantees

    def require(self, *guarantees: Guarantee) -> None:
        """Skips the test where one of them cannot be exercised here; fails it where Kafka is required."""
        if missing := [g for g in guarantees if g not in self.guarantees]:
            self.lack(missing, f"it ran on {self.name}")

    @property
    def processes(self) -> LocalKafka:
        """The broker's processes, to kill and to restart."""
        if self.local is None:
            self.lack([Guarantee.FAILOVER], f"it ran on {self.name}")
        return self.local

    def topics(self) -> list[str]:
        """Tidecast's topics that it has."""
        _, have = connect(load(environ=self.environment).settings.kafka)
        return sorted(TOPICS.keys() & have.keys())

    def clean(self) -> None:
        """Deletes Tidecast's topics, and so what groups committed on them: for a test that wants to begin anew."""
        if topics := self.topics():
            admin = AdminClient({"bootstrap.servers": self.bootstrap})
            for deleted in admin.delete_topics(topics).values():
                deleted.result(30)
            wait_for(lambda: not self.topics(), 30, f"the end of {', '.join(topics)}")


@dataclass
class Brokers:
    """The choice, made once a session, and what became of it.

    Args:
        environ: the environment.
        ran: brokers that were started.
        missed: guarantees that tests asked for in vain, and why.
        reasons: why earlier choices were passed over.
    """

    environ: Mapping[str, str]
    ran: list[str] = field(default_factory=list)
    missed: dict[Guarantee, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.required and self._embedded_only:
            raise pytest.UsageError("TIDECAST_REQUIRE_KAFKA=1 and TIDECAST_NO_KAFKA=1 contradict each other: unset one")

    @property
    def required(self) -> bool:
        """Whether to fail rather than skip."""
        return self.environ.get("TIDECAST_REQUIRE_KAFKA") == "1"

    @property
    def _embedded_only(self) -> bool:
        return self.environ.get("TIDECAST_NO_KAFKA") == "1"

    @cached_property
    def _local(self) -> str | None:
        """The Apache Kafka that can be started as local processes."""
        if self._embedded_only:
            self.reasons.append("TIDECAST_NO_KAFKA=1")
            return None
        try:
            return f"{check()}, as local processes"
        except UsageError as error:
            self.reasons.append(str(error))
            return None

    @cached_property
    def choices(self) -> dict[str, Callable[[], AbstractContextManager[Broker]]]:
        """Brokers by name, the best first."""
        if address := self.environ.get("TIDECAST_TEST_KAFKA"):
            name = f"{address}, which TIDECAST_TEST_KAFKA names"
            return {name: lambda: self._named(name, address)}
        found: dict[str, Callable[[], AbstractContextManager[Broker]]] = {}
        if not self._embedded_only and containers.docker_answers():
            image = f"{containers.image('kafka')} in Docker"
            found[image] = lambda: self._in_docker(image)
        if local := self._local:
            found[local] = lambda: self._as_processes(local, 1)
        if not self.required:
            found["the embedded broker"] = self._embedded
        return found

    def header(self) -> str:
        """The line at the beginning of a run."""
        chosen = next(iter(self.choices), "none, and TIDECAST_REQUIRE_KAFKA=1")
        return f"broker: {chosen}" + (f" ({'; '.join(self.reasons)})" if self.reasons else "")

    @contextlib.contextmanager
    def single(self) -> Iterator[Broker]:
        """The best broker that starts."""
        with contextlib.ExitStack() as stack:
            for name, start in self.choices.items():
                try:
                    broker = stack.enter_context(start())
                except UsageError as error:
                    self.reasons.append(f"{name}: {error}")
                    continue
                self.ran.append(name)
                yield broker
                return
            pytest.fail(f"no broker can be started: {'; '.join(self.reasons)}")

    @contextlib.contextmanager
    def cluster(self) -> Iterator[Broker]:
        """Three brokers that tests may kill; skips or fails where there are none."""
        if self._local is None:
            self.lack([Guarantee.FAILOVER], "; ".join(self.reasons))
        name = f"{self._local} (three brokers)"
        with contextlib.ExitStack() as stack:
            try:
                broker = stack.enter_context(self._as_processes(name, 3))
            except UsageError as error:
                self.lack([Guarantee.FAILOVER], str(error))
            self.ran.append(name)
            yield broker

    @contextlib.contextmanager
    def redis(self) -> Iterator[str]:
        """The address of a store: in Docker where it answers, else from the wheel."""
        with contextlib.ExitStack() as stack:
            url = ""
            if not self._embedded_only and containers.docker_answers():
                with contextlib.suppress(UsageError):
                    url = stack.enter_context(containers.redis())
            yield url or stack.enter_context(Embedded(broker=False)).store_url

    def require_processes(self, *guarantees: Guarantee) -> None:
        """Skips the test, or fails it where Kafka is required, where no Kafka can be started as local processes."""
        if self._local is None:
            self.lack(guarantees, "; ".join(self.reasons))

    def lack(self, guarantees: Sequence[Guarantee], why: str) -> NoReturn:
        """Skips the test, or fails it where Kafka is required, and remembers what was not exercised."""
        because = "; ".join([why, *(r for r in self.reasons if r not in why)])
        self.missed |= dict.fromkeys(guarantees, because)
        told = f"not exercised: {', '.join(guarantees)} ({because})"
        if self.required:
            pytest.fail(f"TIDECAST_REQUIRE_KAFKA=1, and {told}")
        pytest.skip(told)

    def summary(self) -> list[str]:
        """The lines at the end of a run: where it ran, and what it leaves unproven."""
        lines = [f"ran on {name}" for name in dict.fromkeys(self.ran)]
        for guarantee, why in self.missed.items():
            lines += [f"NOT exercised: {guarantee}", f"  because {why}"]
        return lines

    def _broker(self, name: str, bootstrap: str, local: LocalKafka | None = None) -> Broker:
        environment = {"TIDECAST_KAFKA__BOOTSTRAP_SERVERS": bootstrap}
        guarantees = KAFKA | {Guarantee.FAILOVER} if local is not None and len(local.numbers) > 1 else KAFKA
        return Broker(name, bootstrap, guarantees, environment, self.lack, local)

    @contextlib.contextmanager
    def _named(self, name: str, address: str) -> Iterator[Broker]:
        broker = self._broker(name, address)
        if topics := broker.topics():
            raise UsageError(
                f"it has topics already that tests would delete: {', '.join(topics)}; name a broker that has none of "
                "them, or delete them"
            )
        try:
            yield broker
        finally:
            broker.clean()

    @contextlib.contextmanager
    def _in_docker(self, name: str) -> Iterator[Broker]:
        with containers.kafka() as bootstrap:
            yield self._broker(name, bootstrap)

    @contextlib.contextmanager
    def _as_processes(self, name: str, brokers: int) -> Iterator[Broker]:
        with LocalKafka(brokers, _SHORT_SESSIONS) as local:
            yield self._broker(name, local.bootstrap, local)

    @contextlib.contextmanager
    def _embedded(self) -> Iterator[Broker]:
        with Embedded(store=False) as services:
            environment = {n: v for n, v in services.environment().items() if "STORE" not in n}
            yield Broker("the embedded broker", services.bootstrap_servers, frozenset(), environment, self.lack)
