"""Dead letters as a person handles them: found, looked at and sent back, each of them once."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream import deadletters
from stream.deadletter import headers_of
from stream.deadletters import (
    REPLAYED_FROM,
    Filter,
    Place,
    in_order,
    read_letters,
)
from stream.decode import DeadLetter
from stream.errors import UsageError
from stream.replaysink import Outgoing, ReplayFailed, ReplaySink, fetch, replay
from stream.settings import KafkaSettings
from stream.sink import Sink
from tests.support import Shop

BROKEN = b'{"event_id": "\xc3\xa9'
BINARY = b"\x00\xff\x1b[31m" * 5
BIG = json.dumps({"pad": "x" * 300}).encode()
TRACE = ("traceparent", b"00-1")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A broker with dead letters that no test sends back."""
    with Shop(tmp_path_factory.mktemp("letters"), 2) as shop:
        poison(shop.settings.kafka, "orders", [BROKEN, b'{"a": [1, 2]}'], stage="validate")
        poison(shop.settings.kafka, "clicks", [BINARY], stage="decode")
        yield shop


def poison(
    kafka: KafkaSettings, topic: str, values: list[bytes], stage: str = "size", key: bytes | None = b"7"
) -> None:
    """Publishes dead letters as a worker does; their offsets are those of the values in the list."""
    sink = Sink(kafka)
    for offset, value in enumerate(values):
        letter = DeadLetter(topic, 0, offset, key, value, stage, f"wrong [{offset}]", [TRACE])
        sink.produce("dead-letters", letter.key, letter.value, headers_of(letter))
    sink.flush(30)


def places(kafka: KafkaSettings, **wanted: Any) -> list[Place]:
    return [one.place for one in in_order(read_letters(kafka)) if Filter(**wanted).has(one)]


def test_list_says_where_from_and_why(shop: Shop) -> None:
    shop.environment["COLUMNS"] = "200"
    ran = shop.command("dead-letters", "list", "--topic", "orders")
    assert ran.returncode == 0, ran.stderr
    place = places(shop.settings.kafka, topic="orders")[0]
    (line,) = [line for line in ran.stdout.splitlines() if "orders[0]@0" in line]
    assert line.split()[:6] == [str(place), "orders[0]@0", "validate", "wrong", "[0]", "7"]
    assert "2 dead letters (orders validate 2), 2 not replayed" in ran.stdout
    limited = shop.command("dead-letters", "list", "--limit", "1")
    assert "the oldest 1 are shown; say --limit for more" in limited.stdout
    assert "no dead letters that fit" in shop.command("dead-letters", "list", "--stage", "key").stdout


def test_list_as_json(shop: Shop) -> None:
    told = json.loads(shop.command("dead-letters", "list", "--contains", "[1]", "--json").stdout)
    assert [(one["topic"], one["offset"], one["key"], one["replayed_to"]) for one in told] == [("orders", 1, "7", None)]
    assert told[0]["value_bytes"] == 13
    since = shop.command("dead-letters", "list", "--json", "--since", "2100-01-01")
    assert json.loads(since.stdout) == []


def test_show_tells_all_of_a_letter_and_what_to_do(shop: Shop) -> None:
    shown: dict[tuple[str, int], str] = {}
    for topic in ("orders", "clicks"):
        for place in places(shop.settings.kafka, topic=topic):
            ran = shop.command("dead-letters", "show", str(place))
            assert ran.returncode == 0, ran.stderr
            shown[topic, len(shown)] = ran.stdout
    broken, parsed, binary = shown.values()
    assert '{"event_id": "é' in broken
    assert '  "a": [\n    1,\n' in parsed
    assert "header traceparent: 00-1" in parsed
    assert "what to do: Let its producer send the event again as docs/schemas say." in parsed
    assert "00000000  00 ff 1b 5b 33 31 6d 00" in binary
    assert "\x1b" not in binary


def test_show_as_json_has_every_byte(shop: Shop) -> None:
    (place,) = places(shop.settings.kafka, topic="clicks")
    told = json.loads(shop.command("dead-letters", "show", str(place), "--json").stdout)
    assert base64.b64decode(told["value_base64"]) == BINARY
    assert told["headers"] == {"traceparent": "00-1"}
    assert shop.command("dead-letters", "show", "1:99999").returncode == 2
    assert "is no place" in shop.command("dead-letters", "show", "here").stderr


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Shop]:
    """A broker of the test's own."""
    with Shop(tmp_path, 2) as shop:
        yield shop


