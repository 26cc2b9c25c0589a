"""A rollout with real processes: two versions of a worker in one group, and partitions that go back and forth."""

from __future__ import annotations

from pathlib import Path

from features.client import FeatureClient
from stream.embedded import wait_for
from stream.eventlog import read_records
from tests.brokers import Broker
from tests.support import Shop, differing, folded_from_log, tables_from_log

#: The next version of a shipped view: a column is renamed, one is new, and the others stand elsewhere in the record.
NEXT = """
from dataclasses import replace

from features.aggregations import Count
from features.rows import ClickKind
from features.views.customer_clicks import VIEW as OLD

CARTS = next(a for a in OLD.aggregations if a.name == "carts")
VIEW = replace(
    OLD,
    aggregations=(
        Count("searches", "searches", (ClickKind.SEARCH,)),
        *(a for a in reversed(OLD.aggregations) if a is not CARTS),
        replace(CARTS, name="put_into_cart", was=("carts",)),
    ),
    derived=(),
)
"""


def test_two_versions_share_the_work_and_end_as_one_would(kafka: Broker, events: Path, tmp_path: Path) -> None:
    views = tmp_path / "views"
    views.mkdir()
    (views / "customer_clicks.py").write_text(NEXT)
    with Shop(tmp_path, broker=kafka) as shop:
        shop.environment["TIDECAST_WORKER__BATCH_MAX_RECORDS"] = "40"
        records = [(r.topic, r.key, r.value) for r in read_records(events)]
        quarter = len(records) // 4
        old = shop.start_worker()
        shop.produce(records[:quarter])
        shop.wait_until_done()
        newer = shop.start_worker(TIDECAST_VIEWS=str(views))
        wait_for(lambda: "owns" in (tmp_path / "worker-1.log").read_text(), 60, "a share for the next version")
        shop.produce(records[quarter : 2 * quarter])
        shop.wait_until_done()
        assert shop.stop_worker(newer) == 0, shop.logs()  # rolled back: the older version takes its partitions over
        shop.produce(records[2 * quarter : 3 * quarter])
        shop.wait_until_done()
        shop.start_worker(TIDECAST_VIEWS=str(views))
        wait_for(lambda: "owns" in (tmp_path / "worker-2.log").read_text(), 60, "a share for the next version")
        assert shop.stop_worker(old) == 0, shop.logs()
        shop.produce(records[3 * quarter :])
        shop.wait_until_done()
        found, expected = shop.features(), folded_from_log(events)
        # Views that both versions keep alike are equal bit for bit; of the other, the columns that both have.
        clicks = found.pop("customer_clicks"), expected.pop("customer_clicks")
        assert differing(found, expected) == {}
        assert clicks[0].keys() == clicks[1].keys()
        _same_columns(shop, sorted(clicks[0]), events)
        assert "are taken over: kept" in shop.logs()
        assert shop.stop_worker(shop.workers[-1]) == 0, shop.logs()


def _same_columns(shop: Shop, customers: list[str], events: Path) -> None:
    """Read by the shipped version, whoever wrote last, against the log folded by it."""
    table = tables_from_log(events)["customer"]
    client = FeatureClient(store=shop.store())
    slots = table.slots_of(customers)
    at = table.records["customer_clicks"]["event_time_ms"][slots]
    columns = table.read("customer_clicks", slots, at)
    for i, customer in enumerate(customers):
        view = client.get("customer", customer, views=["customer_clicks"], as_of_ms=int(at[i])).views["customer_clicks"]
        assert view.values is not None
        for name, value in view.values.items():
            assert value == columns[name][i] or (value != value and columns[name][i] != columns[name][i]), name
