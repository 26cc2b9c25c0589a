"""What a customer looks at on the site."""

from features.aggregations import Count, Decayed, Tiles
from features.aggregations.base import HOUR_MS
from features.derived import Ratio
from features.rows import ClickKind
from features.view import View

VIEWED = (ClickKind.PRODUCT_VIEW,)
SHOWN = (ClickKind.OFFER_IMPRESSION,)

VIEW = View(
    name="customer_clicks",
    stream="clicks",
    doc="Views, carts and offers of a customer on the site.",
    ttl_days=90,
    stale_after_days=7,
    aggregations=(
        Count("views", "product pages opened", VIEWED),
        Count("carts", "products put into the cart", (ClickKind.ADD_TO_CART,)),
        Count("offers_shown", "offers shown", SHOWN),
        Count("offers_taken", "offers clicked or redeemed", (ClickKind.OFFER_CLICK, ClickKind.OFFER_REDEEMED)),
        Decayed("recent_views", "product pages opened, decayed", VIEWED, half_life_days=7),
        Tiles("opened", "product pages opened", VIEWED, windows=(1, 24), length=24, tile_ms=HOUR_MS, small=True),
    ),
    derived=(
        Ratio("cart_share", "products put into the cart a page opened", "carts", "views"),
        Ratio("offers_taken_share", "offers clicked or redeemed an offer shown", "offers_taken", "offers_shown"),
    ),
)
