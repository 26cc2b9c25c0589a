"""Released models give what they gave when they were released. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.vectors import contract
from models.manifest import TASKS, read_manifest
from models.session import Session

ARTIFACTS = Path(__file__).parents[2] / "models" / "artifacts"
RELEASED = sorted(path.parent for path in ARTIFACTS.glob("*/*/manifest.json"))
SHARED = {"service_level", "offer_words", "offer_numbers"}


@pytest.mark.parametrize("directory", RELEASED, ids=lambda path: f"{path.parent.name}-{path.name}")
class TestReleased:
    def test_golden_rows_reproduce(self, directory: Path) -> None:
        manifest = read_manifest(directory)
        with np.load(directory / "golden.npz") as file:
            golden = {name: file[name] for name in file.files}
        inputs = {name: golden[f"in.{name}"] for name in TASKS[manifest.task][0]}
        rows = len(inputs["features"])
        outputs = Session(directory / "model.onnx").run(inputs, rows, frozenset(SHARED & inputs.keys()))
        for name, value in outputs.items():
            np.testing.assert_allclose(value, golden[f"out.{name}"], rtol=1e-4, atol=1e-5, err_msg=name)

    def test_fits_its_features(self, directory: Path) -> None:
        manifest = read_manifest(directory)
        agreed = contract(manifest.vector)
        assert manifest.features == list(agreed.features)
        assert manifest.reads == agreed.reads

    def test_is_small(self, directory: Path) -> None:
        assert (directory / "model.onnx").stat().st_size < 3_000_000


def test_all_three_are_released() -> None:
    assert {path.parent.name for path in RELEASED} >= {"reorder", "stockout", "next-best-offer"}
