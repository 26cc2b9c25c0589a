"""What is ordered of an item at a location."""

from features.aggregations import Count, Span, Sum, Tiles
from features.rows import OrderKind
from features.view import View

PLACED = (OrderKind.PLACED,)
CANCELLED = (OrderKind.CANCELLED,)

VIEW = View(
    name="item_demand",
    stream="demand",
    doc="Demand for an item: units and order lines over sliding windows, cancellations taken off.",
    ttl_days=400,
    aggregations=(
        Tiles("units", "units ordered", PLACED, value="quantity", minus=CANCELLED, windows=(1, 3, 7, 14, 28, 56)),
        Tiles("lines", "order lines", PLACED, minus=CANCELLED, windows=(7, 28, 56)),
        Span("demand", "order lines", PLACED),
        Count("total_lines", "order lines ever", PLACED),
        Count("returned_lines", "lines that came back", (OrderKind.RETURNED,)),
        Sum("returned_units", "units that came back", (OrderKind.RETURNED,), value="quantity"),
    ),
)
