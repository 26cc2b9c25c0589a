from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.deadletter import headers_of
from stream.decode import DecodedBatch, Decoder
from stream.events import DemandEvent, OrderEvent
from stream.repartition import demand_of
from tests.stream.build import T0, Message, click, demand, message, order, stock

NOW = T0 + 1_000
LIMIT = 2_000
SKEW = 300_000


def decode(*records: Message) -> DecodedBatch:
    return Decoder(SKEW, LIMIT).decode(records, NOW)


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in event.items() if k not in names}


def raw(event: dict[str, Any], old: bytes, new: bytes) -> bytes:
    text = json.dumps(event).encode()
    assert text.count(old) == 1
    return text.replace(old, new)


CART = click(kind="add_to_cart", quantity=3.25)
ORDER = order()
RECEIVED = stock("stock_received", quantity=3.25)

#: name: (topic, key, value, stage, part of the message)
BAD: dict[str, tuple[str, str | bytes | None, Any, str, str]] = {
    "broken JSON": ("orders", "7", b"{not json", "decode", "JSON is malformed"),
    "empty value": ("orders", "7", b"", "decode", "truncated"),
    "cut off": ("clicks", "7", json.dumps(click()).encode()[:-1], "decode", "truncated"),
    "more after the end": ("clicks", "7", json.dumps(click()).encode() + b"x", "decode", "trailing characters"),
    "not an object": ("clicks", "7", b"[1]", "validate", "Expected `object`, got `array`"),
    "missing field": ("clicks", "7", without(click(), "sku"), "validate", "missing required field `sku`"),
    "missing type": ("clicks", "7", without(click(), "type"), "validate", "missing required field `type`"),
    "wrong field": ("clicks", "7", click() | {"sku": 5}, "validate", "Expected `str`, got `int` - at `$.sku`"),
    "null field": ("clicks", "7", click() | {"sku": None}, "validate", "got `null` - at `$.sku`"),
    "empty id": ("clicks", "7", click() | {"sku": ""}, "validate", "length >= 1 - at `$.sku`"),
    "unknown type": ("clicks", "7", click(kind="teleported"), "validate", "Invalid value 'teleported' - at `$.type`"),
    "type of another topic": ("clicks", "7", ORDER, "validate", "Invalid value 'order_placed'"),
    "NaN": ("clicks", "7", raw(CART, b"3.25", b"NaN"), "decode", "JSON is malformed: invalid character"),
    "infinity": ("clicks", "7", raw(CART, b"3.25", b"1e999"), "validate", "Number out of range - at `$.quantity`"),
    "negative quantity": ("inventory", "w:A", RECEIVED | {"quantity": -5}, "validate", "Expected `float` > 0.0"),
    "nothing ordered": ("clicks", "7", CART | {"quantity": 0}, "validate", "Expected `float` > 0.0"),
    "huge quantity": ("clicks", "7", CART | {"quantity": 2e12}, "validate", "Expected `float` <= 1000000000.0"),
    "no lines": ("orders", "7", ORDER | {"lines": []}, "validate", "length >= 1 - at `$.lines`"),
    "a bad line": (
        "orders",
        "7",
        ORDER | {"lines": [{"sku": "A", "quantity": 1, "unit_price": -1}]},
        "validate",
        "Expected `float` >= 0.0 - at `$.lines[0].unit_price`",
    ),
    "huge event time": ("clicks", "7", raw(click(), str(T0).encode(), b"9" * 300), "validate", "`$.event_time_ms`"),
    "no event time": ("clicks", "7", click(at=0), "validate", "Expected `int` >= 1 - at `$.event_time_ms`"),
    "far future": (
        "clicks",
        "7",
        click(at=NOW + SKEW + 1),
        "event_time",
        f"is {SKEW + 1} ms ahead of the clock, more than worker.max_future_skew_ms = {SKEW}",
    ),
    "oversized": (
        "orders",
        "7",
        b" " * (LIMIT + 1),
        "size",
        f"the record has {LIMIT + 1} bytes, more than worker.max_record_bytes = {LIMIT}",
    ),
    "null value": ("clicks", "7", None, "decode", "the record has no value"),
    "wrong key": (
        "clicks",
        "8",
        click(),
        "key",
        "the record key is '8', but its entity is '7'; produce it with that key",
    ),
    "no key": ("clicks", None, click(), "key", "the record key is None, but its entity is '7'"),
    "wrong item key": ("inventory", "A", RECEIVED, "key", "the record key is 'A', but its entity is 'w:A'"),
    "long key": ("clicks", "k" * 90, click(), "key", f"the record key is '{'k' * 80}…', but its entity is '7'"),
    "key that is not UTF-8": ("clicks", b"\xff7", click(), "key", "the record key is '\ufffd7'"),
    "value that is not UTF-8": (
        "clicks",
        "7",
        raw(click(), b'"A"', b'"\xff"'),
        "decode",
        "a text is not UTF-8: invalid start byte",
    ),
    "half a surrogate pair": ("clicks", "7", raw(click(), b'"A"', b'"\\ud800"'), "decode", "truncated"),
    "colon in a location": ("inventory", "a:b:A", stock("ran_out", location="a:b"), "validate", "at `$.location`"),
    "source beyond 64 bits": ("demand", "w:A", demand(source=(0, 2**60, 0)), "validate", "at `$.source_offset`"),
    "line beyond its order": ("demand", "w:A", demand(source=(0, 0, 10_000)), "validate", "at `$.line`"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_becomes_a_dead_letter_and_the_good_ones_around_it_stay(name: str) -> None:
    topic, key, value, stage, error = BAD[name]
    bad = message(topic, key, value, offset=6, partition=2)
    before = message("clicks", "7", click(sku="before"), offset=3, partition=2)
    after = message("clicks", "7", click(sku="after"), offset=9, partition=2)
    batch = decode(before, bad, after)
    (letter,) = batch.dead_letters
    assert (letter.topic, letter.partition, letter.offset) == (topic, 2, 6)
    assert (letter.key, letter.value) == (bad.key(), bad.value()), "the original bytes"
    assert letter.stage == stage
    assert error in letter.error
    assert dict(headers_of(letter))["tidecast-error"].decode() == letter.error
    good = batch.topics["clicks"]
    assert [e.sku for e in good.events] == ["before", "after"]
    assert (good.partitions, good.offsets) == ([2, 2], [3, 9])
    assert batch.topics.keys() == {"clicks"}
    assert batch.next_offsets[topic, 2] == (10 if topic == "clicks" else 7), "a bad record never blocks"


def test_json_that_is_nested_too_deeply_is_a_dead_letter() -> None:
    deep = b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    records = [message("orders", "7", deep), message("orders", "7", order(), offset=1)]
    batch = Decoder(SKEW, 10**6).decode(records, NOW)
    assert [(d.stage, d.error) for d in batch.dead_letters] == [("decode", "the JSON is nested too deeply")]
    assert batch.topics["orders"].offsets == [1]


def test_a_message_that_quotes_the_record_is_bounded() -> None:
    letter = Decoder(SKEW, 10**6).decode([message("clicks", "7", click(kind="x" * 9_000))], NOW).dead_letters[0]
    assert len(letter.error) == 500


def test_boundaries_are_taken_in() -> None:
    padded = json.dumps(click()).encode()
    padded += b" " * (LIMIT - len(padded))
    batch = decode(message("clicks", "7", padded), message("clicks", "7", click(at=NOW + SKEW)))
    assert batch.dead_letters == []
    assert len(batch.topics["clicks"].events) == 2


@pytest.mark.parametrize("key", [None, "", "anything", b"\xff"])
def test_the_key_of_a_guest_does_not_matter(key: str | bytes | None) -> None:
    assert decode(message("orders", key, order(customer=None))).dead_letters == []


def test_unknown_fields_are_ignored() -> None:
    assert decode(message("clicks", "7", click() | {"colour": "red"})).dead_letters == []


def test_an_item_key_may_hold_colons_in_its_sku() -> None:
    assert decode(message("inventory", "w:A:1", stock("ran_out", sku="A:1"))).dead_letters == []


def test_next_offsets_are_those_of_every_partition_good_or_not() -> None:
    batch = decode(
        message("clicks", "7", click(), offset=4, partition=0),
        message("clicks", "7", b"", offset=8, partition=1),
        message("orders", "7", order(), offset=2, partition=1),
        message("clicks", "7", b"", offset=5, partition=0),
    )
    assert batch.next_offsets == {("clicks", 0): 6, ("clicks", 1): 9, ("orders", 1): 3}


def test_headers_of_the_record_are_kept() -> None:
    bad = Message(("clicks", 0, 0), b"7", b"", (("trace", b"abc"), ("empty", b"")))
    (letter,) = decode(bad).dead_letters
    assert headers_of(letter)[-2:] == [("trace", b"abc"), ("empty", b"")]


def test_the_demand_records_of_the_longest_order_id_are_taken_in() -> None:
    """An order event whose ids are as long as they may be must not make demand records that are refused."""
    event = order(event_id="e" * 128, customer="c" * 128)
    orders = decode(message("orders", "c" * 128, event, offset=5, partition=3)).topics["orders"]
    ((_, _, record),) = demand_of(orders)
    assert msgspec.json.decode(msgspec.json.encode(record), type=DemandEvent) == record
    assert decode(message("demand", "w:A", msgspec.json.encode(record))).dead_letters == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.none(), st.sampled_from(sorted(BAD)), st.binary(max_size=40)), max_size=12))
