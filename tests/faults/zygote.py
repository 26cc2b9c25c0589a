"""The zygote: a process that has imported the engine and warmed its kernels, and forks workers from that.

A worker that starts cold spends four seconds of CPU on imports and kernels; a forked one begins at once. It is a real
process: it has a pid of its own, an environment of its own, a log file, and whoever has its pid may SIGKILL or SIGSTOP
it. The zygote itself has one thread and no client of Kafka or Redis and no ONNX session, so that nothing half-alive is
inherited. It also starts the stores, which so end with it, whatever happens to the suite.

Requests and notices are JSON, one a line, over a socket; every lane of the suite has a connection of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
from typing import NoReturn

import msgspec

from tests.faults import child
from tests.faults.messages import Changed, Exec, Fork, Request, Signal, Started

_DECODER: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_PR_SET_PDEATHSIG = 1


class _Server:
    """The loop: requests, and what became of the children."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._unread: dict[socket.socket, bytes] = {}
        self._parent_of: dict[int, socket.socket] = {}
        self._woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for end in (listener, self._woken, sys.stdin.fileno()):
            self._selector.register(end, selectors.EVENT_READ)

    def run(self) -> None:
        """Until standard input closes: whoever started us is gone."""
        while True:
            for key, _ in self._selector.select():
                if key.fd == sys.stdin.fileno():
                    return
                if key.fd == self._woken:
                    os.read(self._woken, 4096)
                    self._reap()
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._read(key.fileobj)

    def _accept(self) -> None:
        line, _ = self._listener.accept()
        self._unread[line] = b""
        self._selector.register(line, selectors.EVENT_READ)

    def _read(self, line: socket.socket) -> None:
        data = b""
        with contextlib.suppress(ConnectionError):
            data = line.recv(65_536)
        if not data:
            self._forget(line)
            return
        *requests, self._unread[line] = (self._unread[line] + data).split(b"\n")
        for request in map(_DECODER.decode, requests):
            if isinstance(request, Signal):
                if request.pid in self._parent_of:
                    os.kill(request.pid, request.number)
                continue
            pid = self._fork(request)
            self._parent_of[pid] = line
            _send(line, Started(pid))

    def _forget(self, line: socket.socket) -> None:
        """A lane is gone, and with it all that it started."""
        self._selector.unregister(line)
        del self._unread[line]
        for pid, parent in self._parent_of.items():
            if parent is line:
                os.kill(pid, signal.SIGKILL)
        line.close()

    def _fork(self, request: Fork | Exec) -> int:
        assert len(os.listdir("/proc/self/task")) == 1, "the zygote must have one thread"
        pid = os.fork()
        if pid == 0:
            self._become(request)
        return pid

    def _become(self, request: Fork | Exec) -> NoReturn:
        """In the child."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        self._selector.close()
        for end in (self._listener, *self._unread):
            end.close()
        os.setsid()
        log = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for ours, standard in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(ours, standard)
        if isinstance(request, Exec):
            os.execv(request.command[0], request.command)
        child.run(request)

    def _reap(self) -> None:
        while self._parent_of:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            change = _changed(pid, status)
            _send(self._parent_of[pid], change)
            if change.how == "ended":
                del self._parent_of[pid]


def _changed(pid: int, status: int) -> Changed:
    if os.WIFSTOPPED(status):
        return Changed(pid, "stopped")
    if os.WIFCONTINUED(status):
        return Changed(pid, "continued")
    return Changed(pid, "ended", os.waitstatus_to_exitcode(status))


def _send(line: socket.socket, message: Started | Changed) -> None:
    with contextlib.suppress(OSError):  # the lane is gone
        line.sendall(msgspec.json.encode(message) + b"\n")


def main(path: str) -> None:
    """Warms up, listens at `path`, and forks until standard input closes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".not-yet")
    child.prepare()
    gc.collect()
    gc.freeze()
    listener.listen()
    os.rename(path + ".not-yet", path)
    _Server(listener).run()


if __name__ == "__main__":
    main(sys.argv[1])
