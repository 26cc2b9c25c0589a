"""What a customer orders: how often, how much, at what rhythm."""

from features.aggregations import Count, Decayed, Gap, Last, Max, Mean, Min, Span, Sum, Tiles, WideTiles
from features.aggregations.base import DAY_MS
from features.derived import Difference, Ratio
from features.rows import OrderKind
from features.view import View

PLACED = (OrderKind.PLACED,)
UNDONE = (OrderKind.CANCELLED,)
FORTNIGHT_MS = 14 * DAY_MS

VIEW = View(
    name="customer_orders",
    stream="orders",
    doc="Orders of a customer: count, value, rhythm, cancellations and returns.",
    ttl_days=730,
    stale_after_days=180,
    # Records are packed in this order: eight-byte fields where they need no padding.
    aggregations=(
        Count("orders", "orders placed, less those cancelled", PLACED, minus=UNDONE),
        Sum("spend", "money ordered, less cancelled and returned", PLACED, minus=(*UNDONE, OrderKind.RETURNED)),
        Min("order_value_min", "smallest value of an order placed", PLACED),
        Max("order_value_max", "largest value of an order placed", PLACED),
        Mean("order_value_mean", "mean value of the orders placed, less those cancelled", PLACED, minus=UNDONE),
        Count("cancelled", "orders cancelled", UNDONE),
        Last("order_value_last", "value of the latest order", PLACED),
        Count("returned", "returns", (OrderKind.RETURNED,)),
        Gap("gap", "days between orders", PLACED),
        Span("order", "orders placed", PLACED),
        Decayed("recent_orders", "orders placed, decayed", PLACED, half_life_days=30),
        Decayed("recent_spend", "money ordered, decayed", PLACED, half_life_days=90, value="value"),
        Tiles(
            "orders_lately",
            "orders placed, less those cancelled",
            PLACED,
            minus=UNDONE,
            windows=(2, 6, 13, 26),
            length=26,
            tile_ms=FORTNIGHT_MS,
            small=True,
        ),
        WideTiles(
            "spend_lately",
            "money ordered, less cancelled and returned",
            PLACED,
            value="value",
            minus=(*UNDONE, OrderKind.RETURNED),
            windows=(2, 6),
            length=6,
            tile_ms=FORTNIGHT_MS,
        ),
    ),
    derived=(
        Ratio("order_value", "money kept an order: ordered less cancelled and returned", "spend", "orders"),
        Ratio("returned_share", "returns an order", "returned", "orders"),
        Difference("order_value_change", "latest order value less the mean", "order_value_last", "order_value_mean"),
    ),
)
