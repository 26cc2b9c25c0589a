"""Dead letters: headers that say where a record came from and why it was not taken in."""

from __future__ import annotations

from stream.decode import DeadLetter

#: Headers of a dead letter; the record's own headers follow them.
HEADERS = {
    "tidecast-topic": "topic that the record was read from",
    "tidecast-partition": "its partition",
    "tidecast-offset": "its offset",
    "tidecast-stage": "decode, validate, key, event_time or size",
    "tidecast-error": "what was wrong, for people",
}


def headers_of(letter: DeadLetter) -> list[tuple[str, bytes]]:
    """The headers of the dead-letter record."""
    values = (letter.topic, str(letter.partition), str(letter.offset), letter.stage, letter.error)
    ours = [(name, value.encode()) for name, value in zip(HEADERS, values, strict=True)]
    return [*ours, *((name, value or b"") for name, value in letter.headers)]
