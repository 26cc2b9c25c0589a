"""The Redis keys of a namespace. Those of a bucket share its hash tag, so they are in one slot of a cluster."""

from __future__ import annotations

import re
from collections.abc import Sequence

from features.store.base import Record, bucket_of


class Keys:
    """Names of keys.

    Args:
        namespace: prefix of every key.
        buckets: how many there are.

    >>> Keys("shop", 1).record("f", "view", "42")
    'shop:{b0}:f:view:42'
    """

    def __init__(self, namespace: str, buckets: int) -> None:
        self._namespace, self._buckets = namespace, buckets
        self._prefixes = [f"{namespace}:{{b{bucket}}}:" for bucket in range(buckets)]
        self.names, self.layouts, self.clock = (f"{namespace}:{name}" for name in ("names", "layouts", "clock"))
        self.meta = f"{namespace}:meta"

    def record(self, kind: str, name: str, entity: str) -> str:
        """Of a record."""
        return f"{self._prefixes[bucket_of(entity, self._buckets)]}{kind}:{name}:{entity}"

    def records(self, kind: str, name: str, entities: Sequence[str]) -> list[str]:
        """Of many records of one kind and name."""
        begins = [f"{prefix}{kind}:{name}:" for prefix in self._prefixes]
        if self._buckets == 1:
            begin = begins[0]
            return [begin + entity for entity in entities]
        return [begins[bucket_of(entity, self._buckets)] + entity for entity in entities]

    def of_bucket(self, bucket: int, records: Sequence[Record]) -> list[str]:
        """Of records that are all of one bucket."""
        prefix = self._prefixes[bucket]
        return [f"{prefix}{record.kind}:{record.name}:{record.entity}" for record in records]

    def fence(self, topic: str, partition: int, bucket: int) -> tuple[str, str]:
        """Of a fence, and of its ring of seen events."""
        prefix = self._prefixes[bucket]
        return f"{prefix}fence:{topic}:{partition}", f"{prefix}seen:{topic}:{partition}"

    def index(self, name: str, bucket: int) -> str:
        """Of the part of an index that is in a bucket."""
        return f"{self._prefixes[bucket]}index:{name}"

    def erasures(self, bucket: int) -> str:
        """Of a bucket's count of erasures."""
        return f"{self._prefixes[bucket]}erasures"

    def pattern(self, kind: str, name: str) -> str:
        """A glob that matches every record of a kind and name, and little else."""
        literal = re.sub(r"([*?\[\]\\])", r"\\\1", self._namespace)
        return f"{literal}:{{b*}}:{kind}:{name}:*"

    def entity(self, key: bytes, kind: str, name: str) -> str | None:
        """The entity of a key that matches the pattern; None where an entity of another view looks like one."""
        _, rest = key[len(f"{self._namespace}:{{b".encode()) :].split(b"}", 1)
        begin = f":{kind}:{name}:".encode()
        return rest[len(begin) :].decode() if rest.startswith(begin) else None
