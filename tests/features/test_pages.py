"""Pages are made from the declarations, say what the code does, and are told when they are stale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from features.aggregations import Aggregation, Count, Gap, Sum, Tiles
from features.aggregations.base import DAY_MS
from features.derived import Difference, Ratio
from features.discovery import VARIABLE, discover
from features.pages import facts, main, pages, shipped
from features.rows import InventoryKind, OrderKind
from features.view import View

PLACED = (OrderKind.PLACED,)
VIEW = View(
    "demo",
    "order_lines",
    "What a page | shows.",
    (
        Count("lines", "order lines", PLACED, minus=(OrderKind.CANCELLED, OrderKind.RETURNED)),
        Sum("units", "units", PLACED, value="quantity"),
        Gap("gap", "days between lines", PLACED),
    ),
    ttl_days=30.5,
    stale_after_days=7,
    derived=(Ratio("mean", "units a line", "units", "lines"), Difference("less", "the rest", "units", "lines")),
)


def test_a_page_has_every_fact_of_the_declaration() -> None:
    page = pages({"demo": VIEW})["demo.md"]
    assert page.startswith("# demo\n\n*Made from `features/views/demo.py` by `python -m features.pages`")
    assert "| entity | customer |" in page
    assert "| events | row stream `order_lines` of topic `orders` |" in page
    assert "| time to live | 30.5 days of event time; a record that is older reads as missing, and begins anew" in page
    assert "| stale after | 7 days |" in page
    assert f"| packed record | {VIEW.dtype.itemsize} bytes, layout `{VIEW.fingerprint:016x}` |" in page
    assert "| order-free | no |" in page
    for name, doc in VIEW.describe().items():
        assert f"| `{name}` | {doc}" in page
    assert "| `mean` | units a line (`units / lines`) |" in page
    assert "| `less` | the rest (`units − lines`) |" in page
    assert "`where` placed; `minus` cancelled, returned." in page
    offsets = VIEW.dtype.fields
    assert offsets is not None
    assert f"| `total` | i8 | {offsets['units.total'][1]} |" in page
    for part in VIEW.aggregations:
        assert part.undone in page


def test_the_index_links_every_view_and_every_aggregation() -> None:
    index = pages({"demo": VIEW})["README.md"]
    assert "| [demo](demo.md) | customer | `orders` | 30.5 |" in index
    assert "What a page \\| shows." in index
    assert "### Count\n\n`features/aggregations/count.py`. Used by [demo](demo.md)." in index
    assert "### Tiles\n\n`features/aggregations/tiles.py`. Used by no shipped view." in index
    assert "### Aggregation\n" not in index


@pytest.mark.parametrize(
    ("part", "late"),
    [
        (Count("n", "n", PLACED), False),
        (Tiles("n", "n", PLACED, windows=(1, 7), length=28), True),
        (Tiles("n", "n", PLACED, windows=(1,), length=10_000), False),
    ],
    ids=["count", "tiles", "tiles of 27 years"],
)
def test_late_rows_are_tried_not_told(part: Aggregation, late: bool) -> None:
    (told,) = facts(View("v", "demand", "v", (part,), ttl_days=1)).aggregations
    assert told.counts_late == late


def test_repartitioned_streams_do_not_begin_anew() -> None:
    view = View("v", "demand", "v", (Count("n", "n", PLACED),), ttl_days=1)
    assert "and goes on with its next event" in pages({"v": view})["v.md"]


def test_kinds_are_called_by_their_names() -> None:
    view = View("v", "inventory", "v", (Count("n", "n", (InventoryKind.RAN_OUT,)),), ttl_days=1)
    assert facts(view).aggregations[0].parameters == {"where": "ran_out", "minus": "none"}


def test_facts_of_every_view_cover_its_columns_and_its_bytes() -> None:
    for view in discover().values():
        told = facts(view)
        columns = [name for part in told.aggregations for name in part.columns]
        assert [*columns, *told.derived] == list(told.columns) == list(view.describe())
        assert [name for part in told.aggregations for name in part.lists] == list(view.describe_lists())
        assert told.stale_after_days * DAY_MS == view.stale_after_ms
        ends = [f.offset for part in told.aggregations for f in part.fields]
        assert max(ends) < told.packed_bytes == view.dtype.itemsize


def test_pages_are_written_once_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = tmp_path / "features"
    check = ["--check", "--docs", str(docs)]
    assert main(check) == 1
    assert "run `python -m features.pages` and commit them" in capsys.readouterr().err
    assert main(["--docs", str(docs)]) == 0
    assert {path.stem for path in docs.glob("*.md")} == {"README", *shipped()}
    assert main(check) == 0
    capsys.readouterr()
    page = docs / f"{min(shipped())}.md"
    page.write_text(page.read_text() + "\n")
    (docs / "no_more.md").write_text("")
    assert main(check) == 1
    told = capsys.readouterr().err
    assert f"stale: {page}" in told
    assert f"stale: {docs / 'no_more.md'}" in told
    assert main(["--docs", str(docs)]) == 0
    assert not (docs / "no_more.md").exists()
    assert main(check) == 0


def test_views_of_other_folders_have_no_shipped_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit(1)")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    discover.cache_clear()
    try:
        assert "mine" not in shipped()
    finally:
        monkeypatch.undo()
        discover.cache_clear()


def test_another_sentence_makes_another_page() -> None:
    reworded = replace(VIEW, doc="Other words.")
    assert pages({"demo": VIEW})["demo.md"] != pages({"demo": reworded})["demo.md"]
    assert pages({"demo": VIEW}) == pages({"demo": VIEW})
