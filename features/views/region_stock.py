"""A product in a region, by the hour: in how many of its shops it has run out, and what they sell."""

from features.aggregations import Count, DailyDistinct, Tiles
from features.aggregations.base import HOUR_MS
from features.rows import InventoryKind
from features.view import View

OUT, IN = (InventoryKind.RAN_OUT,), (InventoryKind.RESTOCKED,)
#: A week and a day: the same hours of the last seven days, also for those who read as of hours ago.
HOURS = 192

VIEW = View(
    name="region_stock",
    stream="region_stock",
    doc="Stock of a product in a region: shops that have run out of it, and units that they sold, by the hour.",
    ttl_days=400,
    stale_after_days=7,
    aggregations=(
        Count("ran_out", "times that a shop ran out", OUT),
        Count("restocked", "times that one was restocked", IN),
        Tiles("turned", "shops that ran out, less those restocked", OUT, None, IN, (1, 24), HOURS, HOUR_MS, small=True),
        Tiles("sold", "units sold", (InventoryKind.UNITS_SOLD,), "quantity", (), (1, 3, 24), HOURS, HOUR_MS),
        Tiles("turns", "shops that ran out or were restocked", OUT + IN, None, (), (1, 24), HOURS, HOUR_MS, small=True),
        DailyDistinct("shops", "shops that had it", tuple(InventoryKind), of="shop", precision=7),
    ),
)
