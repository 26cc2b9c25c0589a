"""What a customer is doing on the site now: the session at hand and the last events with a product."""

from features.aggregations import Recent, Session
from features.rows import ClickKind
from features.view import View

VIEWED = (ClickKind.PRODUCT_VIEW,)
CARTED = (ClickKind.ADD_TO_CART,)

VIEW = View(
    name="customer_session",
    stream="clicks",
    doc="The session of a customer on the site: the last products with what was done, and the session's figures.",
    ttl_days=30,
    stale_after_days=7,
    aggregations=(
        Session("session", "sessions on the site", tuple(ClickKind), viewed=VIEWED, carted=CARTED, gap_minutes=30),
        Recent(
            "viewed",
            "products viewed or put into the cart, latest first",
            (*VIEWED, *CARTED),
            length=16,
            keep_kind=True,
        ),
    ),
)
