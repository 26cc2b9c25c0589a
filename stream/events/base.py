"""Field types shared by all records, and the base of the events."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from features.rows import MAX_AMOUNT, MAX_QUANTITY, MAX_TIME_MS, MIN_TIME_MS

#: The largest price or amount taken; larger ones are mistakes (and infinities).
LIMIT = MAX_AMOUNT

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=1024)]
Location = Annotated[
    str, Meta(min_length=1, max_length=64, pattern="^[^:]+$", description="warehouse or shop; no colon")
]
EventTimeMs = Annotated[
    int, Meta(ge=MIN_TIME_MS, le=MAX_TIME_MS, description="event time, ms since 1970-01-01 UTC, to the year 2106")
]
Quantity = Annotated[float, Meta(gt=0, le=MAX_QUANTITY, description="units, more than zero; fractions are allowed")]
QuantityOrZero = Annotated[float, Meta(ge=0, le=MAX_QUANTITY, description="units, zero or more")]
SignedQuantity = Annotated[float, Meta(ge=-MAX_QUANTITY, le=MAX_QUANTITY, description="units, either sign")]
Price = Annotated[float, Meta(ge=0, le=LIMIT, description="price of one unit")]
Amount = Annotated[float, Meta(ge=-LIMIT, le=LIMIT, description="money, either sign")]
Share = Annotated[float, Meta(ge=0, le=1)]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", gc=False):
    """What every input event has: an id that is unique on its topic, and when it happened."""

    event_id: Id
    event_time_ms: EventTimeMs
