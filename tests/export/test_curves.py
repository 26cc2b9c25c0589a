"""Curves and plots: bins as the calibration error has them, and pictures that are not empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.curves import curve_of
from export.evaluations.weighted import calibration
from export.plots import draw


def chances(n: int = 5000) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], ...]:
    rng = np.random.default_rng(5)
    p = rng.beta(1, 4, n)
    return (rng.random(n) < p * 0.8).astype(np.float64), p


def test_the_calibration_error_is_the_gap_of_the_bins() -> None:
    label, p = chances()
    curve = curve_of("again", label, p)
    error = sum(abs(b.chance - b.rate) * b.rows for b in curve.bins) / len(p)
    assert error == pytest.approx(calibration(label, p)(np.ones(len(p)))["ECE"])
    assert sum(b.rows for b in curve.bins) == len(p)


def test_lift_is_the_share_among_the_top() -> None:
    label, p = chances()
    curve = curve_of("again", label, p)
    top = np.argsort(-p, kind="stable")[: len(p) // 10]
    assert curve.lift[1] == pytest.approx(label[top].sum() / label.sum(), abs=1e-6)
    assert curve.lift == sorted(curve.lift)
    assert curve.lift[-1] == 1.0


def test_nothing_true_lifts_nothing() -> None:
    assert set(curve_of("never", np.zeros(10), np.full(10, 0.1)).lift) == {0.0}


def test_plots_are_drawn(tmp_path: Path) -> None:
    curve = curve_of("again", *chances())
    files = draw([curve] * 4, tmp_path)
    assert [f.name for f in files] == ["reliability.png", "lift.png"]
    assert all(f.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and f.stat().st_size > 8000 for f in files)
    assert draw([], tmp_path / "none") == []
