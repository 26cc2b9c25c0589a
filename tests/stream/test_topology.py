from __future__ import annotations

import pytest

from features.discovery import discover
from features.vectors import contract, views_read
from stream import topology
from stream.score import SCORERS
from stream.topology import CONSUMED, PUBLISHED, REFERENCE, TOPICS, partitions_of

VECTORS = {"reorder": "reorder", "stockout": "stockout", "next-best-offer": "next_best_offer"}
#: Which topics each row stream comes from.
STREAM_TOPIC = {
    "orders": "orders",
    "order_lines": "orders",
    "clicks": "clicks",
    "demand": "demand",
    "inventory": "inventory",
}


def test_every_topic_is_consumed_read_whole_or_published() -> None:
    parts = [*CONSUMED, *REFERENCE, *PUBLISHED]
    assert list(TOPICS.values()) == parts
    assert len(TOPICS) == len(parts)
    named = {t.name for t in vars(topology).values() if isinstance(t, topology.Topic)}
    assert named == TOPICS.keys(), "a topic that is declared is in the topology"


def test_copartitioned_topics_are_keyed_alike() -> None:
    keys = {(t.copartition, t.key) for t in CONSUMED}
    assert keys == {("customer", "customer_id"), ("item", "location:sku")}


@pytest.mark.parametrize("model", SCORERS)
def test_a_model_is_scored_when_any_view_that_it_reads_may_have_changed(model: str) -> None:
    """Except reorder, which reads orders only; a click changes what offer to show, but not what is bought again."""
    views = views_read(list(contract(VECTORS[model]).reads), SCORERS[model].entity)
    fed_by = {STREAM_TOPIC[discover()[view].stream] for view in views}
    assert {t.name for t in CONSUMED if model in t.models} == fed_by


def test_every_model_has_a_scorer_that_publishes_to_its_topic() -> None:
    assert {m for t in CONSUMED for m in t.models} == SCORERS.keys()
    for scorer in SCORERS.values():
        assert scorer.topic in PUBLISHED
        assert scorer.topic.key == ("customer_id" if scorer.entity == "customer" else "location:sku")


def test_reference_topics_have_one_partition_and_are_compacted() -> None:
    for topic in TOPICS.values():
        assert partitions_of(topic, 8) == (1 if topic in REFERENCE else 8)
    assert all(t.compacted for t in REFERENCE)
