"""Relays between workers and a server: one that is slow, and one that cuts connections at a chosen Kafka request."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Literal

#: A bound on how long a relay may take to start and to end.
_WAIT_S = 10.0
#: EndTxn, as Kafka numbers its requests.
END_TXN = 26

Cut = Literal["before", "after"]


class Relay:
    """Passes bytes on between clients and servers, in a thread of its own; for a `with` statement.

    Args:
        servers: the servers' ports; each gets a port of ours.
    """

    def __init__(self, *servers: int) -> None:
        self._servers = servers
        #: Our port for each server's.
        self.ports: dict[int, int] = {}
        self._loop = asyncio.new_event_loop()
        self._pumps: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        for server in self._servers:
            listening = asyncio.run_coroutine_threadsafe(self._listen(server), self._loop)
            self.ports[server] = listening.result(_WAIT_S)
        return self

    async def _listen(self, server: int) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._pumps.add(task)
            try:
                await self._connect(server, reader, writer)
            finally:
                self._pumps.discard(task)

        listener = await asyncio.start_server(accept, "127.0.0.1", 0)
        return int(listener.sockets[0].getsockname()[1])

    async def _connect(self, server: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", server)
        except OSError:
            writer.close()
            return
        pumps = [
            asyncio.create_task(self._requests(reader, to_server)),
            asyncio.create_task(self._answers(from_server, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, to_server):
                end.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._requests(reader, writer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(_WAIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_WAIT_S)
        self._loop.close()

    async def _end(self) -> None:
        pumps = list(self._pumps)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


class SlowRelay(Relay):
    """Keeps every answer back for a while.

    Args:
        server: the port of the server.

    `delay_s` may be changed at any time.
    """

    def __init__(self, server: int) -> None:
        super().__init__(server)
        self.delay_s = 0.0

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()


class KafkaRelay(Relay):
    """Stands in front of every broker of a cluster, and cuts the connection of a request that it was told to wait for.

    Brokers tell clients the addresses of all brokers; here those are ours.

    Args:
        servers: the brokers' ports.

    `cut` connections are to be cut at a request `api`: before the broker has it, or after, so that its answer is lost.
    """

    def __init__(self, *servers: int, api: int = END_TXN) -> None:
        super().__init__(*servers)
        self._api = api
        self._told: Mapping[bytes, bytes] = {}
        #: How connections are still to be cut, one after another; and how many have been.
        self.cuts: list[Cut] = []
        self.done = 0

    def __enter__(self) -> KafkaRelay:
        super().__enter__()
        self._told = {_address(server): _address(port) for server, port in self.ports.items()}
        return self

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(reader)
                cut = self._is_due(frame)
                if cut != "before":
                    writer.write(frame)
                    await writer.drain()
                if cut is not None:
                    return

    def _is_due(self, frame: bytes) -> Cut | None:
        if not self.cuts or struct.unpack_from(">h", frame, 4)[0] != self._api:
            return None
        self.done += 1
        return self.cuts.pop(0)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(reader)
                for theirs, ours in self._told.items():
                    frame = frame.replace(theirs, ours)  # as long as before: the frame's size stands
                writer.write(frame)
                await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """The next request or answer, its size before it."""
    size = await reader.readexactly(4)
    return size + await reader.readexactly(struct.unpack(">i", size)[0])


def _address(port: int) -> bytes:
    """How brokers write the address of one of them."""
    return b"127.0.0.1" + struct.pack(">i", port)
