"""Aggregations: one file each, with its state layout, its compiled update loop and its read.

Every aggregation starts from its initial state and applies rows one after another, so that
*fold(a + b) == fold(b) after fold(a)*, bit for bit. `order_free` says that it also does not matter in which order
rows arrive; views on repartitioned topics take only those, because there the order of arrival is not given.
"""

from features.aggregations.base import Aggregation, Field
from features.aggregations.count import Count
from features.aggregations.daily_distinct import DailyDistinct
from features.aggregations.decayed import Decayed
from features.aggregations.distinct import Distinct
from features.aggregations.gap import Gap
from features.aggregations.last import Last
from features.aggregations.max import Max
from features.aggregations.mean import Mean
from features.aggregations.min import Min
from features.aggregations.places import Places
from features.aggregations.recent import Recent
from features.aggregations.repertoire import Repertoire
from features.aggregations.session import Session
from features.aggregations.shelf import Shelf
from features.aggregations.span import Span
from features.aggregations.stock import StockPosition
from features.aggregations.sum import Sum
from features.aggregations.tiles import Tiles, WideTiles

__all__ = [
    "Aggregation",
    "Count",
    "DailyDistinct",
    "Decayed",
    "Distinct",
    "Field",
    "Gap",
    "Last",
    "Max",
    "Mean",
    "Min",
    "Places",
    "Recent",
    "Repertoire",
    "Session",
    "Shelf",
    "Span",
    "StockPosition",
    "Sum",
    "Tiles",
    "WideTiles",
]
