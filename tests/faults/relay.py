"""Relays between workers and a server, and one that is slow."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import selectors
import socket
import threading
import time
from collections.abc import Iterable
from types import TracebackType

#: How often the thread looks up, where nothing happens.
_TURN_S = 0.02
_PIECE = 65_536


class End:
    """One end of a relayed connection.

    Args:
        connection: to a client, or to a server.
        is_client: which of them.
    """

    def __init__(self, connection: socket.socket, is_client: bool) -> None:
        connection.setblocking(False)
        self.socket, self.is_client = connection, is_client
        self.peer: End
        #: What has come and is not yet understood; what is to be sent.
        self.unread, self.unsent = bytearray(), bytearray()


class Relay:
    """Passes bytes on between clients and servers, in a thread of its own; for a `with` statement.

    Args:
        servers: the servers' ports; each gets a port of ours.
    """

    def __init__(self, *servers: int) -> None:
        self._listeners = {socket.create_server(("127.0.0.1", 0)): server for server in servers}
        #: Our port for each server's.
        self.ports: dict[int, int] = {server: int(s.getsockname()[1]) for s, server in self._listeners.items()}
        self._selector = selectors.DefaultSelector()
        self._ends: set[End] = set()
        self._late: list[tuple[float, int, End, bytes]] = []
        self._number = itertools.count()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Relay:
        for listener, server in self._listeners.items():
            self._selector.register(listener, selectors.EVENT_READ, server)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for end in self._ends:
            end.socket.close()
        for listener in self._listeners:
            listener.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, events in self._selector.select(self._until_due()):
                if isinstance(key.data, int):
                    assert isinstance(key.fileobj, socket.socket)
                    self._accept(key.fileobj, key.data)
                elif key.data in self._ends:
                    self._turn(key.data, events)
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, end, data = heapq.heappop(self._late)
                self._send(end, data)

    def _until_due(self) -> float:
        return min(_TURN_S, max(self._late[0][0] - time.monotonic(), 0.0)) if self._late else _TURN_S

    def _accept(self, listener: socket.socket, server: int) -> None:
        connection, _ = listener.accept()
        try:
            upstream = socket.create_connection(("127.0.0.1", server), 1)
        except OSError:
            connection.close()
            return
        client, other = End(connection, True), End(upstream, False)
        client.peer, other.peer = other, client
        for end in (client, other):
            self._ends.add(end)
            self._selector.register(end.socket, selectors.EVENT_READ, end)

    def _turn(self, end: End, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._send(end, b"")
        if events & selectors.EVENT_READ and end in self._ends:
            data = b""
            with contextlib.suppress(OSError):
                data = end.socket.recv(_PIECE)
            if not data:
                self._cut(end)
                return
            end.unread += data
            for delay_s, piece in self.passed_on(end):
                due = time.monotonic() + delay_s
                heapq.heappush(self._late, (due, next(self._number), end.peer, piece))

    def passed_on(self, end: End) -> Iterable[tuple[float, bytes]]:
        """What goes on of what has come from an end, and how many seconds later."""
        data = bytes(end.unread)
        end.unread.clear()
        return [(0.0, data)]

    def _send(self, end: End, data: bytes) -> None:
        if end not in self._ends:
            return
        end.unsent += data
        try:
            sent = end.socket.send(end.unsent) if end.unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._cut(end)
            return
        del end.unsent[:sent]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if end.unsent else 0)
        self._selector.modify(end.socket, wanted, end)

    def _cut(self, end: End) -> None:
        """Ends a connection at both ends, at once."""
        for one in (end, end.peer):
            self._selector.unregister(one.socket)
            self._ends.remove(one)
            one.socket.close()


class SlowRelay(Relay):
    """Keeps every answer of a server back for a while; `delay_s` may be changed at any time."""

    def __init__(self, server: int) -> None:
        super().__init__(server)
        self.delay_s = 0.0

    def passed_on(self, end: End) -> Iterable[tuple[float, bytes]]:
        """Requests at once, answers late."""
        return [(0.0 if end.is_client else self.delay_s, data) for _, data in super().passed_on(end)]
