"""What a Faust application must be like."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

import stream.faust_start
from stream.errors import UsageError
from stream.faust_start import check_app, check_copartitioned


def conf(**other: Any) -> Any:
    fitting = {
        "consumer_auto_offset_reset": "earliest",
        "table_standby_replicas": 1,
        "processing_guarantee": "at_least_once",
    }
    return SimpleNamespace(**fitting | other)


def test_an_app_with_fausts_defaults_will_do() -> None:
    check_app(conf(), has_tables=False)


def test_tables_bring_fausts_own_assignor_with_them() -> None:
    check_app(conf(table_standby_replicas=0), has_tables=True)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("consumer_auto_offset_reset", "latest"), ("table_standby_replicas", 0), ("processing_guarantee", "exactly_once")],
)
def test_a_setting_that_loses_events_is_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{setting}="):
        check_app(conf(**{setting: value}), has_tables=False)


def test_a_client_that_cannot_read_lz4_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.faust_start, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="cramjam"):
        check_app(conf(), has_tables=False)


def test_topics_of_one_entity_must_be_assigned_together() -> None:
    together = [("orders", 0), ("clicks", 0), ("demand", 1), ("inventory", 1), ("demand", 2), ("inventory", 2)]
    check_copartitioned([])
    check_copartitioned(together)
    with pytest.raises(UsageError, match=r"demand and inventory apart .* one item must meet"):
        check_copartitioned(together[:-1])


def test_the_partitions_are_told() -> None:
    with pytest.raises(UsageError) as refused:
        check_copartitioned([("orders", 0), ("clicks", 1)])
    assert json.dumps({"orders": [0], "clicks": [1]}).replace('"', "'") in str(refused.value)
