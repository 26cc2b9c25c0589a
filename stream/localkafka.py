"""Apache Kafka as local processes, one broker or three, from its released jars: what tests and `tidecast up` run on.

Each broker is leashed to this process (`stream.leash`), so that none is left running. The script `deploy/kafka/kafka`
knows how a broker is configured, formatted and started; this module only holds the processes. Needs Java 17 and, the
first time, Maven and the network.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from stream.embedded import Service
from stream.errors import UsageError

SCRIPT = Path(__file__).parents[1] / "deploy" / "kafka" / "kafka"
_START_S = 60.0
#: Below the ports that systems give to outgoing connections: a client that keeps asking for a killed broker could
#: else be given that broker's port, and connect to itself.
_PORTS = range(20_000, 32_000)


def check() -> str:
    """Which Kafka would be started, such as "Apache Kafka 4.4.0 on Java 17"; starts and fetches nothing.

    Raises:
        UsageError: Java, Maven or the script is missing; says what to install.
    """
    return _script(["check"]).strip()


def free_ports(count: int) -> int:
    """The first of `count` consecutive loopback ports that are free now.

    Raises:
        UsageError: there are none.
    """
    for _ in range(100):
        first = random.randrange(_PORTS.start, _PORTS.stop - count)
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise UsageError(f"no {count} free ports in a row on 127.0.0.1 from {_PORTS.start} to {_PORTS.stop}")


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.socket() as s:
        # As the broker itself does: the ended connections of a former one do not count.
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        return True
    return False


def _script(
    arguments: list[str], say: Callable[[str], None] | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """What a command of the script answers; each line of its progress goes to `say`."""
    if not SCRIPT.exists():
        raise UsageError(
            f"a local Apache Kafka is started by deploy/kafka/kafka, and there is no {SCRIPT}: an installed package "
            "does not have it; run from a clone of the repository, or use the embedded broker"
        )
    command = ["bash", str(SCRIPT), *arguments]
    env = {**os.environ, **(environment or {})}
    with subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if say is not None:
                say(line.rstrip())
        answer = process.stdout.read()
    if process.returncode:
        message = "".join(said[next((i for i, line in enumerate(said) if line.startswith("kafka: ")), 0) :])
        raise UsageError(message.removeprefix("kafka: ").strip() or f"{SCRIPT} ended with {process.returncode}")
    return answer


class LocalKafka:
    """One broker or three that keep their data in a temporary directory, for a `with` statement.

    Brokers are numbered from 1. With three, topics have three copies and `min.insync.replicas` is 2.

    Args:
        brokers: 1 or 3.
        properties: further broker properties, for every broker.
        say: gets lines of progress while Maven fetches the jars.

    Example:
        with LocalKafka(brokers=3) as kafka:
            kafka.kill(2)
            print(kafka.bootstrap)
            kafka.restart(2)
    """

    def __init__(
        self,
        brokers: int = 1,
        properties: Mapping[str, str] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.numbers = range(1, brokers + 1)
        self.bootstrap = ""
        self._properties, self._say = properties or {}, say
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._services: dict[int, Service] = {}
        self._ports: dict[int, int] = {}

    def __enter__(self) -> LocalKafka:
        self._directory = tempfile.TemporaryDirectory(prefix="tidecast-kafka-", ignore_cleanup_errors=True)
        try:
            self._prepare()
            for number in self.numbers:
                self._start(number)
            self._wait(*self.numbers)
        except BaseException:
            self.close()
            raise
        return self

    def _prepare(self) -> None:
        brokers = len(self.numbers)
        first = free_ports(2 * brokers)
        self._ports = {number: first + number - 1 for number in self.numbers}
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in self._ports.values())
        lines = "\n".join(f"{name}={value}" for name, value in self._properties.items())
        arguments = ["prepare", str(self.directory), str(first), "--brokers", str(brokers)]
        _script(arguments, self._say, {"KAFKA_PROPERTIES": lines})

    def _start(self, number: int) -> None:
        command = ["bash", str(SCRIPT), "run", str(self.directory), str(number)]
        self._services[number] = Service(f"Kafka broker {number}", command, self._ports[number], self.log(number))

    def _wait(self, *numbers: int) -> None:
        """A broker listens once the controller has let it in."""
        deadline = time.monotonic() + _START_S
        for number in numbers:
            self._services[number].wait_until_ready(deadline)

    @property
    def directory(self) -> Path:
        """Where data and logs are, as long as it runs."""
        if self._directory is None:
            raise RuntimeError("this Kafka does not run; use it in a `with` statement")
        return Path(self._directory.name)

    def log(self, number: int) -> Path:
        """The log of a broker."""
        return self.directory / f"broker-{number}" / "kafka.log"

    def pid(self, number: int) -> int:
        """The process of a broker that runs: for signals."""
        if number not in self._services:
            raise RuntimeError(f"broker {number} does not run")
        return int((self.directory / f"broker-{number}" / "kafka.pid").read_text())

    def kill(self, number: int) -> None:
        """Ends a broker as a power cut would."""
        os.kill(self.pid(number), signal.SIGKILL)
        # Its leash ends with it.
        self._services.pop(number).stop()

    def restart(self, number: int) -> None:
        """Starts a killed broker again, with its data and its port, and waits until it answers.

        Raises:
            UsageError: it did not start; shows the end of its log.
        """
        if number in self._services:
            raise RuntimeError(f"broker {number} runs; kill it first")
        self._start(number)
        self._wait(number)

    def heal(self) -> None:
        """Starts every broker again that was killed."""
        killed = [number for number in self.numbers if number not in self._services]
        for number in killed:
            self._start(number)
        self._wait(*killed)

    def close(self) -> None:
        """Ends the brokers and forgets their data."""
        for service in self._services.values():
            service.stop()
        self._services.clear()
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
