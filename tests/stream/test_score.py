from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from features.store import MemoryStore
from models.manifest import versions
from models.registry import SHIPPED
from stream.errors import UsageError
from stream.events import NextBestOffers, ReorderScores, SourceOffset, StockoutScore, SupplyAlert
from stream.results import Results
from stream.score import load_models
from stream.settings import ModelSettings
from tests.stream.build import (
    DAY_MS,
    T0,
    Engine,
    Message,
    RecordingSink,
    click,
    demand,
    fed,
    line,
    message,
    metric,
    order,
    stock,
)


@pytest.fixture
def engine() -> Engine:
    engine = Engine(MemoryStore(), RecordingSink())
    engine.assign({(t, 0): 0 for t in ("orders", "clicks", "demand", "inventory")})
    return engine


def score(engine: Engine, *records: Message) -> Results:
    batch = engine.commit._decoder.decode(records, T0 + 10**9)
    assert batch.dead_letters == []
    results = Results()
    alerting = engine.scoring.alerting(batch, engine.ownership, engine.state, results)
    assert alerting is not None
    folded = engine.state.fold(batch, engine.ownership, alerting.passed)
    return engine.scoring.score(batch, folded, engine.ownership, engine.state, results)


def test_each_touched_entity_is_scored_once_by_the_models_of_its_topics(engine: Engine) -> None:
    results = score(
        engine,
        message("orders", "7", order("7"), 0),
        message("clicks", "7", click("7"), 0),
        message("clicks", "8", click("8"), 1),
        message("orders", "7", order("7"), 1),
        message("demand", "w:A", demand("A"), 0),
        message("inventory", "w:A", stock("stock_counted", quantity=20), 0),
    )
    assert [(t, k) for t, k, *_ in results.published] == [
        ("reorder-scores", "7"),
        ("stockout-scores", "w:A"),
        ("next-best-offers", "7"),
        ("next-best-offers", "8"),
    ]
    assert [(m, k) for m, k, _ in results.latest] == [
        ("reorder", "7"),
        ("stockout", "w:A"),
        ("next-best-offer", "7"),
        ("next-best-offer", "8"),
    ]
    kinds = [type(record) for _, _, record, *_ in results.published]
    assert kinds == [ReorderScores, StockoutScore, NextBestOffers, NextBestOffers]
    assert metric(engine.metrics, "tidecast_scores_total", model="next-best-offer") == 2


def test_scores_are_of_the_state_after_the_whole_batch(engine: Engine) -> None:
    results = score(
        engine,
        message("orders", "7", order("7", [line("A")], at=T0), 0),
        message("orders", "7", order("7", [line("B")], at=T0 + 5), 1),
    )
    record = results.published[0][2]
    assert record.as_of_ms == T0 + 5
    assert {p.sku for p in record.products} == {"A", "B"}


def test_scores_name_the_newest_record_of_each_topic(engine: Engine) -> None:
    results = score(
        engine,
        message("orders", "7", order("7", [line("A"), line("B")]), 4),
        message("clicks", "7", click("7"), 8),
        message("clicks", "7", click("7"), 9),
    )
    reorder, offers = (record for _, _, record, *_ in results.published)
    assert reorder.source == [SourceOffset("orders", 0, 4)]
    assert offers.source == [SourceOffset("orders", 0, 4), SourceOffset("clicks", 0, 9)]


def test_what_is_published_already_is_kept_but_not_published_again(engine: Engine) -> None:
    """Events in [R, K): the store has lost them."""
    engine.ownership.owned["clicks", 0].published_to = 5
    results = score(
        engine,
        message("clicks", "7", click("7"), 4),
        message("clicks", "8", click("8"), 5),
    )
    assert [(t, k) for t, k, *_ in results.published] == [("next-best-offers", "8")]
    assert [k for _, k, _ in results.latest] == ["7", "8"]


def test_one_unpublished_topic_is_enough_to_publish(engine: Engine) -> None:
    engine.ownership.owned["clicks", 0].published_to = 5
    results = score(engine, message("clicks", "7", click("7"), 4), message("orders", "7", order("7"), 0))
    assert [t for t, *_ in results.published] == ["reorder-scores", "next-best-offers"]


def test_guests_are_not_scored(engine: Engine) -> None:
    results = score(engine, message("orders", None, order(None)))
    assert results == Results()
    assert all(fed(scorer.model) == [] for scorer in engine.scoring.scorers.values())


COUNT = stock("stock_counted", quantity=2)


