"""What goes through all keys of a server: for tools and tests, not for the hot path."""

from __future__ import annotations

import random
from collections.abc import Iterator

from features.store.base import Usage
from features.store.keys import Keys
from features.store.link import Link

_PAGE = 1000


def scan(link: Link, keys: Keys, kind: str, name: str) -> dict[str, bytes]:
    """Every entity's value; what expires meanwhile is left out."""
    out: dict[str, bytes] = {}
    for found in _pages(link, keys, kind, name):
        values = link.ask([("GET", key) for key, _ in found])
        out |= {entity: value for (_, entity), value in zip(found, values, strict=True) if value is not None}
    return out


def usage(link: Link, keys: Keys, kind: str, name: str, sample: int) -> Usage:
    """How many there are, and what a sample of them costs; every record is as likely to be in it."""
    records, drawn, chance = 0, list[bytes](), random.Random(0)
    for found in _pages(link, keys, kind, name):
        for key, _ in found:
            records += 1
            if len(drawn) < sample:
                drawn.append(key)
            elif (place := chance.randrange(records)) < sample:
                drawn[place] = key
    sizes = _sizes(link, drawn)
    return Usage(records, len(sizes), sum(sizes) / len(sizes) if sizes else 0.0)


def _sizes(link: Link, drawn: list[bytes]) -> list[int]:
    sizes = []
    for at in range(0, len(drawn), _PAGE):
        answers = link.ask([("MEMORY USAGE", key, "SAMPLES", 0) for key in drawn[at : at + _PAGE]])
        sizes += [int(answer) for answer in answers if answer is not None]
    return sizes


def _pages(link: Link, keys: Keys, kind: str, name: str) -> Iterator[list[tuple[bytes, str]]]:
    """(key, entity) of every record, a page at a time, from all servers."""
    pattern = keys.pattern(kind, name)
    with link.answered():
        for server in link.primaries():
            cursor = 0
            while True:
                cursor, names = server.scan(cursor, match=pattern, count=_PAGE)
                entities = ((key, keys.entity(key, kind, name)) for key in names)
                found = [(key, entity) for key, entity in entities if entity is not None]
                if found:
                    yield found
                if not cursor:
                    break
