"""Published contracts, made from the types: a JSON Schema (draft 2020-12) a topic, an AsyncAPI 3.0 document.

    python -m stream.schemas            # writes docs/schemas/<topic>.json and docs/asyncapi.json
    python -m stream.schemas --check    # exit code 1 and the stale files, if any

The schemas keep to keywords that mean the same in draft-07, which is what AsyncAPI's tools read; so the same
files serve both. Nothing here runs in the hot path.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from stream import events

#: A JSON document. JSON is the product of this module, so here alone it travels as a dict.
Json = dict[str, Any]

#: The version of the contracts, in `info.version` of the AsyncAPI document.
CONTRACT_VERSION = "0.1.0"
SCHEMA_BASE = "https://raw.githubusercontent.com/tidecast/tidecast/main/docs/schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
KAFKA_BINDING = "0.5.0"


class DeadLetterHeaders(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Headers of a dead letter, as UTF-8 text. Key and value are the original bytes, whatever they were."""

    topic: Annotated[str, Meta(min_length=1, description="where the record came from")]
    partition: Annotated[str, Meta(pattern="^[0-9]+$", description="its partition there, decimal")]
    offset: Annotated[str, Meta(pattern="^[0-9]+$", description="its offset there, decimal")]
    stage: Annotated[str, Meta(min_length=1, description="which step refused it")]
    error: Annotated[str, Meta(min_length=1, description="why, for a person")]


class TopicDoc(NamedTuple):
    """What the contracts say of a topic: type of its records, what it is for, its key, which way it flows."""

    type: Any
    description: str
    key: str
    direction: Literal["in", "out", "internal"]
    cleanup_policy: Literal["delete", "compact"] = "delete"
    #: Where the type is found in a Kafka record; with "headers" the value is opaque bytes.
    carried_in: Literal["value", "headers"] = "value"


TOPICS: Mapping[str, TopicDoc] = {
    "orders": TopicDoc(events.OrderEvent, "Orders, cancellations and returns, with lines.", "customer_id", "in"),
    "clicks": TopicDoc(
        events.ClickEvent, "What customers do on the site, and what they are shown.", "customer_id", "in"
    ),
    "inventory": TopicDoc(events.InventoryEvent, "What happens to the stock of an item.", "location:sku", "in"),
    "catalog": TopicDoc(
        events.Product, "Products. A null value deletes its key.", "sku", "in", cleanup_policy="compact"
    ),
    "offers": TopicDoc(
        events.Offer, "Offers. A null value deletes its key.", "offer_id", "in", cleanup_policy="compact"
    ),
    "demand": TopicDoc(events.DemandEvent, "A record an order line: orders seen by item.", "location:sku", "internal"),
    "reorder-scores": TopicDoc(
        events.ReorderScores, "Products a customer is likely to buy again.", "customer_id", "out"
    ),
    "next-best-offers": TopicDoc(
        events.NextBestOffers, "Offers to show a customer now, best first.", "customer_id", "out"
    ),
    "stockout-scores": TopicDoc(
        events.StockoutScore, "Risk that an item runs out, and how much to order.", "location:sku", "out"
    ),
    "supply-alerts": TopicDoc(events.SupplyAlert, "Alerts raised, escalated and resolved.", "location:sku", "out"),
    "dead-letters": TopicDoc(
        DeadLetterHeaders,
        "Records that could not be taken: original key and value, headers saying where from and why.",
        "the original key",
        "out",
        carried_in="headers",
    ),
}


def schema_documents(topics: Mapping[str, TopicDoc]) -> dict[str, Json]:
    """Describe the records of every topic.

    Args:
        topics: The topics by name.

    Returns:
        One self-contained JSON Schema (draft 2020-12) a topic, by topic name.

    Source: https://json-schema.org/draft/2020-12

    Example:
        >>> schema_documents(TOPICS)["orders"]["$defs"]["OrderLine"]["required"]
        ['sku', 'quantity', 'unit_price']
    """
    return {topic: _schema_document(topic, doc) for topic, doc in topics.items()}


def asyncapi_document(topics: Mapping[str, TopicDoc]) -> Json:
    """Describe the topics as channels, and what Tidecast does with each as operations.

    Messages refer to `schemas/<topic>.json`, relative to the document.

    Args:
        topics: The topics by name.

    Returns:
        An AsyncAPI 3.0 document with Kafka bindings.

    Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0

    Example:
        >>> sorted(asyncapi_document(TOPICS)["operations"])[:2]
        ['receive-catalog', 'receive-clicks']
    """
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidecast",
            "version": CONTRACT_VERSION,
            "description": "Streaming scoring for commerce: the Kafka topics that Tidecast reads and writes. "
            "`receive` is what the engine reads, `send` is what it publishes.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic: _channel(topic, doc) for topic, doc in topics.items()},
        "operations": {
            f"{action}-{topic}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{topic}"},
                "summary": doc.description,
            }
            for topic, doc in topics.items()
            for action in _actions(doc)
        },
    }


