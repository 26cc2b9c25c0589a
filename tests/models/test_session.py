from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.manifest import ManifestError
from models.session import Session, padded_size
from tests.models.tiny import REORDER, SCALING, written


def test_it_knows_its_inputs_outputs_and_width(tmp_path: Path) -> None:
    session = Session(written(tmp_path))
    assert session.inputs == ["features"]
    assert session.outputs == ["probability", "contributions", "rank"]
    assert session.width == 2


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 17, 300, 5000])
def test_padding_changes_no_score(tmp_path: Path, rows: int) -> None:
    features = np.random.default_rng(1).normal(size=(rows, 2)).astype(np.float32)
    before = features.copy()
    found = Session(written(tmp_path)).run({"features": features}, rows)
    assert list(found) == ["probability", "contributions", "rank"]
    expected = features @ np.array([[1, 2, 3], [10, 20, 30]], np.float32)
    np.testing.assert_allclose(found["probability"], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["contributions"], features * 2)
    np.testing.assert_array_equal(features, before)


def test_a_row_scores_the_same_alone_and_among_others(tmp_path: Path) -> None:
    session = Session(written(tmp_path))
    features = np.random.default_rng(2).normal(size=(300, 2)).astype(np.float32)
    together = session.run({"features": features}, 300)["probability"]
    alone = [session.run({"features": features[i : i + 1]}, 1)["probability"][0] for i in range(300)]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_shared_inputs_are_not_padded(tmp_path: Path) -> None:
    session = Session(written(tmp_path, SCALING))
    feeds = {"x": np.ones((3, 2), np.float32), "scale": np.array([7], np.float32)}
    found = session.run(feeds, 3, shared=frozenset({"scale"}))
    assert found["scaled"].tolist() == [[7, 7]] * 3


def watched(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows the graph is asked at once, call by call; it is given the features alone."""
    seen: list[int] = []
    inner = session._session

    class Watched:
        def run(self, names: list[str], feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
            seen.append(len(feeds["features"]))
            outputs: list[NDArray[Any]] = inner.run(names, {"features": feeds["features"]})
            return outputs

    monkeypatch.setattr(session, "_session", Watched())
    return seen


@pytest.mark.parametrize("rows", [0, 1, 17, 4096, 4097, 9600])
def test_the_graph_sees_few_shapes_and_none_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    session = Session(written(tmp_path))
    seen = watched(session, monkeypatch)
    session.run({"features": np.ones((rows, 2), np.float32)}, rows)
    assert all(size % 16 == 0 and size <= 4096 for size in seen)
    assert 0 <= sum(seen) - max(rows, 1) < 16, "all rows, and less than a step of padding"


@pytest.mark.parametrize(("shared", "sizes"), [(1, [4096, 4096, 1408]), (1600, [6400, 3200]), (4800, [9600])])
def test_what_all_rows_share_is_not_worked_through_for_every_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: int, sizes: list[int]
) -> None:
    session = Session(written(tmp_path))
    seen = watched(session, monkeypatch)
    features = np.random.default_rng(4).normal(size=(9600, 2)).astype(np.float32)
    found = session.run({"features": features, "words": np.zeros((shared, 8))}, 9600, frozenset({"words"}))
    assert seen == sizes
    np.testing.assert_array_equal(found["contributions"], features * 2)


def test_sizes_are_close_to_each_other() -> None:
    assert [padded_size(n) for n in (0, 1, 16, 17, 256)] == [16, 16, 16, 32, 256]


@pytest.mark.parametrize("graph", [b"", b"no onnx at all", REORDER[:100], REORDER.replace(b"MatMul", b"NatMul")])
def test_a_file_that_cannot_be_run_says_so(tmp_path: Path, graph: bytes) -> None:
    path = written(tmp_path, graph)
    with pytest.raises(ManifestError, match=rf"(?s)^{path} cannot be loaded: .+; convert and release the model again$"):
        Session(path)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"model\.onnx cannot be loaded: .*doesn't exist"):
        Session(tmp_path / "model.onnx")


def test_what_the_graph_does_not_take_is_passed_over(tmp_path: Path) -> None:
    features = np.ones((3, 2), np.float32)
    session = Session(written(tmp_path))
    more = session.run({"features": features, "hours": np.zeros((3, 7), np.float32)}, rows=3)
    assert (more["probability"] == session.run({"features": features}, rows=3)["probability"]).all()