def test_every_record_is_either_an_event_or_a_dead_letter(choices: list[str | bytes | None]) -> None:
    """None is a good record."""
    records = []
    for offset, choice in enumerate(choices):
        if choice is None:
            records.append(message("orders", "7", order(event_id=f"o{offset}"), offset=offset))
        elif isinstance(choice, bytes):
            records.append(message("clicks", "7", choice, offset=offset))
        else:
            topic, key, value, _, _ = BAD[choice]
            records.append(message(topic, key, value, offset=offset))
    batch = decode(*records)
    good = batch.topics["orders"].offsets if "orders" in batch.topics else []
    assert good == [i for i, choice in enumerate(choices) if choice is None]
    assert [d.offset for d in batch.dead_letters] == [i for i, choice in enumerate(choices) if choice is not None]
    for letter in batch.dead_letters:
        assert letter.error
        assert headers_of(letter)


def test_orders_with_the_most_lines_are_taken_in_and_more_are_not() -> None:
    lines = [{"sku": "A", "quantity": 1, "unit_price": 1}] * 10_000
    taken = msgspec.json.decode(json.dumps(order(lines=lines)), type=OrderEvent)
    assert len(taken.lines) == 10_000
    with pytest.raises(msgspec.ValidationError, match="length <= 10000"):
        msgspec.json.decode(json.dumps(order(lines=[*lines, *lines[:1]])), type=OrderEvent)
