"""What a customer looks at on the site."""

from features.aggregations import Count, Decayed, Recent, Span
from features.rows import ClickKind
from features.view import View

SHOWN = (ClickKind.OFFER_IMPRESSION,)

VIEW = View(
    name="customer_clicks",
    stream="clicks",
    doc="Views, carts and offers of a customer on the site.",
    ttl_days=90,
    aggregations=(
        Count("views", "product pages opened", (ClickKind.PRODUCT_VIEW,)),
        Count("carts", "products put into the cart", (ClickKind.ADD_TO_CART,)),
        Count("offers_shown", "offers shown", SHOWN),
        Count("offers_taken", "offers clicked or redeemed", (ClickKind.OFFER_CLICK, ClickKind.OFFER_REDEEMED)),
        Span("click", "clicks of any kind", tuple(ClickKind)),
        Decayed("recent_views", "product pages opened, decayed", (ClickKind.PRODUCT_VIEW,), half_life_days=7),
        Recent(
            "viewed",
            "products viewed or put into the cart, latest first",
            (ClickKind.PRODUCT_VIEW, ClickKind.ADD_TO_CART),
            length=16,
        ),
    ),
)
