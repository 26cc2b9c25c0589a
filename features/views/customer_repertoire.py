"""Which products a customer buys, with the rhythm of each."""

from features.aggregations import Recent, Repertoire
from features.rows import OrderKind
from features.view import View

VIEW = View(
    name="customer_repertoire",
    stream="order_lines",
    doc="The products a customer buys: per product count, rhythm and weight, and the latest purchases.",
    ttl_days=730,
    stale_after_days=180,
    aggregations=(
        Repertoire("repertoire", "products bought", (OrderKind.PLACED,), size=32),
        Recent("purchases", "products bought, latest first", (OrderKind.PLACED,), length=16),
    ),
)
