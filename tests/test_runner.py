"""The run of all tests says what became of them even where it could not end."""

from __future__ import annotations

import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest

from tests import __main__ as runner

Usage = namedtuple("Usage", "total used free")


def test_a_disk_that_is_too_full_is_told_before_anything_is_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 1 << 40, 3 << 20))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("tests were started"))

    assert runner.main([]) == 2
    assert "3 MiB are free at " in capsys.readouterr().err


def test_a_half_that_ended_without_a_whole_report_is_counted_as_such(tmp_path: Path) -> None:
    whole, cut, none = (tmp_path / name for name in ("whole", "cut", "none"))
    for place in (whole, cut, none):
        place.mkdir()
    report = '<testsuites><testsuite tests="9" failures="1" errors="2" skipped="1"/></testsuites>'
    (whole / "junit.xml").write_text(report)
    (cut / "junit.xml").write_text("")

    assert runner._counted(whole) == "5 passed, 1 failed, 2 errors, 1 skipped"
    assert runner._counted(whole, cut, none) == "5 passed, 1 failed, 2 errors, 1 skipped, 2 without a report"
