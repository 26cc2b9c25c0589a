"""What is on the shelf of an item at a location, and what is on its way."""

from features.aggregations import StockPosition
from features.rows import InventoryKind
from features.view import View

VIEW = View(
    name="item_stock",
    stream="inventory",
    doc="Stock position of an item: last count, movement since, open purchase orders, lead times, times it ran out.",
    ttl_days=400,
    stale_after_days=30,
    aggregations=(StockPosition("stock", "stock position", tuple(InventoryKind), orders=4, movements=6),),
)
