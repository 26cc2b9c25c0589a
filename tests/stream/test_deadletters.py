"""Dead letters: which are meant, in which order they are sent, and what can be done about each."""

from __future__ import annotations

from typing import Any

import pytest

from stream import deadletters
from stream.deadletter import headers_of
from stream.deadletters import (
    MARK,
    REPLAYED_FROM,
    Filter,
    Letter,
    Place,
    advice,
    chunks,
    in_order,
    letters_of,
    place_of,
)
from stream.decode import DeadLetter
from stream.errors import UsageError

NOW = 1_700_000_000_000
TRACE = ("traceparent", b"00-1")


def letter(at: int, **changes: Any) -> Letter:
    told = {"topic": "orders", "partition": 0, "offset": at, "stage": "decode", "error": "broken", "key": b"7"}
    more = {"value_bytes": 10, "time_ms": NOW + at, "digest": 1}
    return Letter(Place(0, at), **{**told, **more, **changes})


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Filter(), [1, 2, 3]),
        (Filter(topic="clicks"), [2]),
        (Filter(stage="size"), [3]),
        (Filter(key="8"), [2]),
        (Filter(since_ms=NOW + 2), [2, 3]),
        (Filter(until_ms=NOW + 2), [1]),
        (Filter(contains="too la"), [3]),
        (Filter(places=frozenset({Place(0, 1), Place(0, 3)})), [1, 3]),
        (Filter(waiting=True), [1, 3]),
        (Filter(topic="orders", stage="decode"), [1]),
    ],
)
def test_a_filter_chooses(wanted: Filter, fits: list[int]) -> None:
    letters = [
        letter(1),
        letter(2, topic="clicks", key=b"8", replayed_to="clicks"),
        letter(3, stage="size", error="too large"),
    ]
    assert [one.offset for one in letters if wanted.has(one)] == fits


def test_records_are_sent_in_the_order_of_their_topics_and_copies_once() -> None:
    shuffled = [
        letter(9, offset=5),
        letter(3, offset=2, partition=1),
        letter(4, offset=1),
        letter(8, offset=1),
        letter(5, topic="clicks", offset=7),
        letter(6, topic=None, partition=None, offset=None),
        letter(7, topic=None, partition=None, offset=None),
    ]
    assert [one.place.offset for one in in_order(shuffled)] == [6, 7, 5, 4, 9, 3]


def test_chunks_fit_into_memory_and_a_transaction() -> None:
    letters = [letter(n, value_bytes=size) for n, size in enumerate((40, 40, 40, 500, 1, 1, 1))]
    assert [[one.offset for one in chunk] for chunk in chunks(letters, 3, 100)] == [[0, 1], [2], [3], [4, 5, 6]]
    assert list(chunks([])) == []


@pytest.mark.parametrize("text", ["17", "0:", ":1", "a:1", "0:1:2", "-1:0"])
def test_a_place_that_is_none_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="is no place; write PARTITION:OFFSET"):
        place_of(text)


class Record:
    """A record of `dead-letters` as the client gives it."""

    def __init__(self, offset: int, headers: list[tuple[str, bytes]] | None, value: bytes | None = b"v") -> None:
        self._offset, self._headers, self._value = offset, headers, value

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return b"k"

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> list[tuple[str, bytes]] | None:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, NOW


def test_a_mark_counts_for_its_letter_and_for_copies_of_it() -> None:
    """A worker that ended between two commits publishes a letter again, with the same origin and bytes."""
    of = headers_of(DeadLetter("orders", 1, 5, b"k", b"v", "decode", "broken"))
    mark = deadletters.mark_headers(letter(0), "orders")
    found = letters_of([Record(0, of), Record(1, of), Record(2, mark, None), Record(3, of), Record(4, of, b"other")])
    assert [(one.place.offset, one.replayed_to) for one in found] == [
        (0, "orders"),
        (1, "orders"),
        (3, "orders"),
        (4, None),
    ]


def test_what_others_put_there_is_a_letter_of_unknown_origin() -> None:
    strange = [None, [], [("tidecast-topic", b"orders")], [("tidecast-topic", b"o"), ("tidecast-offset", b"x")]]
    found = letters_of(Record(n, headers) for n, headers in enumerate(strange))
    assert [(one.origin, one.stage) for one in found] == [("unknown", "unknown")] * 4
    assert "another program put it there" in found[0].error
    assert letters_of([Record(0, [(MARK, b"nonsense")]), Record(1, [])])[0].replayed_to is None


def test_a_record_that_fails_twice_says_where_it_failed_last() -> None:
    headers = [*headers_of(DeadLetter("orders", 1, 5, b"k", b"v", "decode", "broken", [TRACE]))]
    first = deadletters.sent_headers(letter(3), headers)
    assert first == [TRACE, (REPLAYED_FROM, b"dead-letters:0:3")]
    again = headers_of(DeadLetter("orders", 1, 9, b"k", b"v", "decode", "broken", first))
    assert deadletters.sent_headers(letter(8), again) == [TRACE, (REPLAYED_FROM, b"dead-letters:0:8")]


def test_advice_is_what_helps() -> None:
    ahead = letter(1, stage="event_time", error=f"event_time_ms {NOW + 90_000} is 400000 ms ahead of the clock")
    assert "90 s ahead of the clock: replay it when that is over" in advice(ahead, NOW)
    assert advice(ahead, NOW + 90_000).startswith("The clock has passed its event time: replay it.")
    assert advice(letter(1, stage="size"), NOW).startswith("Raise worker.max_record_bytes")
    assert "A replay sends the same bytes" in advice(letter(1), NOW)
    assert "with the key that the error names" in advice(letter(1, stage="key"), NOW)
    assert "as docs/schemas say" in advice(letter(1, stage="validate"), NOW)
    assert advice(letter(1, stage="new"), NOW) == "Replay it once what the error says is put right."
    assert advice(letter(1, topic=None), NOW).endswith("replay it with --to TOPIC.")
    assert advice(letter(1, replayed_to="orders"), NOW).startswith("Nothing: it was sent back to orders.")