def test_replay_sends_each_letter_once_with_its_key_bytes_and_headers(fresh: Shop) -> None:
    values = [BIG + b" " * n for n in range(5)]
    poison(fresh.settings.kafka, "inventory", values)
    poison(fresh.settings.kafka, "inventory", values[:2])  # copies
    dry = fresh.command("dead-letters", "replay", "--stage", "size", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "5 dead letters (inventory size 5), 5 not replayed; to inventory" in dry.stdout
    assert fresh.read("inventory") == []
    ran = fresh.command("dead-letters", "replay", "--stage", "size", "--yes")
    assert ran.returncode == 0, ran.stderr
    assert "note: at least once: if this is killed" in ran.stdout
    assert "replayed 5 records" in ran.stdout
    sent = fresh.read("inventory")
    assert [(r.key(), r.value()) for r in sent] == [(b"7", value) for value in values], "in the order of their topic"
    assert sent[0].headers()[0] == TRACE
    assert sent[0].headers()[1][0] == REPLAYED_FROM
    again = fresh.command("dead-letters", "replay", "--yes")
    assert "nothing to replay" in again.stdout
    assert len(fresh.read("inventory")) == 5
    listed = json.loads(fresh.command("dead-letters", "list", "--json").stdout)
    assert {one["replayed_to"] for one in listed} == {"inventory"}
    assert json.loads(fresh.command("dead-letters", "list", "--waiting", "--json").stdout) == []


def test_a_replay_that_ends_in_the_middle_is_carried_on(fresh: Shop) -> None:
    kafka = fresh.settings.kafka
    poison(kafka, "inventory", [b"%d" % n for n in range(7)])
    sink = ReplaySink(kafka)
    sink.open()
    run = replay(kafka, sink, in_order(read_letters(kafka)), max_letters=3)
    assert next(run) == 3
    del run, sink
    left = [one for one in in_order(read_letters(kafka)) if Filter(waiting=True).has(one)]
    assert [one.offset for one in left] == [3, 4, 5, 6]
    assert "replayed 4 records" in fresh.command("dead-letters", "replay", "--yes").stdout
    assert [r.value() for r in fresh.read("inventory")] == [b"%d" % n for n in range(7)]


def test_chosen_letters_go_where_they_are_sent(fresh: Shop) -> None:
    kafka = fresh.settings.kafka
    poison(kafka, "offers", [b"a", b"b", b"c"])
    _, second, third = places(kafka)
    ran = fresh.command("dead-letters", "replay", str(second), str(third), "--to", "catalog", "--limit", "1", "--yes")
    assert "replayed 1 record\n" in ran.stdout
    assert "note: a record sent back to catalog replaces what is known of its product" in ran.stdout
    assert [r.value() for r in fresh.read("catalog")] == [b"b"]
    assert fresh.read("offers") == []
    listed = json.loads(fresh.command("dead-letters", "list", "--json").stdout)
    assert [one["replayed_to"] for one in listed] == [None, "catalog", None]


def test_nothing_is_sent_without_a_word_or_a_place_to_go(fresh: Shop) -> None:
    kafka = fresh.settings.kafka
    poison(kafka, "inventory", [b"a"])
    asked = fresh.command("dead-letters", "replay")
    assert asked.returncode == 2
    assert "nothing was sent; say --yes, since there is no terminal to ask at" in asked.stderr
    nowhere = fresh.command("dead-letters", "replay", "--yes", "--to", "gone")
    assert (nowhere.returncode, "there is no topic gone; make it" in nowhere.stderr) == (2, True)
    poison(kafka, "closed", [b"b"])
    closed = fresh.command("dead-letters", "replay", "--yes", "--topic", "closed")
    assert (closed.returncode, "there is no topic closed" in closed.stderr) == (2, True)
    sink = Sink(kafka)
    sink.produce("dead-letters", b"k", b"of another program")
    sink.flush(30)
    lost = fresh.command("dead-letters", "replay", "--yes")
    assert (lost.returncode, "these do not say where they were read from" in lost.stderr) == (2, True)
    assert fresh.read("inventory") == []


def test_a_letter_that_retention_has_removed_is_told(fresh: Shop) -> None:
    kafka = fresh.settings.kafka
    poison(kafka, "inventory", [b"a"])
    sink = ReplaySink(kafka)
    sink.open()
    (real,) = read_letters(kafka)
    gone = msgspec.structs.replace(real, place=Place(real.place.partition, 1))
    with pytest.raises(UsageError, match=f"dead-letters has no {gone.place} any more"):
        list(replay(kafka, sink, [real, gone]))
    assert fresh.read("inventory") == []
    assert fetch(kafka, {real.place, gone.place}).keys() == {real.place}


def test_a_record_that_the_broker_refuses_leaves_no_mark(fresh: Shop) -> None:
    kafka = fresh.settings.kafka
    poison(kafka, "inventory", [b"a"])
    sink = ReplaySink(kafka)
    sink.open()
    (real,) = read_letters(kafka)
    nowhere = Outgoing("inventory", b"k", b"a", [], partition=77)
    with pytest.raises(ReplayFailed):
        sink.send([nowhere], [Outgoing("dead-letters", b"7", None, deadletters.mark_headers(real, "inventory"), 0)])
    assert read_letters(kafka)[0].replayed_to is None
