"""Parity on a real replay: every vector that a real worker scored is recomputed, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from features.discovery import discover
from stream.eventlog import read_records
from tests.brokers import Broker
from tests.integration.test_pipeline import POISON
from tests.support import Shop


@pytest.fixture(scope="module")
def shop(kafka: Broker, events: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop after all events, poison and events delivered twice; a worker was killed in between."""
    with Shop(tmp_path_factory.mktemp("parity"), broker=kafka) as shop:
        shop.environment["TIDECAST_FEATURE_LOG__SHARE"] = "1"
        shop.environment["TIDECAST_WORKER__BATCH_MAX_RECORDS"] = "200"
        records = [(r.topic, r.key, r.value) for r in read_records(events)]
        again = [r for r in records if r[0] in ("orders", "clicks", "inventory")][50:90]
        poison = [(topic, key, value) for topic, key, value, _ in POISON]
        half = len(records) // 2
        shop.produce(records[:half])
        first = shop.start_worker()
        shop.wait_until_done()
        shop.produce([*again, *poison])
        first.kill()
        first.wait()
        shop.produce(records[half:])
        shop.start_worker()
        shop.wait_until_done()
        yield shop


def parity(shop: Shop, directory: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    report = directory / "parity.json"
    done = shop.command("parity", *arguments, "--json", str(report), timeout_s=120)
    assert report.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(report.read_bytes())


def test_what_is_on_the_topics_gives_what_was_scored(shop: Shop, tmp_path: Path) -> None:
    """With dead letters, duplicates and a killed worker."""
    code, report = parity(shop, tmp_path)
    assert report["examples"] == []
    assert (code, report["mismatch"], report["missing"], report["extra"]) == (0, 0, 0, 0)
    assert report["vectors"] == report["match"] > 3_000
    assert set(report["views"]) == set(discover()) - {"region_stock", "product_stock"}, "no model reads these"
    counted = [n for features in report["views"].values() for counts in features.values() for n in counts.items()]
    assert sum(n for outcome, n in counted if outcome != "match") == 0


def test_a_log_of_other_events_is_found_out(shop: Shop, tmp_path: Path) -> None:
    """The log lacks every tenth event: vectors differ, and the exit code says so."""
    vectors = tmp_path / "vectors.jsonl"
    vectors.write_bytes(b"\n".join(r.value() for r in shop.read("feature-log") if r.value() is not None))
    log = tmp_path / "log"
    log.mkdir()
    lines: dict[str, list[bytes]] = {"orders": [], "clicks": [], "inventory": []}
    for i, record in enumerate(r for topic in lines for r in shop.read(topic) if _is_json(r.value())):
        if i % 10:
            lines[record.topic()].append(record.value())
    for topic, some in lines.items():
        (log / f"{topic}.jsonl").write_bytes(b"\n".join(some) + b"\n")
    code, report = parity(shop, tmp_path, str(log), "--vectors", str(vectors), "--partitions", "3")
    assert code == 1
    assert report["mismatch"] > 0
    assert report["examples"]


def _is_json(value: bytes | None) -> bool:
    try:
        return isinstance(json.loads(value or b""), dict) and b"location" in (value or b"")
    except ValueError:
        return False


def test_from_nothing(tmp_path: Path) -> None:
    """As `make parity` does it; the events come from the event log, their offsets are counted."""
    report = tmp_path / "parity.json"
    command = [sys.executable, "-m", "stream.cli", "parity", "--replay", "--orders", "150", "--json", str(report)]
    done = subprocess.run(
        command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_bytes())
    assert list(found)[:6] == ["vectors", "match", "mismatch", "missing", "extra", "views"]
    assert (found["mismatch"], found["missing"], found["extra"]) == (0, 0, 0)
    assert found["vectors"] == found["match"] > 1_000
