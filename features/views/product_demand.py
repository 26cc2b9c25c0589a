"""What is ordered of a product, wherever and by whomever; and of all products together (the entity `*`)."""

from features.aggregations import Count, DailyDistinct, Tiles
from features.rows import OrderKind
from features.view import View

PLACED = (OrderKind.PLACED,)

VIEW = View(
    name="product_demand",
    stream="product_lines",
    doc="Demand for a product at all locations: order lines placed over sliding windows, and customers.",
    ttl_days=730,
    stale_after_days=30,
    aggregations=(
        Count("placed", "order lines placed", PLACED),
        # A week more than the longest window, for those who read as of a day that is over.
        Tiles("lines", "order lines placed", PLACED, windows=(7, 28, 84), length=92),
        DailyDistinct("customers", "customers who ordered it", PLACED, of="customer", precision=7),
    ),
)
