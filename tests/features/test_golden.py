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
        "5edd1a7da17df34a15bc3fc06f01000016000000",
        96,
        "8549f5ffaa4140f79d64c6e36ee8dc2e",
    ),
    "customer_orders": (
        "cae5eb076d176d8409dc0c976f0100000a000000",
        240,
        "cf1d9b4f6085eafe0989dc71aaba32e7",
    ),
    "customer_repertoire": (
        "0d10a67777d1825509dc0c976f0100000a000000",
        1120,
        "86d2ae00344d8b683a14804b191457ad",
    ),
    "customer_session": (
        "41c404fe4f4630f115bc3fc06f01000016000000",
        256,
        "e8dcc2d43576eb2f252e1950e3a14ed8",
    ),
    "item_demand": (
        "d949bb9a0113073d09dc0c976f0100000a000000",
        512,
        "1b4f5f0fd832e4d13b2d020aa6d9f8ca",
    ),
    "item_stock": (
        "e7d1c2820cb24f2c15bc3fc06f01000016000000",
        304,
        "371601c96300206918dc7462b45678fe",
    ),
    "product_demand": (
        "d1558b7aa4be9b5a09dc0c976f0100000a000000",
        784,
        "41b5b897e60899b9bf65a58ba1b9035f",
    ),
    "product_stock": (
        "ea264d24cf4f8ce115bc3fc06f01000016000000",
        168,
        "31a3cdc3d2023634ca9d50b763f0118d",
    ),
    "region_stock": (
        "c8e89c7d51f1ec6315bc3fc06f01000016000000",
        2352,
        "ba9fab5db9c519629fa9616124568845",
    ),
}


def some_events(stream: str) -> list[Event]:
    """Every kind three times and the first once more, some late, with values that come from their names alone."""
    events = []
    for n in range(3 * len(KINDS[stream]) + 1):
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
    """Those that are shipped, that is; whoever adds one pins it when it is to stay as it is."""
    assert set(GOLDEN) <= set(discover())


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