def contract_files(topics: Mapping[str, TopicDoc]) -> dict[str, bytes]:
    """Render all contracts.

    Args:
        topics: The topics by name.

    Returns:
        Content by file name, relative to the documentation folder; the same bytes for the same types.

    Example:
        >>> sorted(contract_files(TOPICS))[:2]
        ['asyncapi.json', 'schemas/catalog.json']
    """
    documents = {f"schemas/{topic}.json": doc for topic, doc in schema_documents(topics).items()}
    documents["asyncapi.json"] = asyncapi_document(topics)
    return {name: _render(document) for name, document in documents.items()}


def stale_files(topics: Mapping[str, TopicDoc], docs: Path) -> list[Path]:
    """Compare the contracts on disk with the types.

    Args:
        topics: The topics by name.
        docs: The documentation folder.

    Returns:
        Files that are missing, differ, or describe a topic that is no more; sorted.
    """
    wanted = {docs / name: content for name, content in contract_files(topics).items()}
    stale = {path for path, content in wanted.items() if not path.is_file() or path.read_bytes() != content}
    return sorted(stale | (set((docs / "schemas").glob("*.json")) - wanted.keys()))


def write_files(topics: Mapping[str, TopicDoc], docs: Path) -> list[Path]:
    """Bring the contracts on disk up to date.

    Args:
        topics: The topics by name.
        docs: The documentation folder.

    Returns:
        The files that were written or deleted; sorted.
    """
    changed = stale_files(topics, docs)
    wanted = {docs / name: content for name, content in contract_files(topics).items()}
    for path in changed:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted[path])
        else:
            path.unlink()
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the contracts, or check that they are current.

    Args:
        arguments: Command line arguments; those of the process when left out.

    Returns:
        The exit code: 0, or 1 if `--check` found stale files.
    """
    parser = argparse.ArgumentParser("python -m stream.schemas", description="Write or check the contracts.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    parser.add_argument("--docs", type=Path, default=Path(__file__).parent.parent / "docs", help="folder")
    options = parser.parse_args(arguments)
    if not options.check:
        for path in write_files(TOPICS, options.docs):
            print(f"written: {path}")
        return 0
    stale = stale_files(TOPICS, options.docs)
    for path in stale:
        print(f"stale: {path}", file=sys.stderr)
    if stale:
        print("these differ from the types: run `python -m stream.schemas` and commit them", file=sys.stderr)
    return 1 if stale else 0


def _schema_document(topic: str, doc: TopicDoc) -> Json:
    (root,), definitions = msgspec.json.schema_components([doc.type], ref_template="#/$defs/{name}")
    # OpenAPI's keyword: unknown to JSON Schema, of another form in AsyncAPI. The `type` enums say the same.
    root.pop("discriminator", None)
    if "$ref" in root:
        root = definitions.pop(root["$ref"].removeprefix("#/$defs/"))
    head = {"$schema": DIALECT, "$id": f"{SCHEMA_BASE}/{topic}.json"}
    title = topic if doc.carried_in == "value" else f"{topic} (headers)"
    document = head | root | {"title": title, "description": doc.description}
    return document | ({"$defs": definitions} if definitions else {})


def _channel(topic: str, doc: TopicDoc) -> Json:
    return {
        "address": topic,
        "title": topic,
        "description": doc.description,
        "messages": _messages(topic, doc),
        "bindings": {
            "kafka": {
                "topic": topic,
                "topicConfiguration": {"cleanup.policy": [doc.cleanup_policy]},
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _messages(topic: str, doc: TopicDoc) -> Json:
    """Make one message a record type of the topic."""
    info = msgspec.inspect.type_info(doc.type)
    members = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    messages: Json = {}
    for member in members:
        assert isinstance(member, msgspec.inspect.StructType), f"{topic}: {member} is no record type"
        pointer = f"#/$defs/{member.cls.__name__}" if len(members) > 1 else ""
        name = str(member.tag or topic)
        messages[name] = _message(name, member.cls, doc, f"./schemas/{topic}.json{pointer}")
    return messages


def _message(name: str, record: type, doc: TopicDoc, reference: str) -> Json:
    described: Json = (
        {"payload": {"$ref": reference}}
        if doc.carried_in == "value"
        else {"headers": {"$ref": reference}, "contentType": "application/octet-stream"}
    )
    key = {"type": "string", "description": doc.key}
    return {
        "name": name,
        "title": record.__name__,
        "summary": (record.__doc__ or "").strip(),
        **described,
        "bindings": {"kafka": {"key": key, "bindingVersion": KAFKA_BINDING}},
    }


def _actions(doc: TopicDoc) -> tuple[str, ...]:
    return {"in": ("receive",), "out": ("send",), "internal": ("send", "receive")}[doc.direction]


def _render(document: Json) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


if __name__ == "__main__":
    sys.exit(main())
