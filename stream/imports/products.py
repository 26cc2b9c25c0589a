"""The catalog that the rows of a sales table imply: names, prices, and made-up lead times that say so."""

from __future__ import annotations

import re

import polars as pl
import xxhash

from stream.events import Product

_SMALL_WORDS = frozenset(["a", "and", "at", "for", "from", "in", "of", "on", "or", "the", "to", "with"])
_CAPITALS = frozenset(["CD", "DVD", "EIRE", "LED", "TV", "UK", "USA", "XL"])
_WORD = re.compile(r"(?<![A-Za-z0-9'])([A-Z]+(?:'[A-Z]+)*)(?![0-9])")
_LEAD_TIME_DAYS = (3, 21)


def products_of(rows: pl.DataFrame, seed: int) -> list[Product]:
    """The products that the rows speak of, by stock code.

    Args:
        rows: columns InvoiceNo, StockCode, Description, UnitPrice and way ("lines", "stock_corrections", others).
        seed: of the simulated lead times; a product's lead time depends on the seed and its code alone.

    Returns:
        One product a code, in order of the codes. Codes that were never sold are named by what was credited, else by
        their code, and cost 0.
    """
    known = rows.filter(pl.col("way").is_in(["lines", "stock_corrections"])).select(
        "StockCode",
        text=pl.when(pl.col("way") == "lines").then(pl.col("Description").str.strip_chars()),
        price=pl.when(pl.col("way") == "lines").then("UnitPrice"),
        credit=pl.col("InvoiceNo").str.starts_with("C"),
    )
    names = (
        known.drop_nulls("text")
        .group_by("StockCode", "credit", "text")
        .agg(uses=pl.len())
        .sort("StockCode", "credit", "uses", "text", descending=[False, False, True, False])
        .unique("StockCode", keep="first", maintain_order=True)
    )
    prices = (
        known.group_by("StockCode", "credit")
        .agg(pl.col("price").median())
        .drop_nulls("price")
        .sort("StockCode", "credit")
        .unique("StockCode", keep="first", maintain_order=True)
    )
    table = (
        known.select(pl.col("StockCode").unique())
        .join(names, on="StockCode", how="left")
        .join(prices, on="StockCode", how="left")
        .sort("StockCode")
    )
    columns = (table[name].to_list() for name in ("StockCode", "text", "price"))
    return [_product(sku, text, price, seed) for sku, text, price in zip(*columns, strict=True)]


def _product(sku: str, text: str | None, price: float | None, seed: int) -> Product:
    return Product(
        sku=sku,
        name=readable(text or sku)[:1024],
        unit_price=round(price or 0.0, 4),
        lead_time_days=lead_time_days(sku, seed),
        simulated=["lead_time_days"],
    )


def lead_time_days(sku: str, seed: int) -> float:
    """A made-up lead time of 3 to 21 whole days; the same for the same product and seed, whatever else is imported."""
    low, high = _LEAD_TIME_DAYS
    return float(low + xxhash.xxh3_64_intdigest(sku.encode(), seed) % (high - low + 1))


def readable(text: str) -> str:
    """A name in capitals as people write it; one that has small letters is left as it is.

    >>> readable("WHITE HANGING HEART T-LIGHT HOLDER")
    'White Hanging Heart T-Light Holder'
    >>> readable("SET OF 6 CHILDREN'S MUGS"), readable("Box for 3 CDs")
    ("Set of 6 Children's Mugs", 'Box for 3 CDs')
    """
    squeezed = " ".join(text.split())
    if squeezed != squeezed.upper():
        return squeezed
    return _WORD.sub(_readable_word, squeezed)


def _readable_word(match: re.Match[str]) -> str:
    word = match[1]
    if word in _CAPITALS:
        return word
    if match.start() > 0 and word.lower() in _SMALL_WORDS:
        return word.lower()
    return word.capitalize()
