from __future__ import annotations

from stream.deadletter import HEADERS, headers_of
from stream.decode import DeadLetter


def test_headers_say_where_and_why_and_then_come_the_records_own() -> None:
    letter = DeadLetter("orders", 3, 41, b"k", b"v", "decode", "broken – é", [("trace", b"\x00\xff"), ("tag", b"")])
    assert headers_of(letter) == [
        ("tidecast-topic", b"orders"),
        ("tidecast-partition", b"3"),
        ("tidecast-offset", b"41"),
        ("tidecast-stage", b"decode"),
        ("tidecast-error", "broken – é".encode()),
        ("trace", b"\x00\xff"),
        ("tag", b""),
    ]


def test_every_header_is_documented() -> None:
    names = [name for name, _ in headers_of(DeadLetter("t", 0, 0, None, None, "s", "e"))]
    assert names == list(HEADERS)
    assert all(HEADERS.values())
