"""The dashboard: what a person wants to see while events flow, drawn from what the observer read."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Literal

import msgspec
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stream.demo.observer import Observer
from stream.events import NextBestOffers, ReorderScores, SupplyAlert
from stream.topology import NEXT_BEST_OFFERS, REORDER_SCORES
from stream.words import because

_ALERT = msgspec.json.Decoder(SupplyAlert)
_REORDER = msgspec.json.Decoder(ReorderScores)
_OFFERS = msgspec.json.Decoder(NextBestOffers)
_CUSTOMERS = 4
_COLOURS = {"raised": "yellow", "escalated": "red", "resolved": "green"}
#: Columns of alerts; the product gets the room that the others leave.
_TEXTS, _PRODUCT = ("when", "status"), "product"
_NUMBERS = ("risk", "empty", "on hand", "cover", "order now")


class Rates:
    """Rates over the last few seconds, from growing counts.

    >>> rates = Rates(window_s=10)
    >>> _ = rates.update(0.0, {"a": 0}); rates.update(2.0, {"a": 10})
    {'a': 5.0}
    """

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._samples: list[tuple[float, dict[str, int]]] = []

    def update(self, now: float, counts: dict[str, int]) -> dict[str, float]:
        """Adds a sample; gives the rates by name."""
        self._samples.append((now, dict(counts)))
        while len(self._samples) > 2 and self._samples[0][0] < now - self._window_s:
            self._samples.pop(0)
        then, before = self._samples[0]
        elapsed = now - then
        return {n: (c - before.get(n, 0)) / elapsed if elapsed > 0 else 0.0 for n, c in counts.items()}


class Dashboard:
    """Draws the observer's picture.

    Args:
        observer: what is known.
        note: one line on what is replayed.
    """

    def __init__(self, observer: Observer, note: str) -> None:
        self._observer, self._note = observer, note
        self._rates = Rates()
        self._shown: list[bytes] = []

    def render(self) -> RenderableType:
        """The whole picture."""
        return Group(self._head(), self._alerts(), self._customers())

    def _head(self) -> RenderableType:
        o = self._observer
        counts = {"events": sum(o.counts[t] for t in ("orders", "clicks", "inventory")), **o.scores}
        rates = self._rates.update(time.monotonic(), counts)
        latency = o.percentiles(last=5_000)
        when = datetime.fromtimestamp(o.event_time_ms / 1000, UTC).strftime("%a %d %b %Y %H:%M")
        line = Text.assemble(("event time ", "dim"), (when if o.event_time_ms else "waiting…", "bold cyan"))
        line.append(f"   events/s {rates['events']:,.0f}   produce→score ms ", "dim")
        line.append(f"p50 {latency['p50'] or '–'}  p99 {latency['p99'] or '–'}", "bold")
        line.append(f"   late {o.late}   dead letters {o.counts['dead-letters']}", "dim")
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("model", "version", "scores/s", "scores", "entities"):
            table.add_column(title, justify="left" if title in ("model", "version") else "right")
        for model, version in sorted(o.models):
            table.add_row(
                Text(model),
                Text(version),
                f"{rates.get(model, 0):,.0f}",
                f"{o.scores[model]:,}",
                f"{len(o.entities[model]):,}",
            )
        topics = ("orders", "clicks", "inventory", "demand")
        told = "   ".join(f"{t}{'' if t in ('orders', 'demand') else ' (simulated)'} {o.counts[t]:,}" for t in topics)
        return Panel(Group(line, Text(told, "dim"), table), title="Tidecast", subtitle=self._note)

    def _alerts(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
        for title in (*_TEXTS, _PRODUCT, *_NUMBERS):
            justify: Literal["left", "right"] = "right" if title in _NUMBERS else "left"
            table.add_column(title, no_wrap=True, justify=justify, ratio=1 if title == _PRODUCT else None)
        for blob in reversed(self._observer.alerts):
            a = _ALERT.decode(blob)
            when = datetime.fromtimestamp(a.as_of_ms / 1000, UTC).strftime("%d %b %H:%M")
            cover = "–" if a.days_of_cover is None else f"{a.days_of_cover:.1f} d"
            table.add_row(
                when,
                Text(a.status, _COLOURS[a.status]),
                Text(a.name or a.sku),
                f"{a.p_stockout:.0%}",
                "–" if a.p_empty is None else f"{a.p_empty:.0%}",
                f"{a.on_hand or 0:,.0f}",
                cover,
                f"{a.suggested_order_quantity:,.0f}",
            )
        return Panel(table, title="Supply alerts (demand is real, stock levels are simulated)", title_align="left")

    def _customers(self) -> RenderableType:
        reorders, offers = (self._observer.newest[t.name] for t in (REORDER_SCORES, NEXT_BEST_OFFERS))
        if len(self._shown) < _CUSTOMERS:
            self._shown += [k for k in reorders if k in offers and k not in self._shown][
                : _CUSTOMERS - len(self._shown)
            ]
        table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
        for title in ("customer", "will buy again within 30 days", "because", "sees the offer (simulated)"):
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        for key in self._shown:
            score, offer = _REORDER.decode(reorders[key]), _OFFERS.decode(offers[key])
            first = score.products[0] if score.products else None
            why = because(first.reasons, most=2) if first else ""
            best = offer.offers[0] if offer.offers else None
            table.add_row(
                Text(score.customer_id),
                Text(f"{first.p_30d:.0%}  {first.name or first.sku}" if first else "–"),
                Text((why or "–") if score.fallback is None else score.fallback),
                Text(f"{best.title}  ({best.p_response:.0%})" if best else "–"),
            )
        return Panel(table, title="Customers", title_align="left")
