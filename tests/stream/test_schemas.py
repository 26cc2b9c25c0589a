"""The published contracts are current, and say what the decoder does."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from stream import events, schemas
from stream.deadletter import HEADERS, headers_of
from stream.decode import DeadLetter
from stream.schemas import DeadLetterHeaders
from stream.topology import TOPICS

DOCS = Path(__file__).parents[2] / "docs"
TIME_MS = 1_300_000_000_000
EVENT = {"event_id": "e-1", "event_time_ms": TIME_MS}
CLICK = {**EVENT, "customer_id": "12347", "session_id": "s-1", "simulated": True}
ORDER = {
    **EVENT,
    "order_id": "536365",
    "location": "GB",
    "lines": [events.OrderLine(sku="85123A", quantity=6, unit_price=2.55, discount=0.1)],
    "charges": [events.Charge(code="POST", amount=18.0, description="Postage")],
    "customer_id": "17850",
    "region": "United Kingdom",
}
ITEM = {"location": "GB", "sku": "85123A"}
STOCK = {**EVENT, **ITEM, "simulated": True}
DEMAND = {
    **EVENT,
    **ITEM,
    "quantity": 6.0,
    "unit_price": 2.55,
    "order_id": "536365",
    "line": 0,
    "source_partition": 3,
    "source_offset": 17,
    "customer_id": None,
}
REASONS = [events.Reason("gap_mean_days", 7.5, 0.3), events.Reason("lead_time_days", None, -0.1)]
SCORE = {
    "model": "m",
    "version": "1",
    "as_of_ms": TIME_MS,
    "fallback": None,
    "feature_time_ms": {"customer": TIME_MS, "item": 0},
    "source": [events.SourceOffset("orders", 3, 17)],
    "reasons": REASONS,
}
RISK = {
    **SCORE,
    **ITEM,
    "name": "HEART T-LIGHT HOLDER",
    "p_stockout": 0.7,
    "on_hand": 4.0,
    "days_of_cover": 1.5,
    "suggested_order_quantity": 20.0,
    "simulated_stock": True,
}
STOCKOUT = {
    **RISK,
    "arriving": 0.0,
    "lead_time_days": 7.0,
    "demand_p10": 1.0,
    "demand_p50": 5.0,
    "demand_p90": 20.0,
    "service_level": 0.95,
}
ALERT = {**RISK, "status": "raised", "severity": "critical", "sequence": 1, "raised_at_ms": TIME_MS}
REORDER = events.ReorderProduct(sku="85123A", name=None, p_7d=0.1, p_14d=0.2, p_30d=0.3, reasons=REASONS)
OFFER_SCORE = events.OfferScore(
    offer_id="o-1",
    sku="85123A",
    title="10 % off",
    p_response=0.1,
    expected_margin=-0.2,
    propensity=0.9,
    reasons=REASONS,
)
OFFER = {
    "offer_id": "o-1",
    "sku": "85123A",
    "title": "10 % off",
    "discount": 0.1,
    "margin": 1.5,
    "valid_from_ms": TIME_MS,
    "valid_until_ms": TIME_MS + 1,
}

#: A record of every type, by topic.
EXAMPLES: dict[str, list[msgspec.Struct]] = {
    "orders": [
        msgspec.convert(ORDER, events.OrderPlaced, from_attributes=True),
        msgspec.convert({**ORDER, "cancels_order_id": "536365"}, events.OrderCancelled, from_attributes=True),
        msgspec.convert({**ORDER, "returns_order_id": None}, events.OrderReturned, from_attributes=True),
    ],
    "clicks": [
        msgspec.convert({**CLICK, "sku": "85123A"}, events.ProductView),
        msgspec.convert({**CLICK, "sku": "85123A", "quantity": 2.5}, events.AddToCart),
        msgspec.convert({**CLICK, "sku": "85123A"}, events.RemoveFromCart),
        msgspec.convert({**CLICK, "query": "heart"}, events.Search),
        msgspec.convert({**CLICK, "offer_id": "o-1"}, events.OfferImpression),
        msgspec.convert({**CLICK, "offer_id": "o-1"}, events.OfferClick),
        msgspec.convert({**CLICK, "offer_id": "o-1"}, events.OfferRedeemed),
    ],
    "inventory": [
        msgspec.convert({**STOCK, "quantity": 0.0}, events.StockCounted),
        msgspec.convert({**STOCK, "quantity": 12.0, "purchase_order_id": "po-1"}, events.StockReceived),
        msgspec.convert({**STOCK, "quantity": -2.0, "reason": "broken"}, events.StockAdjusted),
        msgspec.convert(
            {**STOCK, "quantity": 12.0, "expected_at_ms": TIME_MS, "purchase_order_id": "po-1"},
            events.PurchaseOrderPlaced,
        ),
        msgspec.convert({**STOCK, "quantity": 3.5, "period_ms": 3_600_000}, events.UnitsSold),
        msgspec.convert(STOCK, events.RanOut),
        msgspec.convert(STOCK, events.Restocked),
        msgspec.convert({**STOCK, "discount": 0.25, "valid_from_ms": TIME_MS + 1}, events.PriceSet),
    ],
    "catalog": [
        events.Product(sku="85123A", name="HEART", unit_price=2.55, category=None, simulated=["lead_time_days"])
    ],
    "offers": [msgspec.convert(OFFER, events.Offer)],
    "demand": [msgspec.convert(DEMAND, kind) for kind in (events.Ordered, events.Cancelled, events.Returned)],
    "reorder-scores": [
        msgspec.convert(
            {**SCORE, "customer_id": "17850", "products": [REORDER]},
            events.ReorderScores,
            from_attributes=True,
        )
    ],
    "next-best-offers": [
        msgspec.convert(
            {**SCORE, "customer_id": "17850", "offers": [OFFER_SCORE]},
            events.NextBestOffers,
            from_attributes=True,
        )
    ],
    "stockout-scores": [msgspec.convert(STOCKOUT, events.StockoutScore, from_attributes=True)],
    "supply-alerts": [msgspec.convert(ALERT, events.SupplyAlert, from_attributes=True)],
    "dead-letters": [
        DeadLetterHeaders(
            topic="orders", partition="3", offset="17", stage="decode", error="quantity: Expected `float` > 0"
        )
    ],
    "feature-log": [
        events.FeatureVector(
            model="reorder",
            version="1.0",
            entity="customer",
            key="17850",
            as_of_ms=1_300_000_000_000,
            share=0.01,
            reflects=[
                events.Reflected(topic="orders", partition=3, next_offset=12),
                events.Reflected(topic="demand", partition=3, next_offset=9, sources={"0": 70_001}),
            ],
            reads={"customer_orders.orders": "00ff"},
            context={"lead_time_days": 7.0},
            values={"product": ["00000000000000ff"], "product_orders": [3.0], "product_gap_days": [None]},
        )
    ],
}
RECORDS = [
    pytest.param(topic, record, id=f"{topic}-{type(record).__name__}")
    for topic, records in EXAMPLES.items()
    for record in records
]
DOCUMENTS = schemas.schema_documents(TOPICS)
#: Values put in the place of each field in turn: wrong types, and just outside the limits in use. No whole
#: number with a decimal point (`17.0`): an integer to JSON Schema, but not to the decoder.
INTRUDERS: list[Any] = [
    None, True, "", "x", "a:b", "y" * 129, "y" * 1025, 0, -1, 0.5, -0.5, 1.5, 366, 10**13, -10**13,
    253_402_300_800_000, [], {}, [1], {"a": 1},
]  # fmt: skip


def _type(topic: str) -> Any:
    record = TOPICS[topic].record
    return DeadLetterHeaders if record is None else record


def _members(topic: str) -> set[type]:
    info = msgspec.inspect.type_info(_type(topic))
    members = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return {member.cls for member in members if isinstance(member, msgspec.inspect.StructType)}


def _document(record: msgspec.Struct) -> Any:
    return json.loads(msgspec.json.encode(record))


def _decodes(topic: str, document: Any) -> bool:
    try:
        msgspec.json.decode(json.dumps(document), type=_type(topic))
    except msgspec.ValidationError:
        return False
    return True


def _places(document: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Name every place in a document but the root, as a path of keys and indexes."""
    children = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, child in children:
        yield (*path, key)
        yield from _places(child, (*path, key))


