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
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from stream.deadletter import HEADERS
from stream.topology import TOPICS, Topic

#: A JSON document. JSON is the product of this module, so here alone it travels as a dict.
Json = dict[str, Any]

#: The version of the contracts, in `info.version` of the AsyncAPI document.
CONTRACT_VERSION = "0.1.0"
SCHEMA_BASE = "https://raw.githubusercontent.com/tidecast/tidecast/main/docs/schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
KAFKA_BINDING = "0.5.0"


class DeadLetterHeaders(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename=lambda name: f"tidecast-{name}"):
    """Headers of a dead letter, as UTF-8 text. Key and value are the original bytes, whatever they were."""

    topic: Annotated[str, Meta(min_length=1, description=HEADERS["tidecast-topic"])]
    partition: Annotated[str, Meta(pattern="^[0-9]+$", description=HEADERS["tidecast-partition"])]
    offset: Annotated[str, Meta(pattern="^[0-9]+$", description=HEADERS["tidecast-offset"])]
    stage: Annotated[str, Meta(min_length=1, description=HEADERS["tidecast-stage"])]
    error: Annotated[str, Meta(min_length=1, description=HEADERS["tidecast-error"])]


def schema_documents(topics: Mapping[str, Topic]) -> dict[str, Json]:
    """Describe the records of every topic.

    Args:
        topics: the topics by name.

    Returns:
        One self-contained JSON Schema (draft 2020-12) a topic, by topic name.

    Source: https://json-schema.org/draft/2020-12

    Example:
        >>> schema_documents(TOPICS)["orders"]["$defs"]["OrderLine"]["required"]
        ['sku', 'quantity', 'unit_price']
    """
    return {name: _schema_document(topic) for name, topic in topics.items()}


def asyncapi_document(topics: Mapping[str, Topic]) -> Json:
    """Describe the topics as channels, and what Tidecast does with each as operations.

    Messages refer to `schemas/<topic>.json`, relative to the document.

    Args:
        topics: the topics by name.

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
        "channels": {name: _channel(topic) for name, topic in topics.items()},
        "operations": {
            f"{action}-{name}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": topic.doc,
            }
            for name, topic in topics.items()
            for action in _actions(topic)
        },
    }


def contract_files(topics: Mapping[str, Topic]) -> dict[str, bytes]:
    """Render all contracts.

    Args:
        topics: the topics by name.

    Returns:
        Content by file name, relative to the documentation folder; the same bytes for the same types.

    Example:
        >>> sorted(contract_files(TOPICS))[:2]
        ['asyncapi.json', 'schemas/catalog.json']
    """
    documents = {f"schemas/{name}.json": document for name, document in schema_documents(topics).items()}
    documents["asyncapi.json"] = asyncapi_document(topics)
    return {name: _render(document) for name, document in documents.items()}


def stale_files(topics: Mapping[str, Topic], docs: Path) -> list[Path]:
    """Compare the contracts on disk with the types.

    Args:
        topics: the topics by name.
        docs: the documentation folder.

    Returns:
        Files that are missing, differ, or describe a topic that is no more; sorted.
    """
    wanted = {docs / name: content for name, content in contract_files(topics).items()}
    stale = {path for path, content in wanted.items() if not path.is_file() or path.read_bytes() != content}
    return sorted(stale | (set((docs / "schemas").glob("*.json")) - wanted.keys()))


def write_files(topics: Mapping[str, Topic], docs: Path) -> list[Path]:
    """Bring the contracts on disk up to date.

    Args:
        topics: the topics by name.
        docs: the documentation folder.

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
        arguments: command line arguments; those of the process when left out.

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


def _record(topic: Topic) -> Any:
    """Look up the type that describes a topic's records: headers, where the values are others' bytes."""
    return DeadLetterHeaders if topic.record is None else topic.record


def _schema_document(topic: Topic) -> Json:
    (root,), definitions = msgspec.json.schema_components([_record(topic)], ref_template="#/$defs/{name}")
    # OpenAPI's keyword: unknown to JSON Schema, of another form in AsyncAPI. The `type` enums say the same.
    root.pop("discriminator", None)
    if "$ref" in root:
        root = definitions.pop(root["$ref"].removeprefix("#/$defs/"))
    head = {"$schema": DIALECT, "$id": f"{SCHEMA_BASE}/{topic.name}.json"}
    title = topic.name if topic.record is not None else f"{topic.name} (headers)"
    document = head | root | {"title": title, "description": topic.doc}
    return document | ({"$defs": definitions} if definitions else {})


def _channel(topic: Topic) -> Json:
    policy = "compact" if topic.compacted else "delete"
    return {
        "address": topic.name,
        "title": topic.name,
        "description": topic.doc,
        "messages": _messages(topic),
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": {"cleanup.policy": [policy]},
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _messages(topic: Topic) -> Json:
    """Make one message a record type of the topic."""
    info = msgspec.inspect.type_info(_record(topic))
    members = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    messages: Json = {}
    for member in members:
        assert isinstance(member, msgspec.inspect.StructType), f"{topic.name}: {member} is no record type"
        pointer = f"#/$defs/{member.cls.__name__}" if len(members) > 1 else ""
        name = str(member.tag or topic.name)
        messages[name] = _message(name, member.cls, topic, f"./schemas/{topic.name}.json{pointer}")
    return messages


def _message(name: str, record: type, topic: Topic, reference: str) -> Json:
    described: Json = (
        {"payload": {"$ref": reference}}
        if topic.record is not None
        else {"headers": {"$ref": reference}, "contentType": "application/octet-stream"}
    )
    key = {"type": "string", "description": topic.key}
    return {
        "name": name,
        "title": record.__name__,
        "summary": (record.__doc__ or "").strip(),
        **described,
        "bindings": {"kafka": {"key": key, "bindingVersion": KAFKA_BINDING}},
    }


def _actions(topic: Topic) -> tuple[str, ...]:
    return {"in": ("receive",), "out": ("send",), "internal": ("send", "receive")}[topic.direction]


def _render(document: Json) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


if __name__ == "__main__":
    sys.exit(main())
