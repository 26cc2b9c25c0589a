"""A relay in front of brokers that cuts the connection of a chosen request, such as EndTxn."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Literal

from tests.faults.relay import End, Relay

#: EndTxn, as Kafka numbers its requests.
END_TXN = 26

Cut = Literal["before", "after"]


class KafkaRelay(Relay):
    """Stands in front of every broker of a cluster, and cuts the connection of a request that it was told to wait for.

    Brokers tell clients the addresses of all brokers; here those are ours.

    Args:
        servers: the brokers' ports.
        api: the request.
    """

    def __init__(self, *servers: int, api: int = END_TXN) -> None:
        super().__init__(*servers)
        self._api = api
        self._told = {_address(server): _address(port) for server, port in self.ports.items()}
        self._doomed: set[End] = set()
        #: How connections are still to be cut, one after another: before the broker has the request, or after, so that
        #: its answer is lost.
        self.cuts: list[Cut] = []
        #: How many have been.
        self.done = 0

    def passed_on(self, end: End) -> Iterable[tuple[float, bytes]]:
        """Whole requests and whole answers, those with other addresses in them."""
        return list(self._requests(end) if end.is_client else self._answers(end))

    def _requests(self, end: End) -> Iterator[tuple[float, bytes]]:
        for frame in _frames(end):
            cut = self._due(frame)
            if cut == "before":
                self._cut(end)
                return
            if cut == "after":
                self._doomed.add(end.peer)
            yield 0.0, frame

    def _due(self, frame: bytes) -> Cut | None:
        if not self.cuts or struct.unpack_from(">h", frame, 4)[0] != self._api:
            return None
        self.done += 1
        return self.cuts.pop(0)

    def _answers(self, end: End) -> Iterator[tuple[float, bytes]]:
        for frame in _frames(end):
            if end in self._doomed:
                self._doomed.remove(end)
                self._cut(end)
                return
            told = frame
            for theirs, ours in self._told.items():
                told = told.replace(theirs, ours)  # as long as before: the frame's size stands
            yield 0.0, told


def _frames(end: End) -> Iterator[bytes]:
    """The requests or answers that have come whole, their sizes before them."""
    while len(end.unread) >= 4:
        size = 4 + struct.unpack_from(">i", end.unread)[0]
        if len(end.unread) < size:
            return
        frame = bytes(end.unread[:size])
        del end.unread[:size]
        yield frame


def _address(port: int) -> bytes:
    """How brokers write the address of one of them."""
    return b"127.0.0.1" + struct.pack(">i", port)