def _broken(document: Any) -> Iterator[tuple[str, Any]]:
    """Break a document in one place at a time: take the place out, or put something else there."""
    for path in _places(document):
        for intruder in [..., *INTRUDERS]:
            changed = copy.deepcopy(document)
            parent = changed
            for step in path[:-1]:
                parent = parent[step]
            if intruder is ...:
                del parent[path[-1]]
            else:
                parent[path[-1]] = intruder
            yield f"{path} = {intruder!r}", changed


def test_files_are_current() -> None:
    assert schemas.stale_files(TOPICS, DOCS) == [], "run `python -m stream.schemas` and commit the files"


def test_every_type_has_an_example() -> None:
    assert {topic: {type(r) for r in records} for topic, records in EXAMPLES.items()} == {
        topic: _members(topic) for topic in TOPICS
    }


@pytest.mark.parametrize("topic", TOPICS)
def test_documents_are_valid_and_self_contained(topic: str) -> None:
    document = json.loads((DOCS / "schemas" / f"{topic}.json").read_bytes())
    Draft202012Validator.check_schema(document)
    assert document["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert document["$id"].endswith(f"/{topic}.json")
    assert document["title"].startswith(topic)
    assert document["description"] == TOPICS[topic].doc
    references = {line.split('"')[3] for line in json.dumps(document, indent=0).splitlines() if "$ref" in line}
    assert {reference.removeprefix("#/$defs/") for reference in references} <= set(document.get("$defs", {}))


@pytest.mark.parametrize(("topic", "record"), RECORDS)
def test_a_real_record_validates(topic: str, record: msgspec.Struct) -> None:
    Draft202012Validator(DOCUMENTS[topic]).validate(_document(record))


@pytest.mark.parametrize(("topic", "record"), RECORDS)
def test_schema_and_decoder_agree_on_broken_records(topic: str, record: msgspec.Struct) -> None:
    """For every field of every type: what the decoder refuses the schema refuses, in both dialects."""
    document = _document(record)
    validator, draft7 = Draft202012Validator(DOCUMENTS[topic]), Draft7Validator(DOCUMENTS[topic])
    refused = 0
    for what, broken in _broken(document):
        # Where a topic has one type the decoder does without the `type` that the contract asks for.
        if len(_members(topic)) == 1 and document.keys() - broken.keys() == {"type"}:
            continue
        decodes = _decodes(topic, broken)
        assert validator.is_valid(broken) == decodes, what
        assert draft7.is_valid(broken) == decodes, what
        refused += not decodes
    assert refused > 0


@pytest.mark.parametrize(
    ("topic", "change"),
    [
        ("orders", {"lines": [{"sku": "85123A", "quantity": -6, "unit_price": 2.55}]}),
        ("orders", {"lines": []}),
        ("orders", {"type": "order_teleported"}),
        ("demand", {"quantity": -1}),
        ("inventory", {"quantity": -1}),
        ("clicks", {"type": None}),
        ("supply-alerts", {"status": "ignored"}),
        ("stockout-scores", {"p_stockout": 1.01}),
        ("dead-letters", {"tidecast-offset": "-1"}),
    ],
)
def test_a_broken_record_does_not_validate(topic: str, change: dict[str, Any]) -> None:
    broken = _document(EXAMPLES[topic][0]) | change
    assert not Draft202012Validator(DOCUMENTS[topic]).is_valid(broken)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_missing_field_does_not_validate(topic: str) -> None:
    document = _document(EXAMPLES[topic][0])
    del document[next(field for field in document if field != "type")]
    assert not Draft202012Validator(DOCUMENTS[topic]).is_valid(document)


def test_asyncapi_has_a_channel_a_topic() -> None:
    document = json.loads((DOCS / "asyncapi.json").read_bytes())
    assert document["asyncapi"] == "3.0.0"
    assert list(document["channels"]) == list(TOPICS)
    for topic, doc in TOPICS.items():
        channel = document["channels"][topic]
        policy = channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"]
        keys = {message["bindings"]["kafka"]["key"]["description"] for message in channel["messages"].values()}
        actions = {
            o["action"] for o in document["operations"].values() if o["channel"]["$ref"] == f"#/channels/{topic}"
        }
        assert (policy, keys) == (["compact" if doc.compacted else "delete"], {doc.key})
        assert actions == {"in": {"receive"}, "out": {"send"}, "internal": {"send", "receive"}}[doc.direction]


def test_asyncapi_messages_refer_to_the_schema_of_their_type() -> None:
    document = json.loads((DOCS / "asyncapi.json").read_bytes())
    for topic, records in EXAMPLES.items():
        messages = document["channels"][topic]["messages"]
        assert len(messages) == len(records)
        for record in records:
            encoded = _document(record)
            message = messages[encoded.get("type", topic)]
            part = "headers" if TOPICS[topic].record is None else "payload"
            file, _, pointer = message[part]["$ref"].partition("#")
            schema = json.loads((DOCS / file).read_bytes())
            target = {**schema, "$ref": f"#{pointer}"} if pointer else schema
            Draft202012Validator(target).validate(encoded)
            assert message["title"] == type(record).__name__


def test_headers_of_a_real_dead_letter_validate() -> None:
    letter = DeadLetter("orders", 3, 17, b"17850", b"{", "decode", "Input data was truncated", [("trace", b"1")])
    headers = {name: value.decode() for name, value in headers_of(letter)}
    Draft202012Validator(DOCUMENTS["dead-letters"]).validate(headers)
    assert set(DOCUMENTS["dead-letters"]["required"]) == set(HEADERS)


def test_dead_letters_keep_their_bytes() -> None:
    (message,) = schemas.asyncapi_document(TOPICS)["channels"]["dead-letters"]["messages"].values()
    assert "payload" not in message
    assert message["contentType"] == "application/octet-stream"


def test_check_lists_what_is_missing_stale_or_left_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--docs", str(tmp_path)]
    assert schemas.main(arguments) == 0
    assert schemas.main([*arguments, "--check"]) == 0
    (tmp_path / "asyncapi.json").unlink()
    (tmp_path / "schemas/orders.json").write_text("{}")
    (tmp_path / "schemas/no-such-topic.json").write_text("{}")
    capsys.readouterr()
    assert schemas.main([*arguments, "--check"]) == 1
    message = capsys.readouterr().err
    assert all(name in message for name in ("asyncapi.json", "orders.json", "no-such-topic.json"))
    assert "clicks.json" not in message
    assert "python -m stream.schemas" in message
    assert schemas.main(arguments) == 0
    assert schemas.main([*arguments, "--check"]) == 0
