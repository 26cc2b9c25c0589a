"""Topic `feature-log`: feature vectors as they were scored, so that they can be recomputed and compared."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from stream.events.base import EventTimeMs

#: JSON has only texts for keys.
Partition = Annotated[str, Meta(pattern=r"^[0-9]{1,9}$")]


class Reflected(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the features reflect of one topic: all of the entity's events before `next_offset`.

    For `demand`, whose offsets differ from run to run: by partition of `orders`, the newest order line that is in the
    features, as its order's offset × 10,000 + its line.
    """

    topic: str
    partition: Annotated[int, Meta(ge=0)]
    next_offset: Annotated[int, Meta(ge=0)]
    sources: dict[Partition, int] | None = None


class FeatureVector(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="feature_vector", gc=False):
    """Topic `feature-log`: what a model was fed for one entity."""

    model: str
    version: str
    entity: Literal["customer", "item"]
    key: Annotated[str, Meta(min_length=1, description="customer_id, or location:sku")]
    as_of_ms: Annotated[EventTimeMs, Meta(description="event time as of which the features were read")]
    share: Annotated[float, Meta(gt=0, le=1, description="share of the vectors that are logged")]
    reflects: Annotated[list[Reflected], Meta(min_length=1)]
    reads: Annotated[dict[str, str], Meta(description="view.aggregation to a fingerprint of how it is kept and read")]
    context: Annotated[dict[str, float], Meta(description="what was known beside the features, such as lead_time_days")]
    values: Annotated[
        dict[str, list[float | str | None]],
        Meta(description="feature to its values, one a row; null: unknown; products are hexadecimal ids"),
    ]
