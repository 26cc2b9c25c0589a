"""Pages about the views and aggregations, made from their declarations.

    python -m features.pages            # writes docs/features/
    python -m features.pages --check    # exit code 1 and the stale files, if any

What a page says of late rows is not told but tried: every aggregation is given a row that comes twenty years late.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import msgspec
import numpy as np

import features.aggregations as aggregations
from features.aggregations.base import DAY_MS, Aggregation
from features.derived import Derived, Difference, Ratio
from features.layout import StoredField, layout_of
from features.rows import STREAMS, ClickKind, InventoryKind, OrderKind
from features.view import REPARTITIONED, View

#: Row streams that are not called as their topic is.
_TOPICS = {
    "order_lines": "orders",
    "product_lines": "demand",
    "region_stock": "inventory",
    "product_stock": "inventory",
}
_KINDS = {
    "clicks": ClickKind,
    "inventory": InventoryKind,
    "region_stock": InventoryKind,
    "product_stock": InventoryKind,
}
_SIGNS = {Ratio: "/", Difference: "−"}


class AggregationFacts(msgspec.Struct, frozen=True):
    """What can be told of one aggregation of a view."""

    name: str
    kind: str
    doc: str
    parameters: dict[str, str]
    fields: list[StoredField]
    columns: dict[str, str]
    lists: dict[str, str]
    order_free: bool
    undone: str
    counts_late: bool


class ViewFacts(msgspec.Struct, frozen=True):
    """What can be told of a view."""

    name: str
    doc: str
    entity: str
    stream: str
    topic: str
    ttl_days: float
    stale_after_days: float
    packed_bytes: int
    layout: str
    order_free: bool
    columns: dict[str, str]
    derived: dict[str, str]
    lists: dict[str, str]
    aggregations: list[AggregationFacts]


def facts(view: View) -> ViewFacts:
    """Everything that a view's declaration says.

    >>> from features.discovery import discover
    >>> facts(discover()["item_demand"]).order_free
    True
    """
    layout = layout_of(view)
    return ViewFacts(
        name=view.name,
        doc=view.doc,
        entity=view.entity,
        stream=view.stream,
        topic=_TOPICS.get(view.stream, view.stream),
        ttl_days=view.ttl_days,
        stale_after_days=view.stale_after_ms / DAY_MS,
        packed_bytes=layout.itemsize,
        layout=layout.fingerprint,
        order_free=all(a.order_free for a in view.aggregations),
        columns=view.describe(),
        derived={derived.name: _formula(derived) for derived in view.derived},
        lists=view.describe_lists(),
        aggregations=[
            _aggregation(a, stored.fields, view.stream)
            for a, stored in zip(view.aggregations, layout.aggregations, strict=True)
        ],
    )


def _aggregation(part: Aggregation, stored: list[StoredField], stream: str) -> AggregationFacts:
    shown = [f.name for f in fields(part) if f.name not in ("name", "doc", "was")]
    return AggregationFacts(
        name=part.name,
        kind=type(part).__name__,
        doc=part.doc,
        parameters={name: _parameter(getattr(part, name), stream) for name in shown},
        fields=stored,
        columns=part.describe(),
        lists=part.describe_lists(),
        order_free=part.order_free,
        undone=part.undone,
        counts_late=_counts_late(part, stream),
    )


def _formula(derived: Derived) -> str:
    sign = _SIGNS.get(type(derived))
    return f"{derived.left} {sign} {derived.right}" if sign else f"{type(derived).__name__} of two columns"


def _parameter(value: object, stream: str) -> str:
    if isinstance(value, tuple):
        return ", ".join(_parameter(v, stream) for v in value) or "none"
    kinds = _KINDS.get(stream, OrderKind)
    return value.name.lower() if isinstance(value, kinds) else "none" if value is None else str(value)


def _counts_late(part: Aggregation, stream: str) -> bool:
    """Whether a row that comes twenty years after a newer one is counted as too late."""
    view = View("probe", stream, "a probe", (part,), ttl_days=1)
    state = view.raw(view.empty(1), part.name)
    columns = {name: np.full(1, 1000, dtype) for name, dtype in STREAMS[stream][1].items()}
    kind, slots = np.array([part.where[0]], np.int8), np.zeros(1, np.int64)
    late = 0
    for day in (20_000, 12_700):
        time_ms = np.array([day * DAY_MS], np.int64)
        late = part.update(state, slots, {**columns, "kind": kind, "event_time_ms": time_ms})
    return late > 0


def shipped() -> dict[str, View]:
    """The views of this package, whatever the environment names besides."""
    import features.views as package

    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    return {name: importlib.import_module(f"features.views.{name}").VIEW for name in names}


def pages(views: Mapping[str, View]) -> dict[str, str]:
    """A page a view and one that lists them.

    Returns:
        Content by file name; the same for the same declarations.
    """
    told = [facts(view) for view in views.values()]
    return {"README.md": _index(told), **{f"{view.name}.md": _page(view) for view in told}}


def _page(view: ViewFacts) -> str:
    order = "no" if not view.order_free else "yes: rows may arrive in any order"
    facts_of = {
        "entity": view.entity,
        "events": f"row stream `{view.stream}` of topic `{view.topic}`",
        "time to live": f"{view.ttl_days:g} days of event time" + _restart(view),
        "stale after": f"{view.stale_after_days:g} days",
        "packed record": f"{view.packed_bytes:,} bytes, layout `{view.layout}`",
        "order-free": order,
    }
    parts = [f"# {view.name}", _made(f"features/views/{view.name}.py"), view.doc]
    parts += [_table(("", ""), facts_of.items())]
    parts += ["## Columns", _table(("column", ""), _columns(view))]
    if view.lists:
        parts += ["## Sequence columns", _table(("column", ""), _coded(view.lists))]
    parts += ["## State", "The header: layout (u8), newest event time in ms (i8), version (u4), 20 bytes in all."]
    return "\n\n".join([*parts, *(_part(a) for a in view.aggregations)]) + "\n"


def _restart(view: ViewFacts) -> str:
    if view.stream in REPARTITIONED:
        return "; a record that is older reads as missing, and goes on with its next event"
    return "; a record that is older reads as missing, and begins anew with its next event"


def _columns(view: ViewFacts) -> list[tuple[str, str]]:
    formulas = {name: f" (`{formula}`)" for name, formula in view.derived.items()}
    return [(f"`{name}`", doc + formulas.get(name, "")) for name, doc in view.columns.items()]


def _part(part: AggregationFacts) -> str:
    parameters = "; ".join(f"`{name}` {value}" for name, value in part.parameters.items())
    order = (
        "Order-free: the state does not depend on the order in which rows arrive."
        if part.order_free
        else ("The state depends on the order in which rows arrive.")
    )
    late = (
        "A row that is too late to be taken in changes nothing and is counted as late."
        if part.counts_late
        else ("No row is too late to be taken in.")
    )
    rows = [
        (f"`{f.name}`", f"{f.dtype}" + (f" × {f.length}" if f.length > 1 else ""), f"{f.offset}") for f in part.fields
    ]
    return "\n\n".join(
        [
            f"### {part.name}: [{part.kind}](README.md#{part.kind.lower()})",
            f"{_sentence(part.doc)} {parameters}.",
            f"{order} {late} {part.undone}",
            _table(("field", "dtype", "offset"), rows),
        ]
    )


def _index(views: Sequence[ViewFacts]) -> str:
    rows = [
        (f"[{v.name}]({v.name}.md)", v.entity, f"`{v.topic}`", f"{v.ttl_days:g}", f"{v.packed_bytes:,}", v.doc)
        for v in views
    ]
    return (
        "\n\n".join(
            [
                "# Feature views",
                _made("features/views/"),
                "How to add one: [adding a view](../adding-a-view.md), [adding an aggregation]"
                "(../adding-an-aggregation.md). How to read them: [the feature client](../feature-client.md).",
                _table(("view", "entity", "topic", "TTL, days", "bytes", ""), rows),
                "## Aggregations",
                *(_kind(kind, views) for kind in _kinds()),
            ]
        )
        + "\n"
    )


def _kinds() -> list[type[Aggregation]]:
    """Every aggregation of the package, found by its file, in name order."""
    names = [f"{aggregations.__name__}.{info.name}" for info in pkgutil.iter_modules(aggregations.__path__)]
    members = [member for name in names for member in vars(importlib.import_module(name)).values()]
    kinds = {m for m in members if isinstance(m, type) and issubclass(m, Aggregation) and not inspect.isabstract(m)}
    return sorted(kinds, key=lambda kind: kind.__name__)


def _kind(kind: type[Aggregation], views: Sequence[ViewFacts]) -> str:
    name, source = kind.__name__, kind.__module__.replace(".", "/")
    using = [f"[{v.name}]({v.name}.md)" for v in views if any(a.kind == name for a in v.aggregations)]
    module = inspect.getdoc(sys.modules[kind.__module__]) or ""
    return "\n\n".join([f"### {name}", f"`{source}.py`. Used by {', '.join(using) or 'no shipped view'}.", module])


def _made(source: str) -> str:
    return f"*Made from `{source}` by `python -m features.pages`; not to be edited.*"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _coded(described: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(f"`{name}`", doc) for name, doc in described.items()]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *([c.replace("|", "\\|") for c in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def stale(docs: Path) -> dict[Path, str | None]:
    """Files that differ from what they should hold, with that; None for those that should not be there."""
    wanted = {docs / name: text for name, text in pages(shipped()).items()}
    gone: dict[Path, str | None] = dict.fromkeys(sorted(set(docs.glob("*.md")) - wanted.keys()))
    return gone | {p: t for p, t in wanted.items() if not p.is_file() or p.read_text(encoding="utf-8") != t}


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the pages, or checks that they are current.

    Returns:
        The exit code: 0, or 1 if `--check` found stale files.
    """
    parser = argparse.ArgumentParser("python -m features.pages", description="Write or check docs/features/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    parser.add_argument("--docs", type=Path, default=Path(__file__).parent.parent / "docs" / "features", help="folder")
    options = parser.parse_args(arguments)
    different = stale(options.docs)
    for path, text in different.items():
        if options.check:
            print(f"stale: {path}", file=sys.stderr)
        elif text is None:
            path.unlink()
            print(f"removed: {path}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"written: {path}")
    if options.check and different:
        print("these differ from the views: run `python -m features.pages` and commit them", file=sys.stderr)
    return 1 if options.check and different else 0


if __name__ == "__main__":
    sys.exit(main())
