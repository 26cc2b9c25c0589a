"""A Faust message as the decoder reads records. Knows nothing of Faust but what its messages look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FaustRecord:
    """A `stream.decode.RecordLike` around a `faust.types.Message`."""

    message: Any

    @property
    def generation(self) -> int:
        """The generation of the group in which it was polled."""
        return int(self.message.generation_id)

    def topic(self) -> str:
        """The topic."""
        return str(self.message.topic)

    def partition(self) -> int:
        """The partition."""
        return int(self.message.partition)

    def offset(self) -> int:
        """The offset."""
        return int(self.message.offset)

    def key(self) -> bytes | None:
        """The key, as it is on the topic."""
        key: bytes | None = self.message.key
        return key

    def value(self) -> bytes | None:
        """The value, as it is on the topic."""
        value: bytes | None = self.message.value
        return value

    def headers(self) -> list[tuple[str, bytes]] | None:
        """The headers."""
        headers = self.message.headers
        return list(headers.items() if isinstance(headers, Mapping) else headers) if headers else None

    def timestamp(self) -> tuple[int, int]:
        """Its type, as librdkafka counts (2: when the broker appended it), and the time in ms."""
        return int(self.message.timestamp_type or 0) + 1, int(self.message.timestamp * 1000)
