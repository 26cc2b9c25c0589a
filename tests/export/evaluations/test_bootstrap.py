"""What is told of rows that do not define every figure, as a small segment of a small shop is."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from export.evaluations.bootstrap import beside, resamples
from export.evaluations.weighted import probabilities
from models.manifest import Metric

OWNER = np.arange(6)
CHANCE = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def told(label: list[int], only: str | None = None) -> list[Metric]:
    y = np.array(label)
    of = {"": probabilities(y, CHANCE), "never": probabilities(y, CHANCE * 0.1)}
    return beside(of, OWNER, resamples(6, 50, 1), "{} of six", "never", only)


def test_a_figure_that_the_rows_do_not_define_is_not_told() -> None:
    """A manifest has no place for it either: JSON knows no NaN."""
    found = told([0, 0, 0, 0, 0, 0])
    assert [m.name for m in found if "less" not in m.name] == ["log loss of six", "ECE of six"]
    for metric in found:
        assert msgspec.json.decode(msgspec.json.encode(metric), type=Metric) == metric


def test_each_figure_has_an_interval_and_a_paired_difference() -> None:
    found = {m.name: m for m in told([0, 0, 1, 0, 1, 1])}
    assert list(found) == [
        f"{name} of six{less}" for name in ("AUC", "AP", "log loss", "ECE") for less in ("", ", less never")
    ]
    gap = found["log loss of six, less never"]
    assert gap.value == pytest.approx(found["log loss of six"].value - found["log loss of six"].baselines["never"])
    assert all(m.ci95 is not None and m.ci95[0] <= m.value <= m.ci95[1] for m in found.values())


def test_one_figure_can_be_asked_for() -> None:
    assert [m.name for m in told([0, 0, 1, 0, 1, 1], "ECE")] == ["ECE of six", "ECE of six, less never"]
