"""The store of a run: a Valkey server that can be killed, rolled back, frozen and replaced by its replica."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import redis

from stream.embedded import store_command
from stream.localkafka import free_ports
from tests.faults.messages import Exec
from tests.faults.processes import Line, Process

_START_S = 20.0


class StoreServer:
    """A server on a port that stays its own, whatever becomes of its process.

    Args:
        line: starts it.
        directory: where its data and its log are.
    """

    def __init__(self, line: Line, directory: Path) -> None:
        self._line, self._directory = line, directory
        self.port = free_ports(1)
        self._process: Process | None = None
        self._others: list[Process] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> Any:
        """A client; it connects anew when it must."""
        return redis.Redis("127.0.0.1", self.port, socket_timeout=5)

    def start(self) -> None:
        """Starts it, with what `keep` has kept, and waits until it answers."""
        self._process = self._start(self.port, self._directory)

    def _start(self, port: int, directory: Path, *options: str) -> Process:
        command = [*store_command(port, str(directory)), "--dir", str(directory), *options]
        process = self._line.start(Exec(str(self._directory / "store.log"), command))
        client = redis.Redis("127.0.0.1", port, socket_timeout=1)
        deadline = time.monotonic() + _START_S
        with contextlib.closing(client):
            while time.monotonic() < deadline and process.runs:
                with contextlib.suppress(redis.RedisError):
                    client.ping()
                    return process
                self._line.hear(0.005)
        raise TimeoutError(f"the store did not start on port {port}; its log is {self._directory / 'store.log'}")

    def kill(self) -> None:
        """Ends it as a power cut would."""
        assert self._process is not None
        self._process.send(signal.SIGKILL)
        deadline = time.monotonic() + _START_S
        while self._process.runs:
            self._line.hear(0.01)
            if time.monotonic() > deadline:
                raise TimeoutError("a killed store did not end")

    def freeze(self) -> None:
        """It takes connections and answers nothing."""
        assert self._process is not None
        self._process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on with what it has been asked meanwhile."""
        assert self._process is not None
        self._process.send(signal.SIGCONT)

    def keep(self) -> None:
        """Writes what it holds now to its disk: what a restart will find."""
        self.client.save()

    def keep_nothing(self) -> None:
        """A restart will find nothing."""
        (self._directory / "dump.rdb").unlink(missing_ok=True)

    def replica(self) -> Replica:
        """Starts a replica and waits until it has everything."""
        directory = self._directory / "replica"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        port = free_ports(1)
        process = self._start(
            port, directory, "--replicaof", f"127.0.0.1 {self.port}", "--repl-diskless-sync-delay", "0"
        )
        client: Any = redis.Redis("127.0.0.1", port)
        deadline = time.monotonic() + _START_S
        while client.info("replication")["master_link_status"] != "up":
            if time.monotonic() > deadline:
                raise TimeoutError("the replica does not follow")
            self._line.hear(0.01)
        return Replica(process, client)

    def fail_over(self, replica: Replica) -> None:
        """The server dies, and its replica answers at its address."""
        self.kill()
        replica.client.config_set("port", self.port)
        self._process = replica.process

    @property
    def log(self) -> str:
        """What its processes said."""
        return (self._directory / "store.log").read_text(errors="replace")


class Replica:
    """A server that follows the store."""

    def __init__(self, process: Process, client: Any) -> None:
        self.process, self.client = process, client

    def fall_behind(self) -> None:
        """From now on it hears of nothing more; it has what it has."""
        self.client.replicaof("no", "one")
