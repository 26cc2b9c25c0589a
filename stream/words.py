"""Words: the reasons of a score as a person would say them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stream.events import NextBestOffers, Reason, ReorderScores, StockoutScore, SupplyAlert

#: What a feature's value says; `{}` is the number. Where it is one, the second text.
_SAID: dict[str, tuple[str, str]] = {
    # Of a customer and a product.
    "product_orders": ("bought {} times", "bought once"),
    "product_share": ("in {:%} of the customer's orders", "in every order"),
    "product_days_since": ("{} days since last", "1 day since last"),
    "product_gap_days": ("usual gap {} days", "usual gap 1 day"),
    "product_due": ("{:.1} times the usual gap has passed", "the usual gap has just passed"),
    "product_weight": ("recent purchases weigh {:.1}", "recent purchases weigh 1"),
    "product_orders_since": ("{} orders without it since", "1 order without it since"),
    "product_in_last_5": ("in {} of the last 5 orders", "in 1 of the last 5 orders"),
    "product_in_last_10": ("in {} of the last 10 orders", "in 1 of the last 10 orders"),
    "product_units": ("{} units at a time", "1 unit at a time"),
    "product_age_days": ("on record for {} days", "on record since yesterday"),
    "product_place": ("place {} among the customer's products", "the customer's strongest product"),
    "product_weight_share": ("{:.1}% of what is bought lately", "1% of what is bought lately"),
    "product_place_orders": ("place {} among what the customer orders most", "what the customer orders most"),
    "product_place_shop_7d": (
        "place {} of the customer's by the week's sales",
        "the shop's favourite of the customer's",
    ),
    "product_place_shop_28d": ("place {} of the customer's by four weeks' sales", "a favourite of the customer's"),
    "shop_ppm_7d": ("{} in a million of the shop's usual lines this week", "hardly sold in the shop this week"),
    "shop_ppm_28d": ("{} in a million of the shop's usual lines in 28 days", "hardly sold in the shop in 28 days"),
    "shop_ppm_84d": ("{} in a million of the shop's lines in 84 days", "hardly sold in the shop in 84 days"),
    "shop_trend_28d": ("its sales of the week against 28 days", "its sales of the week against 28 days"),
    "shop_trend_84d": ("its sales of 28 days against 84", "its sales of 28 days against 84"),
    "shop_again": ("{:.1} orders a customer who ever bought it", "1 order a customer who ever bought it"),
    # Of the customer.
    "customer_orders": ("{} orders so far", "1 order so far"),
    "customer_days_since": ("{} days since the last order", "1 day since the last order"),
    "customer_gap_days": ("orders every {} days", "orders every day"),
    "customer_gap_std": ("gaps vary by {} days", "gaps vary by 1 day"),
    "customer_due": ("{:.1} times the usual gap between orders has passed", "the next order is due"),
    "customer_recent_orders": ("{:.1} orders lately", "1 order lately"),
    "customer_recent_views": ("{:.1} pages opened lately", "1 page opened lately"),
    "customer_order_value": ("orders worth {}", "orders worth 1"),
    "customer_age_days": ("customer for {} days", "customer since yesterday"),
    "repertoire_products": ("buys {} products", "buys 1 product"),
    "repertoire_basket": ("{:.1} products an order", "1 product an order"),
    "repertoire_again": ("{}% of purchases are repeats", "1% of purchases are repeats"),
    # Of an item.
    "units_1d": ("{} ordered today", "1 ordered today"),
    "units_3d": ("{} ordered in 3 days", "1 ordered in 3 days"),
    "units_7d": ("{} ordered in 7 days", "1 ordered in 7 days"),
    "units_14d": ("{} ordered in 14 days", "1 ordered in 14 days"),
    "units_28d": ("{} ordered in 28 days", "1 ordered in 28 days"),
    "units_56d": ("{} ordered in 56 days", "1 ordered in 56 days"),
    "lines_7d": ("{} orders in 7 days", "1 order in 7 days"),
    "lines_28d": ("{} orders in 28 days", "1 order in 28 days"),
    "units_std_28d": ("a day's demand varies by {:.1}", "a day's demand varies by 1"),
    "units_max_28d": ("up to {} ordered in a day", "at most 1 ordered in a day"),
    "days_with_demand_28d": ("ordered on {} of 28 days", "ordered on 1 of 28 days"),
    "days_since_demand": ("{} days since the last order", "1 day since the last order"),
    "days_on_sale": ("on sale for {} days", "on sale since yesterday"),
    "weekday_sin": ("the day of the week", "the day of the week"),
    "weekday_cos": ("the day of the week", "the day of the week"),
    "demand": ("the demand of the item", "the demand of the item"),
    # Of an item's next hours.
    "opening_hour": ("the hour of the day", "the hour of the day"),
    "weekday": ("the day of the week", "the day of the week"),
    "sold_1h": ("{:.1} sold in the last hour", "1 sold in the last hour"),
    "sold_2h": ("{:.1} sold in 2 hours", "1 sold in 2 hours"),
    "sold_3h": ("{:.1} sold in 3 hours", "1 sold in 3 hours"),
    "sold_6h": ("{:.1} sold in 6 hours", "1 sold in 6 hours"),
    "sold_today": ("{:.1} sold today", "1 sold today"),
    "sold_since_restock": ("{:.1} sold since it was restocked", "1 sold since it was restocked"),
    "sold_late_yesterday": ("{:.1} sold yesterday evening", "1 sold yesterday evening"),
    "usual_day": ("usually {:.1} a day", "usually 1 a day"),
    "level_last": ("ran out after {:.1} last time", "ran out after 1 last time"),
    "level_before": ("ran out after {:.1} the times before", "ran out after 1 the times before"),
    "hours_since_sale": ("{} hours since the last sale", "1 hour since the last sale"),
    "hours_since_restock": ("{} hours since it was restocked", "1 hour since it was restocked"),
    "hours_since_run_out": ("{} hours since it ran out", "1 hour since it ran out"),
    "sold_of_level_last": ("{:%} sold of what there was last time", "all sold of what there was last time"),
    "sold_of_level_before": ("{:%} sold of what there was before", "all sold of what there was before"),
    "usual_so_far": ("usually {:.1} by this hour", "usually 1 by this hour"),
    "usual_next_1h": ("usually {:.1} in the next hour", "usually 1 in the next hour"),
    "usual_next_2h": ("usually {:.1} in the next 2 hours", "usually 1 in the next 2 hours"),
    "usual_next_4h": ("usually {:.1} in the next 4 hours", "usually 1 in the next 4 hours"),
    "usual_rest": ("usually {:.1} until closing time", "usually 1 until closing time"),
    "pace_today": ("sells {:.1} times as usual today", "sells as usual today"),
    "region_shops": ("{} shops of the region have it", "1 shop of the region has it"),
    "region_out_share": ("{:%} of the region's shops are out of it", "all shops of the region are out of it"),
    "region_out_share_1h": ("{:%} of the region's shops were out of it an hour ago", "all were out of it an hour ago"),
    "region_out_share_3h": ("{:%} of the region's shops were out of it 3 hours ago", "all were out of it 3 hours ago"),
    "region_out_share_24h": ("{:%} of the region's shops were out of it a day ago", "all were out of it a day ago"),
    "region_out_more_than_usual": (
        "shops of the region that are out of it, against usual",
        "all shops of the region are out of it, against usual",
    ),
    "region_out_usually_1h_later": ("shops that usually run out in an hour", "shops that usually run out in an hour"),
    "region_out_usually_2h_later": ("shops that usually run out in 2 hours", "shops that usually run out in 2 hours"),
    "region_out_usually_4h_later": ("shops that usually run out in 4 hours", "shops that usually run out in 4 hours"),
    "region_runs_out_1h": ("{:%} of the region's shops usually run out in an hour", "all usually run out in an hour"),
    "region_runs_out_4h": ("{:%} of the region's shops usually run out in 4 hours", "all usually run out in 4 hours"),
    "region_pace_1h": ("the region sold {:.1} times as usual an hour ago", "the region sold as usual an hour ago"),
    "region_pace_3h": ("the region sold {:.1} times as usual lately", "the region sold as usual lately"),
    "region_pace_today": ("the region sells {:.1} times as usual today", "the region sells as usual today"),
    "region_sold_by_now": ("{:%} of a day is usually sold by now", "all of a day is usually sold by now"),
    "region_sold_1h_later": ("{:%} of a day is usually sold in an hour", "all of a day is usually sold in an hour"),
    "region_sold_2h_later": ("{:%} of a day is usually sold in 2 hours", "all of a day is usually sold in 2 hours"),
    "region_sold_4h_later": ("{:%} of a day is usually sold in 4 hours", "all of a day is usually sold in 4 hours"),
    # Of an offer.
    "customer": ("{} orders so far", "1 order so far"),
    "offer": ("the offer itself", "the offer itself"),
    "bought_before": ("bought this {} times", "bought this once"),
}
_UNKNOWN = {
    "product_gap_days": "no usual gap known yet",
    "product_due": "no usual gap known yet",
    "customer_gap_days": "first order, no usual gap yet",
    "customer_due": "first order, no usual gap yet",
    "level_last": "never ran out",
    "level_before": "never ran out before",
    "hours_since_run_out": "never ran out",
}
_VERBS = {"bought ": "bought", "viewed ": "looked at"}


def because(reasons: Sequence[Reason], most: int = 3) -> str:
    """Reasons in words, the strongest first; what speaks against the score is told after "though".

    Args:
        reasons: of a score, as it is published.
        most: how many are told.

    >>> gap, since = Reason("product_gap_days", 12.0, 0.4), Reason("product_days_since", 14.2, 0.9)
    >>> because([since, gap, Reason("customer_orders", 1.0, -0.2)])
    '14 days since last, usual gap 12 days, though 1 order so far'
    """
    told: dict[str, bool] = {}
    for reason in reasons:
        if reason.contribution != 0 and len(told) < most:
            told.setdefault(_said(reason), reason.contribution > 0)
    parts = [[text for text, for_it in told.items() if for_it == wanted] for wanted in (True, False)]
    return ", though ".join(", ".join(part) for part in parts if part)


def sentence(value: bytes) -> str:
    """A published score or alert as a line: who, what, how likely, and why. Any other record stays as it is.

    Args:
        value: the record's JSON.
    """
    try:
        record = msgspec.json.decode(value, type=ReorderScores | NextBestOffers | StockoutScore | SupplyAlert)
    except msgspec.DecodeError:
        return value.decode(errors="replace")
    if isinstance(record, ReorderScores):
        told = [f"{p.p_30d:.0%} buys {p.name or p.sku} within 30 days" for p in record.products[:1]]
        who, reasons = f"customer {record.customer_id}", record.reasons
    elif isinstance(record, NextBestOffers):
        told = [f"show {o.title}, {o.p_response:.1%} takes it" for o in record.offers[:1]]
        who, reasons = f"customer {record.customer_id}", record.reasons
    else:
        who, reasons = f"{record.location}:{record.sku}", record.reasons
        status = f"{record.status}: " if isinstance(record, SupplyAlert) else ""
        told = [f"{status}{record.name or record.sku} {_risk(record)}, order {record.suggested_order_quantity:,.0f}"]
        if isinstance(record, StockoutScore) and record.next_hours is not None:
            soon = record.next_hours
            why = because(soon.reasons)
            told.append(f"{soon.p_out_4h:.0%} out within 4 hours" + (f" ({why})" if why else ""))
    if record.fallback is not None:
        told.append(f"fallback {record.fallback}")
    why = because(reasons)
    return f"{who}: " + ", ".join(told or ["nothing"]) + (f" ({why})" if why else "")


def _risk(record: StockoutScore | SupplyAlert) -> str:
    """Whether the shelf runs out, and whether it does although an order is placed now."""
    if record.p_stockout is None:
        return "risk unknown"
    late = f"{record.p_stockout:.0%} for an order now to come too late"
    if record.p_empty is None:
        return late
    return f"{'out of stock' if record.on_hand == 0 else f'{record.p_empty:.0%} runs out'}, {late}"


def _said(reason: Reason) -> str:
    value = reason.value
    for verb, told in _VERBS.items():
        if reason.feature.startswith(verb):
            what = reason.feature.removeprefix(verb)
            return f"{told} {what}" + ("" if value is None else f" {_days(value)}")
    if value is None:
        return _UNKNOWN.get(reason.feature, f"{_plain(reason.feature)} unknown")
    if reason.feature not in _SAID:
        return f"{_plain(reason.feature)} {_number(value)}"
    many, one = _SAID[reason.feature]
    if "{:%}" in many:
        return one if value >= 1 else many.replace("{:%}", f"{value:.0%}")
    if "{:.1}" in many:
        return one if round(value, 1) == 1 else many.replace("{:.1}", f"{value:.1f}")
    return one if _number(value) == "1" else many.replace("{}", _number(value))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1 or value == 0 else f"{value:.2g}"


def _days(value: float) -> str:
    """
    >>> _days(0.4), _days(1.2), _days(9.0)
    ('today', 'yesterday', '9 days ago')
    """
    days = int(value)
    return "today" if days < 1 else "yesterday" if days == 1 else f"{days} days ago"


def _plain(feature: str) -> str:
    return feature.replace("_", " ")
