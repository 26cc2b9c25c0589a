"""Relays: late answers, connections cut at a request, and addresses that lead through them."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.kafkarelay import END_TXN, KafkaRelay
from tests.faults.relay import SlowRelay


class Server:
    """Answers every request with what `answer` makes of it; remembers what it was asked."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.asked: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65_536):
                self.asked.append(data)
                connection.sendall(self._answer(data))

    def close(self) -> None:
        # A thread that waits in accept would keep the port alive.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(lambda request: request)
    yield server
    server.close()


def request(api: int, body: bytes = b"") -> bytes:
    content = struct.pack(">hhi", api, 0, 1) + body
    return struct.pack(">i", len(content)) + content


def asked(port: int, data: bytes) -> bytes:
    """The answer; b"" where the connection was cut."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(data)
        try:
            return client.recv(65_536)
        except ConnectionError:
            return b""


def test_answers_come_late(server: Server) -> None:
    relay = SlowRelay(server.port)
    with relay:
        assert asked(relay.ports[server.port], b"ping") == b"ping"
        relay.delay_s = 0.2
        begun = time.monotonic()
        assert asked(relay.ports[server.port], b"ping") == b"ping"
        assert time.monotonic() - begun >= 0.2


def test_a_connection_is_cut_before_the_broker_has_the_request(server: Server) -> None:
    relay = KafkaRelay(server.port)
    with relay:
        port = relay.ports[server.port]
        relay.cuts.append("before")
        assert asked(port, request(3)) == request(3), "another request than the one that is waited for"
        assert asked(port, request(END_TXN)) == b""
        assert server.asked == [request(3)]
        assert asked(port, request(END_TXN)) == request(END_TXN), "one was to be cut"
        assert relay.done == 1


def test_a_connection_is_cut_before_the_answer_comes_back(server: Server) -> None:
    relay = KafkaRelay(server.port)
    with relay:
        relay.cuts.append("after")
        assert asked(relay.ports[server.port], request(END_TXN)) == b""
        assert server.asked == [request(END_TXN)]


def test_brokers_addresses_lead_through_the_relay() -> None:
    server = Server(lambda data: data)
    told = b"\x00\x09127.0.0.1" + struct.pack(">i", server.port)
    relay = KafkaRelay(server.port)
    with relay:
        port = relay.ports[server.port]
        assert asked(port, request(3, told)) == request(3, b"\x00\x09127.0.0.1" + struct.pack(">i", port))
    server.close()


def test_a_server_that_is_away_is_a_closed_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = int(nobody.getsockname()[1])
    with SlowRelay(port) as relay:
        assert asked(relay.ports[port], b"ping") == b""


def test_many_bytes_come_through_whole(server: Server) -> None:
    data = bytes(range(256)) * 20_000
    with (
        SlowRelay(server.port) as relay,
        socket.create_connection(("127.0.0.1", relay.ports[server.port]), 10) as client,
    ):
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        received = b""
        while len(received) < len(data):
            received += client.recv(65_536)
        sender.join()
    assert received == data
