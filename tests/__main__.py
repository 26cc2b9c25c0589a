"""Every test, with coverage: what `make test` runs.

    python -m tests                  all: those of folders that keep to one core run beside the others
    python -m tests -k alerts        any arguments of pytest's: one run, of those tests

Exit code: that of pytest; 1 where less is covered than pyproject.toml demands; 2 where the disk has too little room.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

#: They keep to one core, and need no Kafka, which each half would fetch and start for itself. Beside the others they
#: take hardly any time of their own.
BESIDE = ("tests/export", "tests/docs", "tests/features", "tests/models", "tests/protocol")
_PYTEST = (sys.executable, "-m", "pytest", "--cov")
_INTERRUPTED = 130
_CRAMPED = 2
#: More than twice what a run was seen to take: brokers' segments, stores, models that are made and released.
_ROOM_BYTES = 1 << 30


def main(arguments: list[str]) -> int:
    """Runs them; gives the exit code."""
    if arguments:
        return subprocess.call([*_PYTEST, "--cov-report=term", *arguments])
    if told := _cramped():
        print(told, file=sys.stderr)
        return _CRAMPED
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        first, second = (_place(Path(scratch) / half) for half in ("others", "beside"))
        with (second / "said.txt").open("wb") as out:
            beside = subprocess.Popen(_half(second, BESIDE), env=_env(second), stdout=out, stderr=subprocess.STDOUT)
        try:
            codes = [subprocess.call(_half(first, [f"--ignore={folder}" for folder in BESIDE]), env=_env(first))]
            if beside.poll() is None:
                print(f"\nwaiting for {', '.join(BESIDE)} …", flush=True)
            codes.append(beside.wait())
        except KeyboardInterrupt:
            beside.wait()
            return _INTERRUPTED
        print((second / "said.txt").read_text(encoding="utf-8", errors="replace"), flush=True)
        coverage = [sys.executable, "-m", "coverage"]
        files = [str(half / ".coverage") for half in (first, second) if (half / ".coverage").exists()]
        subprocess.run([*coverage, "combine", "--quiet", *files], check=False)
        worst = next((code for code in codes if code), 0) or subprocess.call([*coverage, "report"])
        print(f"both halves: {_counted(first, second)} in {time.monotonic() - begun:.0f} s", flush=True)
        return worst


def _cramped() -> str:
    """Which disk is too full, or nothing: on a full one tests fail in a hundred places, and none of them says so."""
    for place in (tempfile.gettempdir(), "."):
        free = shutil.disk_usage(place).free
        if free < _ROOM_BYTES:
            return f"{free >> 20:,} MiB are free at {Path(place).resolve()}: the tests need {_ROOM_BYTES >> 20:,} MiB"
    return ""


def _place(half: Path) -> Path:
    half.mkdir()
    return half


def _half(place: Path, arguments: Sequence[str]) -> list[str]:
    return [*_PYTEST, "--cov-report=", "--cov-fail-under=0", f"--junitxml={place / 'junit.xml'}", *arguments]


def _env(place: Path) -> dict[str, str]:
    """Each half has a file of its own: pytest-cov takes whatever lies beside it for its own."""
    return os.environ | {"COVERAGE_FILE": str(place / ".coverage")}


def _counted(*places: Path) -> str:
    """What became of all tests, in pytest's words; a half that ended without a report is said to have."""
    suites: list[ElementTree.Element] = []
    unreported = 0
    for place in places:
        try:
            suites += ElementTree.parse(place / "junit.xml").iter("testsuite")
        except (OSError, ElementTree.ParseError):
            unreported += 1
    counts = {what: sum(int(suite.get(what, 0)) for suite in suites) for what in ("failures", "errors", "skipped")}
    passed = sum(int(suite.get("tests", 0)) for suite in suites) - sum(counts.values())
    told = {"passed": passed, "failed": counts["failures"], "errors": counts["errors"], "skipped": counts["skipped"]}
    lost = f", {unreported} without a report" if unreported else ""
    return ", ".join(f"{count} {what}" for what, count in told.items() if count or what == "passed") + lost


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
