"""The demonstration, as a person runs it: ends by itself, counts right, leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl

from stream.embedded import wait_for

ORDERS = 120


def _demo(cwd: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "stream.cli", "demo", "--headless", *arguments]
    with (cwd / "demo.log").open("wb") as log:
        return subprocess.Popen(command, cwd=cwd, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def _children(cwd: Path) -> list[int]:
    """Processes whose working directory is the demo's: its worker, broker and store are among them (Linux only)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve() == cwd.resolve() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_the_summary_counts_what_is_in_the_input(tmp_path: Path) -> None:
    demo = _demo(tmp_path, "--orders", str(ORDERS), "--speed", "0", "--json", "summary.json")
    assert demo.wait(150) == 0, (tmp_path / "demo.log").read_text()
    summary = json.loads((tmp_path / "summary.json").read_text())
    events = tmp_path / ".tidecast" / "demo" / f"online-retail-{ORDERS}-seed7"
    orders = pl.read_parquet(events / "orders.parquet")
    assert orders.filter(pl.col("type") == "order_placed").height == ORDERS
    for topic, n in summary["events_in"].items():
        assert n == pl.read_parquet(events / f"{topic}.parquet").height, topic
    assert summary["published"]["demand"] == orders["lines"].list.len().sum()
    customers = orders["customer_id"].drop_nulls().n_unique()
    assert summary["scored_entities"]["reorder"] == customers
    assert summary["published"]["reorder-scores"] >= customers
    assert summary["dead_letters"] == 0
    assert summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]
    assert summary["wall_s"] > 0
    assert summary["events_per_s"] > 0
    assert {m["name"] for m in summary["models"]} == {"reorder", "stockout", "next-best-offer"}
    assert _children(tmp_path) == []


def test_an_interrupt_stops_it_cleanly(tmp_path: Path) -> None:
    demo = _demo(tmp_path, "--orders", "3000")
    wait_for(lambda: "first score" in (tmp_path / "demo.log").read_text(), 90, "the first score")
    assert len(_children(tmp_path)) > 1
    demo.send_signal(signal.SIGINT)
    assert demo.wait(30) == 0, (tmp_path / "demo.log").read_text()
    wait_for(lambda: _children(tmp_path) == [], 10, "the end of all its processes")


def test_a_killed_demo_leaves_no_service_running(tmp_path: Path) -> None:
    demo = _demo(tmp_path, "--orders", "3000")
    wait_for(lambda: "first score" in (tmp_path / "demo.log").read_text(), 90, "the first score")
    demo.kill()
    demo.wait()
    wait_for(lambda: _children(tmp_path) == [], 40, "the end of all its processes")
