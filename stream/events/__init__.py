"""The records on every topic, typed and validated.

Times are `*_ms`: milliseconds since 1970-01-01 UTC. Money is in the currency of the order. Unknown fields are
ignored, so that producers can add some first.
"""

from stream.events.clicks import (
    AddToCart,
    ClickEvent,
    OfferClick,
    OfferImpression,
    OfferRedeemed,
    ProductView,
    RemoveFromCart,
    Search,
)
from stream.events.demand import Cancelled, DemandEvent, Ordered, Returned
from stream.events.features import FeatureVector, Reflected
from stream.events.inventory import (
    InventoryEvent,
    PriceSet,
    PurchaseOrderPlaced,
    RanOut,
    Restocked,
    StockAdjusted,
    StockCounted,
    StockReceived,
    UnitsSold,
)
from stream.events.orders import (
    Charge,
    OrderCancelled,
    OrderEvent,
    OrderLine,
    OrderPlaced,
    OrderReturned,
)
from stream.events.reference import Offer, Product
from stream.events.scores import (
    NextBestOffers,
    NextHours,
    OfferScore,
    Reason,
    ReorderProduct,
    ReorderScores,
    SourceOffset,
    StockoutScore,
    SupplyAlert,
)

__all__ = [
    "AddToCart",
    "Cancelled",
    "Charge",
    "ClickEvent",
    "DemandEvent",
    "FeatureVector",
    "InventoryEvent",
    "NextBestOffers",
    "NextHours",
    "Offer",
    "OfferClick",
    "OfferImpression",
    "OfferRedeemed",
    "OfferScore",
    "OrderCancelled",
    "OrderEvent",
    "OrderLine",
    "OrderPlaced",
    "OrderReturned",
    "Ordered",
    "PriceSet",
    "Product",
    "ProductView",
    "PurchaseOrderPlaced",
    "RanOut",
    "Reason",
    "Reflected",
    "RemoveFromCart",
    "ReorderProduct",
    "ReorderScores",
    "Restocked",
    "Returned",
    "Search",
    "SourceOffset",
    "StockAdjusted",
    "StockCounted",
    "StockReceived",
    "StockoutScore",
    "SupplyAlert",
    "UnitsSold",
]
