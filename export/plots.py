"""Plots: the reliability diagram and the lift plot of a model card, as PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.curves import Curve

RELIABILITY, LIFT = "reliability.png", "lift.png"
_INCHES, _DPI, _A_ROW = 3.2, 100, 3


def draw(curves: Sequence[Curve], directory: Path) -> list[Path]:
    """Writes `reliability.png` and `lift.png`, a panel a curve; nothing where there are no curves.

    Returns:
        The files.
    """
    if not curves:
        return []
    return [
        _figure(curves, _reliability, directory / RELIABILITY),
        _figure(curves, _lift, directory / LIFT),
    ]


def _figure(curves: Sequence[Curve], panel: Callable[[Any, Curve], None], path: Path) -> Path:
    from matplotlib.figure import Figure  # without pyplot: no display, no state that lasts

    columns = min(len(curves), _A_ROW)
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(_INCHES * columns, _INCHES * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, curve in zip(axes, curves, strict=False):
        panel(axis, curve)
        axis.set_title(curve.name, fontsize=9)
    for axis in axes[len(curves) :]:
        axis.set_axis_off()
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    return path


def _reliability(axis: Any, curve: Curve) -> None:
    chance, rate, rows = (np.array([getattr(b, name) for b in curve.bins]) for name in ("chance", "rate", "rows"))
    # Equal axes that end where the rows do: most questions have chances far below one.
    top = min(1.0, 1.1 * float(max(chance.max(), rate.max())))
    spread = 1.96 * np.sqrt(rate * (1 - rate) / rows)
    axis.plot([0, top], [0, top], color="0.7", linewidth=1)
    axis.errorbar(chance, rate, yerr=spread, marker="o", markersize=4, linewidth=1, capsize=2)
    axis.set(xlim=(0, top), ylim=(0, top), xlabel="chance told", ylabel="came true")


def _lift(axis: Any, curve: Curve) -> None:
    share = np.linspace(0, 1, len(curve.lift) + 1)
    axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axis.plot(share, [0.0, *curve.lift], linewidth=1.5)
    axis.set(
        xlim=(0, 1), ylim=(0, 1), xlabel="share of rows, highest chance first", ylabel="share of all that came true"
    )
