"""What is ordered of an item at a location."""

from features.aggregations import Count, Distinct, Span, Sum, Tiles
from features.derived import Ratio
from features.rows import OrderKind
from features.view import View

PLACED = (OrderKind.PLACED,)
CANCELLED = (OrderKind.CANCELLED,)
RETURNED = (OrderKind.RETURNED,)

VIEW = View(
    name="item_demand",
    stream="demand",
    doc="Demand for an item: units and order lines over sliding windows, cancellations taken off.",
    ttl_days=400,
    stale_after_days=30,
    aggregations=(
        Tiles("units", "units ordered", PLACED, value="quantity", minus=CANCELLED, windows=(1, 3, 7, 14, 28, 56)),
        Tiles("lines", "order lines", PLACED, minus=CANCELLED, windows=(7, 28), length=28, small=True),
        Span("demand", "order lines", PLACED),
        Count("total_lines", "order lines ever", PLACED),
        Sum("returned_units", "units that came back", RETURNED, value="quantity"),
        Count("returned_lines", "lines that came back", RETURNED),
        Distinct("customers", "customers who ordered it", PLACED, of="customer", precision=6),
    ),
    derived=(Ratio("returned_share", "lines that came back an order line", "returned_lines", "total_lines"),),
)
