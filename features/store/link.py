"""What a connection to Redis or Valkey promises, whatever is at the other end.

A request is a list of commands and costs one round trip, on a cluster one a node, all nodes at once. What may be
otherwise the next time (a failover, a moved slot, a server that loads or is full) is `StoreUnavailable`: asking again
is all that the caller has to do.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import redis

from features.store.base import StoreUnavailable

#: A command as Redis has it. The first key is its second part; that of a script call is its fourth.
Command = tuple[Any, ...]

#: Answers that may be other ones later. redis-py has exceptions of their own for some, without the code in the text.
_UNAVAILABLE = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ClusterError,
    redis.exceptions.TryAgainError,
    redis.exceptions.AskError,  # also a slot that has moved
    redis.RedisClusterException,
)
_UNAVAILABLE_CODES = ("MISCONF", "NOREPLICAS", "BUSY")


class Script:
    """A Lua script beside this module."""

    def __init__(self, name: str) -> None:
        self.source = files("features.store").joinpath(name).read_text()
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Command:
        """The command that runs it; the first key says which node of a cluster."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


def is_unavailable(error: Exception) -> bool:
    """Whether asking again may help."""
    return isinstance(error, _UNAVAILABLE) or (
        isinstance(error, redis.ResponseError) and str(error).startswith(_UNAVAILABLE_CODES)
    )


class Link(ABC):
    """A way to send commands.

    Args:
        url: the address, without its password: for messages.
        scripts: all scripts that commands may call.
    """

    #: Whether keys of different buckets may be on different servers.
    sharded = False

    def __init__(self, url: str, scripts: Sequence[Script]) -> None:
        self.url = url
        self._sources = {script.sha: script.source for script in scripts}

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to all commands.

        Raises:
            StoreUnavailable: of one command at least the answer is not known.
            redis.ResponseError: a mistake of ours: waiting would not help.
        """
        with self.answered():
            answers = self._exchange(commands)
            # The script is sent with the call where the server does not have it, so no start needs to load it.
            whole = [n for n, a in enumerate(answers) if isinstance(a, redis.exceptions.NoScriptError)]
            if whole:
                again = self._exchange([self._with_source(commands[n]) for n in whole])
                for n, answer in zip(whole, again, strict=True):
                    answers[n] = answer
            for error in sorted((a for a in answers if isinstance(a, Exception)), key=is_unavailable):
                raise error
        return answers

    @contextmanager
    def answered(self) -> Iterator[None]:
        """Turns what may be otherwise the next time into `StoreUnavailable`."""
        try:
            yield
        except (redis.RedisError, redis.RedisClusterException) as error:
            if is_unavailable(error):
                raise StoreUnavailable(f"{self.url}: {error}") from error
            raise

    def _with_source(self, command: Command) -> Command:
        return ("EVAL", self._sources[command[1]], *command[2:])

    @abstractmethod
    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The answers, errors among them."""

    @abstractmethod
    def primaries(self) -> list[Any]:
        """A client for each server that holds keys, for what goes through all keys; use inside `answered`."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of connections."""
