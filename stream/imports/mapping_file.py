"""The mapping file: which column of a table is which field of a topic's records. Read and checked before any row."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import inspect

from stream.errors import UsageError
from stream.eventlog import TOPIC_TYPES

#: Fields that hold a moment: read with the mapping's time format and zone.
TIME_FIELDS = frozenset({"event_time_ms", "expected_at_ms", "valid_from_ms", "valid_until_ms"})


class TopicPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[topic]`: what a row, or a group of rows, becomes.

    Args:
        name: a topic of the event log.
        type: the record type, such as "order_placed"; needed if the topic has several.
        group_by: column whose equal values make one record; its rows are the record's lines.
    """

    name: str
    type: str | None = None
    group_by: str | None = None


class TimePart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[time]`: how moments are written.

    Args:
        format: "iso", "ms" or "s" since 1970, or a pattern such as "%d/%m/%Y %H:%M".
        zone: where times without a zone were taken.
    """

    format: str = "iso"
    zone: str = "UTC"


class TableMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping file.

    Args:
        topic: what a row becomes.
        fields: record field = column.
        lines: field of a line = column, for records that have lines.
        constants: record field = value.
        line_constants: field of a line = value.
        time: how moments are written.
        separator: between the columns of a CSV file.
    """

    topic: TopicPart
    fields: dict[str, str]
    lines: dict[str, str] = {}
    constants: dict[str, Any] = {}
    line_constants: dict[str, Any] = {}
    time: TimePart = TimePart()
    separator: str = ","

    @property
    def record_type(self) -> type[msgspec.Struct]:
        """The type of the records, a msgspec struct."""
        return types_of(self.topic.name)[self.topic.type or ""]

    @property
    def columns(self) -> list[str]:
        """Every column of the table that is named."""
        grouping = [self.topic.group_by] if self.topic.group_by else []
        return list(dict.fromkeys([*self.fields.values(), *self.lines.values(), *grouping]))


@cache
def types_of(topic: str) -> dict[str, type[msgspec.Struct]]:
    """The record types of a topic by their tag; a topic with one type has it under "" too.

    >>> types_of("offers")[""].__name__
    'Offer'
    """
    info = inspect.type_info(TOPIC_TYPES[topic])
    kinds = info.types if isinstance(info, inspect.UnionType) else (info,)
    types = {str(kind.tag): kind.cls for kind in kinds if isinstance(kind, inspect.StructType)}
    return types | ({"": next(iter(types.values()))} if len(types) == 1 else {})


def load_mapping(path: Path) -> TableMapping:
    """Reads and checks a mapping file.

    Raises:
        UsageError: it cannot be read, or a key of it is wrong; the message names the file and the key.
    """
    try:
        mapping = msgspec.toml.decode(path.read_bytes(), type=TableMapping)
    except OSError as problem:
        raise UsageError(f"{path}: cannot be read ({problem.strerror}); give a mapping file") from problem
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise UsageError(f"{path}: {problem}; see `tidecast import --help` for the form") from problem
    _check_topic(path, mapping)
    _check_fields(path, mapping)
    try:
        ZoneInfo(mapping.time.zone)
    except (ZoneInfoNotFoundError, ValueError) as problem:
        raise UsageError(
            f"{path}: [time] zone: {mapping.time.zone!r} is no time zone; write Europe/London"
        ) from problem
    return mapping


def _check_topic(path: Path, mapping: TableMapping) -> None:
    topic, kind = mapping.topic.name, mapping.topic.type
    if topic not in TOPIC_TYPES:
        raise UsageError(f"{path}: [topic] name: no topic {topic!r}; topics are {', '.join(TOPIC_TYPES)}")
    types = types_of(topic)
    if (kind or "") not in types:
        given = f"no type {kind!r}" if kind else "missing"
        raise UsageError(f"{path}: [topic] type: {given}; topic {topic!r} has {', '.join(filter(None, types))}")
    if mapping.topic.group_by and not mapping.lines:
        raise UsageError(f"{path}: [topic] group_by makes one record of several rows; say in [lines] what each row is")


def _check_fields(path: Path, mapping: TableMapping) -> None:
    record = record_fields(mapping.record_type)
    has_lines = "lines" in record
    if mapping.lines and not has_lines:
        raise UsageError(f"{path}: [lines]: a {mapping.topic.type or mapping.topic.name} record has no lines")
    line = record_fields(line_type(mapping.record_type)) if has_lines else {}
    filled_by_lines = {"lines"} if mapping.lines else set()
    _check_part(path, ("fields", mapping.fields), ("constants", mapping.constants), record, filled_by_lines)
    _check_part(path, ("lines", mapping.lines), ("line_constants", mapping.line_constants), line, set())
    given = {*mapping.fields, *mapping.constants, *filled_by_lines, "event_id"}
    if missing := [name for name, field in record.items() if field.required and name not in given]:
        raise UsageError(f"{path}: [fields] lacks {', '.join(missing)}; name a column, or a value in [constants]")


def _check_part(
    path: Path,
    columns: tuple[str, dict[str, str]],
    constants: tuple[str, dict[str, Any]],
    known: dict[str, inspect.Field],
    filled: set[str],
) -> None:
    for part, names in (columns, constants):
        if unknown := sorted(names.keys() - known.keys()):
            raise UsageError(f"{path}: [{part}] {unknown[0]}: no such field; fields are {', '.join(known)}")
        if twice := sorted(names.keys() & filled):
            raise UsageError(f"{path}: [{part}] {twice[0]}: is made by [lines] already; remove one")
    if twice := sorted(columns[1].keys() & constants[1].keys()):
        raise UsageError(f"{path}: {twice[0]} is in [{columns[0]}] and in [{constants[0]}]; remove one")


def line_type(record_type: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The type of the lines of a record type that has `lines`."""
    lines = _bare(record_fields(record_type)["lines"].type)
    item = _bare(lines.item_type) if isinstance(lines, inspect.ListType) else lines
    if not isinstance(item, inspect.StructType):
        raise TypeError(f"the lines of {record_type.__name__} are no records")
    return item.cls


@cache
def record_fields(record_type: type[msgspec.Struct]) -> dict[str, inspect.Field]:
    """The fields of a record or line type, by name."""
    kind = inspect.type_info(record_type)
    return {field.name: field for field in kind.fields} if isinstance(kind, inspect.StructType) else {}


def is_text(field: inspect.Field) -> bool:
    """Whether a field holds text, null or not."""
    kind = _bare(field.type)
    kinds = [_bare(each) for each in kind.types] if isinstance(kind, inspect.UnionType) else [kind]
    return any(isinstance(each, inspect.StrType) for each in kinds)


def _bare(kind: inspect.Type) -> inspect.Type:
    return _bare(kind.type) if isinstance(kind, inspect.Metadata) else kind
