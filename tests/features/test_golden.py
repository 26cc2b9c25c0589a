"""The packed bytes of every shipped view after a fixed list of events: a change is a new version of its records.

Where one of these tests fails, either the fold has changed by accident, or the layout has on purpose. Then released
models are to be made again and records of the version before are migrated: look at what they keep, then pin anew.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS
from features.discovery import discover
from features.ids import hash64
from features.rows import STREAMS
from tests.features.streams import KINDS, START_MS, Event, folded

#: By view: the header in hex (layout, event time, version), the size, and the digest of the whole record.
GOLDEN: dict[str, tuple[str, int, str]] = {
    "customer_clicks": (
        "5edd1a7da17df34a13ec61b96f01000015000000",
        96,
        "df15cad93127b6e72adfde776bfec09b",
    ),
    "customer_orders": (
        "de6fa2d0384a03c608f49d936f01000009000000",
        224,
        "8b86c8eaf181ef8c82b7c162370e333e",
    ),
    "customer_repertoire": (
        "d62627fbdada043c08f49d936f01000009000000",
        1120,
        "46676f3f607591faa383de4bb43a1c3f",
    ),
    "customer_session": (
        "41c404fe4f4630f113ec61b96f01000015000000",
        256,
        "a14da20426aeeb80c5be83b9c38555a7",
    ),
    "item_demand": (
        "12a78f19b6dbdb8508f49d936f01000009000000",
        568,
        "3d575a011bcb779dff45330ce3ba60c2",
    ),
    "item_stock": (
        "2e4205de4cf6f3af13ec61b96f01000015000000",
        240,
        "3c67d4a24bb1d912d2cbb7d14dbf0495",
    ),
}


def some_events(stream: str) -> list[Event]:
    """Every kind three times, two days apart and one late, with values that come from their names alone."""
    events = []
    for n in range(3 * len(KINDS[stream])):
        kind = KINDS[stream][n % len(KINDS[stream])]
        values = {name: hash64(f"{name}{n // 2}") % 10**6 for name in STREAMS[stream][1]}
        values |= {name: hash64(f"{name}{n // 3}") for name in ("product", "customer", "session", "reference")}
        values |= {"expected_at_ms": START_MS + (n + 9) * DAY_MS, "simulated": n % 2}
        day = 2 * n if n % 7 < 6 else 1
        events.append(Event(kind, START_MS + day * DAY_MS // 3 + n, "e", values))
    return events


def record(view: str) -> NDArray[np.void]:
    found = discover()[view]
    _, records = folded(found, some_events(found.stream))
    return records


def test_every_view_is_pinned() -> None:
    assert sorted(GOLDEN) == sorted(discover())


@pytest.mark.parametrize("view", sorted(GOLDEN))
def test_the_bytes_are_those_pinned(view: str) -> None:
    packed = record(view).tobytes()
    assert (packed[:20].hex(), len(packed), hashlib.sha256(packed).hexdigest()[:32]) == GOLDEN[view]


@pytest.mark.parametrize("view", sorted(GOLDEN))
def test_every_aggregation_of_a_pinned_record_has_a_state(view: str) -> None:
    """Else its bytes would be those of a record that took nothing in."""
    found, records = discover()[view], record(view)
    for aggregation in found.aggregations:
        state, blank = found.raw(records, aggregation.name), found.raw(found.empty(1), aggregation.name)
        assert any(state[name].tobytes() != blank[name].tobytes() for name in state), aggregation.name


@pytest.mark.parametrize("view", sorted(GOLDEN))
def test_the_header_is_layout_event_time_and_version(view: str) -> None:
    header = bytes.fromhex(GOLDEN[view][0])
    found = discover()[view]
    events = some_events(found.stream)
    assert int.from_bytes(header[:8], "little") == found.fingerprint
    assert int.from_bytes(header[8:16], "little") == max(e.time_ms for e in events)
    assert int.from_bytes(header[16:20], "little") == len(events)