def test_alerts_follow_scores_and_are_kept(engine: Engine) -> None:
    results = score(engine, message("inventory", "w:A", COUNT))
    topic, key, alert, *_ = results.published[1]
    assert (topic, key) == ("supply-alerts", "w:A")
    assert isinstance(alert, SupplyAlert)
    assert (alert.status, alert.severity, alert.sequence) == ("raised", "critical", 1)
    assert results.alerts["w:A"].sequence == 1
    assert engine.state.alert("w:A") == results.alerts["w:A"]
    again = score(engine, message("inventory", "w:A", COUNT, 1))
    assert [t for t, *_ in again.published] == ["stockout-scores"], "nothing has changed"
    assert again.alerts == {}


def test_an_alert_is_looked_at_after_every_event_of_its_item(engine: Engine) -> None:
    """However the events are cut into micro-batches: what was raised and resolved in between is told."""
    events = [
        message("inventory", "w:A", COUNT, 0),
        message("inventory", "w:B", stock("stock_counted", sku="B", quantity=20), 1),
        message("inventory", "w:A", stock("stock_received", quantity=50, at=T0 + 1), 2),
        message("inventory", "w:A", stock("stock_adjusted", quantity=-51, at=T0 + 2), 3),
        message("demand", "w:A", demand("A", at=T0 + DAY_MS), 0),
    ]
    told = {}
    for cut in (1, 2, 3, 5):
        fresh = Engine(MemoryStore(), RecordingSink())
        fresh.assign({(t, 0): 0 for t in ("orders", "clicks", "demand", "inventory")})
        parts = [score(fresh, *events[at : at + cut]) for at in range(0, len(events), cut)]
        alerts = [o.record for part in parts for o in part.published if o.topic == "supply-alerts"]
        told[cut] = [(a.status, a.severity, a.sequence, a.source, a.as_of_ms) for a in alerts]
    assert [status for status, *_ in told[1]] == ["raised", "resolved", "raised"]
    assert all(alerts == told[1] for alerts in told.values())


def test_the_severity_at_the_end_does_not_depend_on_how_topics_came_in_between(engine: Engine) -> None:
    """A risk between the thresholds: the day before decides, as the item's own features tell it."""
    inventory = [
        message("inventory", "w:A", stock("stock_counted", quantity=4), 0),
        message("inventory", "w:A", stock("stock_received", quantity=2, at=T0 + DAY_MS), 1),
    ]
    sold = [message("demand", "w:A", demand("A", at=T0 + n * DAY_MS, source=(0, n, 0)), n) for n in range(3)]
    orders = ((*inventory, *sold), (*sold, *inventory), (inventory[0], sold[2], sold[0], inventory[1], sold[1]))
    ends = set()
    for events in orders:
        fresh = Engine(MemoryStore(), RecordingSink())
        fresh.assign({(t, 0): 0 for t in ("orders", "clicks", "demand", "inventory")})
        for n, event in enumerate(events):
            score(fresh, replace(event, at=(event.at[0], 0, n)))
        ends.add(fresh.state.alert("w:A").severity)
    assert len(ends) == 1


def test_what_is_published_says_where_it_comes_from(engine: Engine) -> None:
    trace = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("other", b"x"))
    records = [
        message("orders", "7", order("7", [line("A")]), 4),
        replace(message("orders", "7", order("7", [line("B")], at=T0 + 5), 6), h=trace),
        message("clicks", "8", click("8"), 9),
    ]
    headers = {(o.topic, o.key): dict(o.headers) for o in score(engine, *records).published}
    assert headers["reorder-scores", "7"] == {
        "tidecast-id": b"reorder:7:orders:0:6",
        "tidecast-source": b"orders:0:4-6",
        "tidecast-event-time-ms": str(T0 + 5).encode(),
        "traceparent": trace[0][1],
    }
    assert headers["next-best-offers", "8"]["tidecast-source"] == b"clicks:0:9-9"
    assert "traceparent" not in headers["next-best-offers", "8"]


def test_an_alert_that_was_published_is_kept_and_not_published_again(engine: Engine) -> None:
    engine.ownership.owned["inventory", 0].published_to = 1
    results = score(engine, message("inventory", "w:A", COUNT))
    assert results.published == []
    assert results.alerts["w:A"].sequence == 1


def test_an_alert_that_is_in_the_state_but_maybe_not_on_its_topic_is_stated_again(engine: Engine) -> None:
    """Events in [K, R): a worker was killed between the write to the store and the acknowledgement."""
    first = score(engine, message("inventory", "w:A", COUNT))
    engine.ownership.owned["inventory", 0].folded_to = [1]
    own = score(engine, message("inventory", "w:A", COUNT))
    assert [t for t, *_ in own.published] == ["stockout-scores"], "what this worker has done itself is not in doubt"
    engine.ownership.owned["inventory", 0].found = [1]
    again = score(engine, message("inventory", "w:A", COUNT))
    assert [t for t, *_ in again.published] == ["stockout-scores", "supply-alerts"]
    assert again.published[1][2] == first.published[1][2], "an upsert with the same sequence number"
    assert again.alerts == {}
    twice = score(engine, message("inventory", "w:A", COUNT))
    assert [t for t, *_ in twice.published] == ["stockout-scores"], "once is enough"


