from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from models.manifest import (
    TASKS,
    Fallback,
    Manifest,
    ManifestError,
    Metric,
    Popular,
    read_manifest,
    sha256_of,
    write_manifest,
)
from tests.models.tiny import REORDER, manifest, released, written


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    metric = Metric(name="AUC", value=0.75, baselines={"popularity": 0.5}, ci95=(0.7, 0.8))
    whole = manifest(metrics=[metric], calibration={"ece": 0.01}, fallback=Fallback(popular=[Popular("A", 0.5)]))
    written(tmp_path)
    write_manifest(tmp_path, whole)
    assert read_manifest(tmp_path) == whole


def test_it_is_written_for_people(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    text = (tmp_path / "manifest.json").read_text()
    assert text.startswith('{\n  "name": "reorder",\n')
    assert text.endswith("}\n")


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    assert sha256_of(written(tmp_path)) == hashlib.sha256(REORDER).hexdigest()


@pytest.mark.parametrize("file", ["manifest.json", "model.onnx"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    directory = released(tmp_path)
    (directory / file).unlink()
    with pytest.raises(ManifestError, match=f"^{directory}: {file} is missing; release the model again$"):
        read_manifest(directory)


def test_another_model_file_is_refused_with_both_hashes(tmp_path: Path) -> None:
    directory = released(tmp_path)
    (directory / "model.onnx").write_bytes(REORDER + b"\0")
    found, expected = (hashlib.sha256(b).hexdigest()[:12] for b in (REORDER + b"\0", REORDER))
    with pytest.raises(
        ManifestError, match=rf"model.onnx is not the file .*sha256 {found}…, expected {expected}….*release"
    ):
        read_manifest(directory)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda raw: raw[:-20], "truncated"),
        (lambda raw: raw.replace(b'"reorder"', b'"\xff"', 1), "utf-8"),
        (lambda raw: raw.replace(b'"version": "1.0"', b'"version": "one"'), r"matching regex.*\$\.version"),
        (lambda raw: raw.replace(b'"task": "reorder"', b'"task": "churn"'), r"Invalid enum value 'churn'.*\$\.task"),
        (lambda raw: raw.replace(b'"name": "reorder"', b'"name": ""'), r"length >= 1.*\$\.name"),
        (lambda raw: raw.replace(b'"rows": 1', b'"rows": "many"', 1), r"Expected `int`.*\$\.training\.rows"),
        (lambda raw: raw.replace(b'"vector"', b'"vektor"'), "missing required field `vector`"),
    ],
)
def test_a_broken_manifest_says_what_is_wrong_and_what_to_do(tmp_path: Path, spoil: object, problem: str) -> None:
    assert callable(spoil)
    directory = released(tmp_path)
    path = directory / "manifest.json"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ManifestError, match=rf"(?s)^{path}: .*{problem}.*; release the model again$"):
        read_manifest(directory)


def test_each_task_that_a_manifest_may_name_has_a_graph_contract() -> None:
    (task,) = (f for f in msgspec.structs.fields(Manifest) if f.name == "task")
    assert set(task.type.__args__) == set(TASKS)
