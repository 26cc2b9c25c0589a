"""Where a product is kept, and where there is none left of it: what is out of stock everywhere is not offered."""

from features.aggregations import Places
from features.rows import InventoryKind
from features.view import View

VIEW = View(
    name="product_stock",
    stream="product_stock",
    doc="Stock of a product at all locations: at how many it is kept, and at how many there is none left.",
    ttl_days=400,
    stale_after_days=30,
    aggregations=(Places("places", "locations that keep the product", tuple(InventoryKind)),),
)
