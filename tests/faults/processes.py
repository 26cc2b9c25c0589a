"""Processes as the suite sees them: the zygote that forks them, a lane's line to it, and each with its pid."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import msgspec

from stream.embedded import wait_for
from tests.faults.messages import Changed, Exec, Fork, Notice, Signal, Started

_DECODER: msgspec.json.Decoder[Notice] = msgspec.json.Decoder(Notice)
#: Kernels may have to be compiled.
_WARM_S = 120.0
_ANSWER_S = 20.0
#: Libraries that would start threads of their own, which a fork would cut off.
_ONE_THREAD = {
    "ORT_DISABLE_TELEMETRY": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


class Zygote:
    """The process that forks, for a `with` statement.

    Args:
        directory: where its socket and its log are.
    """

    def __init__(self, directory: Path) -> None:
        self.log = directory / "zygote.log"
        # The path of a socket may have 107 bytes, and directories of tests are deep.
        self._path = str(Path(tempfile.gettempdir()) / f"tidecast-zygote-{os.getpid()}-{id(self):x}")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Zygote:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.zygote", self._path],
                env={**os.environ, **_ONE_THREAD},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_for(self._is_ready, _WARM_S, f"a zygote (its log: {self.log})")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the zygote ended: {self.log.read_text()[-2000:]}")
        return os.path.exists(self._path)

    def line(self) -> Line:
        """A connection of one's own."""
        return Line(self._path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(20)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


@dataclass
class Process:
    """A process that the zygote started.

    Args:
        pid: of its own.
        log: the file that gets what it says.
        line: the connection over which it was started.
        code: how it ended; None while it runs. Minus a number is a signal.
        stopped_at: since when SIGSTOP holds it (monotonic); None where it does not.
        signals: that it was sent.
    """

    pid: int
    log: Path
    line: Line
    code: int | None = None
    stopped_at: float | None = None
    signals: list[str] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.code is None

    @property
    def stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        return self.stopped_at is not None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, if it runs."""
        if self.runs:
            self.signals.append(number.name)
            self.line.signal(self.pid, number)

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Line:
    """A lane's connection to the zygote: starts processes, and hears what becomes of them."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._unread = b""
        self._processes: dict[int, Process] = {}
        self._answers: list[Process] = []

    def start(self, request: Fork | Exec) -> Process:
        """Starts a process.

        Raises:
            TimeoutError: the zygote does not answer.
        """
        self._socket.sendall(msgspec.json.encode(request) + b"\n")
        deadline = time.monotonic() + _ANSWER_S
        while not self._answers:
            if time.monotonic() > deadline:
                raise TimeoutError("the zygote does not answer")
            self._receive(0.5, Path(request.log))
        return self._answers.pop()

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Has a signal sent to a process."""
        self._socket.sendall(msgspec.json.encode(Signal(pid, number)) + b"\n")

    def hear(self, wait_s: float = 0.0) -> None:
        """Takes in what has become of processes."""
        self._receive(wait_s, None)

    def _receive(self, wait_s: float, log: Path | None) -> None:
        if not select.select([self._socket], [], [], wait_s)[0]:
            return
        data = self._socket.recv(65_536)
        if not data:
            raise RuntimeError("the zygote is gone; see zygote.log")
        *lines, self._unread = (self._unread + data).split(b"\n")
        for notice in map(_DECODER.decode, lines):
            if isinstance(notice, Started):
                assert log is not None
                self._processes[notice.pid] = process = Process(notice.pid, log, self)
                self._answers.append(process)
            else:
                self._note(notice)

    def _note(self, notice: Changed) -> None:
        process = self._processes[notice.pid]
        process.stopped_at = time.monotonic() if notice.how == "stopped" else None
        if notice.how == "ended":
            process.code = notice.code
            del self._processes[notice.pid]

    def close(self) -> None:
        """Ends all that was started over it."""
        self._socket.close()
