"""The link to a Redis Cluster: commands go to the node that has the slot of their first key.

redis-py keeps the map of slots and the connections. Commands are sent here and not by its pipeline, which on a
redirection splits a command of many keys into one a key. A slot that is being moved to another node is unavailable
until it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import redis

from features.store.link import Command, Link, Script, is_unavailable

#: Answers after which a command is sent again at once, by a newer map of slots.
_ELSEWHERE = (redis.ConnectionError, redis.exceptions.MovedError, redis.exceptions.ClusterError)
_TRIES = 4


class Cluster(Link):
    """Commands by node.

    Args:
        url: the address, without its password: for messages.
        scripts: all scripts that commands may call.
        client: makes redis-py's client; called when it is first needed, since making it asks the nodes.
    """

    sharded = True

    def __init__(self, url: str, scripts: Sequence[Script], client: Callable[[], Any]) -> None:
        super().__init__(url, scripts)
        self._make = client
        self._made: Any = None
        self._stale = False

    def _client(self) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        answers: list[Any] = [None] * len(commands)
        left = list(range(len(commands)))
        for _ in range(_TRIES):
            if self._stale:
                self._look_again()
            for n, answer in zip(left, self._send([commands[n] for n in left]), strict=True):
                answers[n] = answer
            self._learn([answers[n] for n in left])
            left = [n for n in left if isinstance(answers[n], _ELSEWHERE)]
            if not left:
                break
        return answers

    def _learn(self, answers: Sequence[Any]) -> None:
        """A node that names the owner of a slot knows best: the others hear of a move only in time."""
        for answer in answers:
            if isinstance(answer, redis.exceptions.MovedError):
                self._client().nodes_manager.move_slot(answer)
            # A node that does not answer in time is not asked again at once, but it may have been replaced.
            elif isinstance(answer, Exception) and is_unavailable(answer):
                self._stale = True

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        """Writes to all nodes before it reads from any."""
        answers: list[Any] = [None] * len(commands)
        nodes: dict[str, tuple[Any, list[int]]] = {}
        client = self._client()
        for n, command in enumerate(commands):
            key = command[3] if command[0] in ("EVALSHA", "EVAL") else command[1]
            node = client.nodes_manager.get_node_from_slot(client.keyslot(key))
            nodes.setdefault(node.name, (client.get_redis_connection(node), []))[1].append(n)
        reading = []
        for server, numbers in nodes.values():
            exchange = _Exchange(server)
            reading.append((exchange, numbers))
            exchange.write([commands[n] for n in numbers])
        for exchange, numbers in reading:
            for n, answer in zip(numbers, exchange.read([commands[n] for n in numbers]), strict=True):
                answers[n] = answer
        return answers

    def _look_again(self) -> None:
        """Reads the map of slots anew; where no known node answers, the next call begins at the address again."""
        try:
            self._client().nodes_manager.initialize()
        except redis.RedisClusterException:
            self.close()
            raise
        self._stale = False

    def primaries(self) -> list[Any]:
        """Those of now."""
        self._look_again()
        client = self._client()
        return [client.get_redis_connection(node) for node in client.get_primaries()]

    def close(self) -> None:
        """Closes the connections."""
        if self._made is not None:
            self._made.close()
            self._made = None


class _Exchange:
    """Commands on one connection to one node: written at once, then read."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._connection: Any = None
        self._error: Exception | None = None

    def write(self, commands: Sequence[Command]) -> None:
        try:
            self._connection = self._server.connection_pool.get_connection()
            self._connection.send_packed_command(self._connection.pack_commands(commands))
        except (redis.ConnectionError, redis.TimeoutError) as error:
            self._error = error

    def read(self, commands: Sequence[Command]) -> list[Any]:
        try:
            return [self._answer(command) for command in commands]
        finally:
            if self._connection is not None:
                if self._error is not None:
                    self._connection.disconnect()  # what is still to be read must not be the answer to another
                self._server.connection_pool.release(self._connection)

    def _answer(self, command: Command) -> Any:
        if self._error is None:
            try:
                return self._server.parse_response(self._connection, command[0])
            except redis.ResponseError as error:
                return error
            except (redis.ConnectionError, redis.TimeoutError) as error:
                self._error = error
        return self._error
