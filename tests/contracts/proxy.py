"""A connection that loses answers: the server has done what it was asked, and nobody hears of it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType

from features.store.link import Script

_COMMIT = Script("commit.lua").sha.encode()


class LossyProxy:
    """Passes everything on between clients and a server, but loses answers to commits when told to.

    A lost answer is one that the server has given: the connection ends when it comes.

    Args:
        port: the server's.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        #: How many answers to commits are still to be lost; and how many have been.
        self.to_lose = self.lost = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._from_client: set[socket.socket] = set()
        self._asked: dict[socket.socket, bytes] = {}
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """The address for a store."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> LossyProxy:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for end in (*self._peers, self._listener):
            end.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.02):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj in self._peers:
                    self._pass_on(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._server_port))
        self._peers |= {client: server, server: client}
        self._from_client.add(client)
        for end in (client, server):
            self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        peer = self._peers[end]
        data = b""
        with contextlib.suppress(OSError):
            data = end.recv(65_536)
        if end in self._from_client:
            # The name of the script may be cut in two.
            self._asked[end] = (self._asked.get(end, b"") + data)[-65_536 - len(_COMMIT) :]
        elif data and self.to_lose and _COMMIT in self._asked.get(peer, b""):
            self.to_lose, self.lost = self.to_lose - 1, self.lost + 1
            data = b""
        else:
            self._asked.pop(peer, None)
        if data:
            with contextlib.suppress(OSError):
                peer.sendall(data)
        else:
            self._end(end, peer)

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            self._selector.unregister(end)
            self._peers.pop(end)
            self._asked.pop(end, None)
            self._from_client.discard(end)
            end.close()