def test_an_alert_is_stated_again_only_with_the_record_of_its_change(engine: Engine) -> None:
    """Else it would be committed with an offset that does not say so, and stated again by the next owner."""
    first = score(engine, message("inventory", "w:A", COUNT, 0))
    assert first.alerts["w:A"].at == SourceOffset("inventory", 0, 0)
    score(engine, message("demand", "w:A", demand("A"), 0))
    for topic in ("inventory", "demand"):
        owned = engine.ownership.owned[topic, 0]
        owned.folded_to, owned.found = [1], [1]
    other = score(engine, message("demand", "w:A", demand("A"), 0))
    assert [t for t, *_ in other.published] == ["stockout-scores"]
    own = score(engine, message("inventory", "w:A", COUNT, 0))
    assert [t for t, *_ in own.published] == ["stockout-scores", "supply-alerts"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("features", lambda f: ["gone", *f[1:]], r"does not fit its features: it needs \['gone'\], which are gone; "),
        (
            "reads",
            lambda v: {**v, "customer_orders.orders": "0" * 16},
            r"\['customer_orders.orders'\] have changed in the feature views",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused(tmp_path: Path, name: str, change: object, message: str) -> None:
    newest = SHIPPED / "reorder" / versions(SHIPPED, "reorder")[-1]
    copy = tmp_path / "reorder" / newest.name
    copy.mkdir(parents=True)
    (copy / "model.onnx").write_bytes((newest / "model.onnx").read_bytes())
    manifest = json.loads((newest / "manifest.json").read_text())
    assert callable(change)
    manifest[name] = change(manifest[name])
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=f"model reorder .*{message}.*see `tidecast models list`"):
        load_models(ModelSettings(directory=tmp_path))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no model 'reorder' in .*; there are none \(see `tidecast models"):
        load_models(ModelSettings(directory=tmp_path))


def test_a_registry_of_one_model_leaves_the_others_to_the_shipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newest = SHIPPED / "reorder" / versions(SHIPPED, "reorder")[-1]
    (tmp_path / "reorder").mkdir()
    (tmp_path / "reorder" / newest.name).symlink_to(newest)

    models = load_models(ModelSettings(directory=tmp_path))

    assert {name: model.directory.parents[1] for name, model in models.items()} == {
        "reorder": tmp_path,
        "stockout": SHIPPED,
        "next-best-offer": SHIPPED,
    }
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"{tmp_path} has no model {name!r}, it has ['reorder']: the shipped one scores"
        for name in ("stockout", "next-best-offer")
    ]


def test_a_variant_is_taken_of_the_models_that_have_it() -> None:
    usual, households = load_models(ModelSettings()), load_models(ModelSettings(variant="households"))
    assert households.keys() == usual.keys()
    assert "Complete Journey" in households["reorder"].manifest.training.data
    assert "Online Retail" in usual["reorder"].manifest.training.data
    assert households["reorder"].manifest.version.endswith("+households")
    for name in households.keys() - {"reorder"}:
        assert households[name].directory == usual[name].directory


def test_a_pinned_version_goes_before_a_variant() -> None:
    usual = load_models(ModelSettings())["reorder"].manifest.version
    pinned = ModelSettings(variant="households", versions={"reorder": usual})
    assert load_models(pinned)["reorder"].manifest.version == usual


def test_a_variant_that_no_model_has_is_named() -> None:
    with pytest.raises(UsageError, match=r"models.variant spain: no model in .* has it; there are \['households'\]"):
        load_models(ModelSettings(variant="spain"))


def test_a_pinned_version_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"model 'reorder' has no version '99\.0' in "):
        load_models(ModelSettings(versions={"reorder": "99.0"}))


def test_sequence_numbers_rise_though_the_store_has_lost_the_last_one(engine: Engine) -> None:
    """Life 1 has published all before K; life 2 folds it anew in fewer steps, and goes on beyond."""
    engine.ownership.owned["inventory", 0].published_to = 40
    engine.ownership.owned["demand", 0].published_to = 7
    score(engine, message("inventory", "w:A", COUNT, 39))
    assert engine.state.alert("w:A").sequence == 47, "at most K of both"
    plenty = stock("stock_counted", quantity=20, at=T0 + 1)
    ended = score(engine, message("inventory", "w:A", plenty, 40))
    assert ended.published[-1][2].sequence == 48
