"""What a customer orders: how often, how much, at what rhythm."""

from features.aggregations import Count, Decayed, Gap, Span, Sum
from features.rows import OrderKind
from features.view import View

PLACED = (OrderKind.PLACED,)
UNDONE = (OrderKind.CANCELLED,)

VIEW = View(
    name="customer_orders",
    stream="orders",
    doc="Orders of a customer: count, value, rhythm, cancellations and returns.",
    ttl_days=730,
    aggregations=(
        Count("orders", "orders placed, less those cancelled", PLACED, minus=UNDONE),
        Count("cancelled", "orders cancelled", UNDONE),
        Count("returned", "returns", (OrderKind.RETURNED,)),
        Sum("spend", "money ordered, less cancelled and returned", PLACED, minus=(*UNDONE, OrderKind.RETURNED)),
        Sum("order_lines", "product lines ordered", PLACED, value="lines"),
        Span("order", "orders placed", PLACED),
        Gap("gap", "days between orders", PLACED),
        Decayed("recent_orders", "orders placed, decayed", PLACED, half_life_days=30),
        Decayed("recent_spend", "money ordered, decayed", PLACED, half_life_days=90, value="value"),
    ),
)
