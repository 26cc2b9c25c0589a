"""What is on the shelf of an item at a location, and what is on its way."""

from features.aggregations import Shelf, StockPosition
from features.rows import InventoryKind
from features.view import View

SELLING = (InventoryKind.UNITS_SOLD, InventoryKind.RAN_OUT, InventoryKind.RESTOCKED)

VIEW = View(
    name="item_stock",
    stream="inventory",
    doc="Stock of an item: last count, movement since, open purchase orders, lead times; what it sells by the hour.",
    ttl_days=400,
    stale_after_days=30,
    aggregations=(
        StockPosition("stock", "stock position", tuple(InventoryKind), orders=4, movements=6),
        Shelf("shelf", "what it sells by the hour", SELLING),
    ),
)
