"""Records to Arrow columns and back, by schemas that are derived from the record types.

Nested lists and structs are taken apart column by column: nothing here runs per field and row but list building.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import inspect


def arrow_schema_of(record_type: Any) -> Any:
    """The flat Arrow schema of a record type, or of a union of tagged record types.

    Args:
        record_type: a `msgspec.Struct` type or a union of such types, each with a tag.

    Returns:
        A `pyarrow.Schema`: the tag column, then all fields in order of their first appearance.

    >>> from stream.events import OrderEvent
    >>> arrow_schema_of(OrderEvent).field("lines").type.value_type.field(0).name
    'sku'
    """
    info = inspect.type_info(record_type)
    structs = info.types if isinstance(info, inspect.UnionType) else (info,)
    fields: dict[str, Any] = {}
    for struct in structs:
        if not isinstance(struct, inspect.StructType) or struct.tag_field is None:
            raise TypeError(f"{record_type} is not made of tagged structs")
        fields.setdefault(struct.tag_field, pa.string())
        for field in struct.fields:
            found = _arrow_type(field.type)
            if fields.setdefault(field.encode_name, found) != found:
                raise TypeError(f"{record_type}: field {field.encode_name!r} has two types")
    return pa.schema(list(fields.items()))


def _arrow_type(kind: inspect.Type) -> Any:
    if isinstance(kind, inspect.Metadata):
        return _arrow_type(kind.type)
    if isinstance(kind, inspect.UnionType):
        (kind,) = [t for t in kind.types if not isinstance(t, inspect.NoneType)]
    if isinstance(kind, inspect.StructType):
        return pa.struct([(f.encode_name, _arrow_type(f.type)) for f in kind.fields])
    if isinstance(kind, inspect.ListType):
        return pa.list_(_arrow_type(kind.item_type))
    simple = {
        inspect.StrType: pa.string(),
        inspect.IntType: pa.int64(),
        inspect.FloatType: pa.float64(),
        inspect.BoolType: pa.bool_(),
    }
    return simple[type(kind)]


def to_arrow(records: Sequence[msgspec.Struct], schema: Any) -> Any:
    """Records as one Arrow batch.

    Args:
        records: structs of the schema's types, n of them.
        schema: from `arrow_schema_of`.

    Returns:
        A `pyarrow.RecordBatch` of n rows.
    """
    tag_field = schema.names[0]
    columns = [[record.__struct_config__.tag for record in records]]
    columns += [[getattr(record, name, None) for record in records] for name in schema.names if name != tag_field]
    arrays = [_array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: list[Any], kind: Any) -> Any:
    if pa.types.is_list(kind):
        offsets = [0, *accumulate(0 if value is None else len(value) for value in values)]
        items = list(chain.from_iterable(value for value in values if value is not None))
        mask = pa.array([value is None for value in values], pa.bool_())
        offset_array = pa.array(offsets, pa.int32())
        return pa.ListArray.from_arrays(offset_array, _array(items, kind.value_type), kind, mask=mask)
    if pa.types.is_struct(kind):
        children = [_array([getattr(value, f.name) for value in values], f.type) for f in kind]
        return pa.StructArray.from_arrays(children, fields=list(kind))
    return pa.array(values, kind)


def from_arrow(batch: Any) -> Iterator[dict[str, Any]]:
    """Rows of an Arrow batch as dicts; a null field is left out, also in nested structs.

    Args:
        batch: a `pyarrow.RecordBatch`.

    Returns:
        One dict a row, in order.
    """
    return iter(_rows(batch.schema.names, [_values(column) for column in batch.columns]))


def _rows(names: list[str], columns: list[list[Any]]) -> list[dict[str, Any]]:
    if any(None in column for column in columns):
        return [
            {name: value for name, value in zip(names, row, strict=True) if value is not None}
            for row in zip(*columns, strict=True)
        ]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(array: Any) -> list[Any]:
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        offsets = array.offsets.to_pylist()
        start, stop = offsets[0], offsets[-1]
        items = _values(array.values.slice(start, stop - start))
        lists: list[Any] = [items[a - start : b - start] for a, b in pairwise(offsets)]
        if array.null_count:
            nulls = array.is_null().to_pylist()
            return [None if null else value for null, value in zip(nulls, lists, strict=True)]
        return lists
    if pa.types.is_struct(kind):
        fields = [array.field(i) for i in range(kind.num_fields)]
        return _rows([field.name for field in kind], [_values(field) for field in fields])
    return list(array.to_pylist())
