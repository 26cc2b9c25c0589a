"""Released models give what they gave when they were released. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.vectors import contract
from models.manifest import graph_of, read_manifest
from models.session import Session

ARTIFACTS = Path(__file__).parents[2] / "models" / "artifacts"
RELEASED = sorted(path.parent for path in ARTIFACTS.glob("*/*/manifest.json"))
#: Inputs that are not a row each, by task.
SHARED = {
    "reorder": frozenset({"words", "place", "age_days"}),
    "stockout": frozenset({"service_level"}),
    "next_best_offer": frozenset({"words", "offer_words", "offer_numbers", "offer_sold", "offer_product"}),
}


@pytest.mark.parametrize("directory", RELEASED, ids=lambda path: f"{path.parent.name}-{path.name}")
class TestReleased:
    def test_golden_rows_reproduce(self, directory: Path) -> None:
        manifest = read_manifest(directory)
        with np.load(directory / "golden.npz") as file:
            golden = {name: file[name] for name in file.files}
        session = Session(directory / "model.onnx")
        inputs = {name: golden[f"in.{name}"] for name in graph_of(manifest.task, session.inputs)[0]}
        rows = len(inputs["features"])
        outputs = session.run(inputs, rows, SHARED[manifest.task])
        for name, value in outputs.items():
            np.testing.assert_allclose(value, golden[f"out.{name}"], rtol=1e-4, atol=1e-5, err_msg=name)

    def test_a_row_scores_the_same_among_any_number_of_others(self, directory: Path) -> None:
        """To the bit, where its place among the sixteen of a step is the same; else but for rounding."""
        manifest = read_manifest(directory)
        session, random = Session(directory / "model.onnx"), np.random.default_rng(3)
        with np.load(directory / "golden.npz") as file:
            golden = {name: file[f"in.{name}"] for name in graph_of(manifest.task, session.inputs)[0]}
        shared = SHARED[manifest.task]
        picked = random.integers(0, len(golden["features"]), 700)
        rows = {name: a if name in shared else a[picked] for name, a in golden.items()}
        rows["features"] = rows["features"] * random.random(rows["features"].shape, np.float32)
        whole = session.run(rows, 700, shared)
        for begin, end in ((0, 1), (16, 40), (240, 270), (512, 700), (3, 10)):
            part = {name: a if name in shared else a[begin:end] for name, a in rows.items()}
            tolerance = 0.0 if begin % 16 == 0 else 1e-5
            for name, value in session.run(part, end - begin, shared).items():
                np.testing.assert_allclose(value, whole[name][begin:end], tolerance, tolerance, err_msg=name)

    def test_fits_its_features(self, directory: Path) -> None:
        manifest = read_manifest(directory)
        agreed = contract(manifest.vector, {head.input for head in manifest.heads})
        heads = {head.input: tuple(head.features) for head in manifest.heads}
        assert {name: heads[name] for name in agreed.heads} == agreed.heads
        assert manifest.features == list(agreed.features)
        assert manifest.reads == agreed.reads

    def test_is_small(self, directory: Path) -> None:
        assert (directory / "model.onnx").stat().st_size < 3_000_000


def test_all_three_are_released() -> None:
    assert {path.parent.name for path in RELEASED} >= {"reorder", "stockout", "next-best-offer"}
