from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.manifest import Head, ManifestError, all_versions, versions
from models.registry import check_features, load, names, variants
from tests.models.tiny import REORDER, SCALING, manifest, released

FEATURES = ["recency", "frequency"]
READS = {"customer_orders.orders": "00ff", "customer_repertoire.repertoire": "aa00"}


def test_a_loaded_model_scores(tmp_path: Path) -> None:
    directory = released(tmp_path)
    model = load(tmp_path, "reorder")
    assert (model.manifest.version, model.directory) == ("1.0", directory)
    found = model.session.run({"features": np.ones((1, 2), np.float32)}, rows=1)
    assert found["probability"].tolist() == [[11, 22, 33]]


def test_newer_versions_sort_later_by_number_and_the_newest_is_loaded(tmp_path: Path) -> None:
    for version in ("0.9", "0.10.1", "0.10", "2", "0.2"):
        released(tmp_path, version=version)
    assert versions(tmp_path, "reorder") == ["0.2", "0.9", "0.10", "0.10.1", "2"]
    assert load(tmp_path, "reorder").manifest.version == "2"
    assert load(tmp_path, "reorder", "0.10").manifest.version == "0.10"


def test_variants_are_taken_where_they_are_asked_for(tmp_path: Path) -> None:
    for version in ("1.0", "1.1+spain", "1.0+spain", "1.1+france", "0.9"):
        released(tmp_path, version=version)
    assert versions(tmp_path, "reorder") == ["0.9", "1.0"]
    assert versions(tmp_path, "reorder", "spain") == ["1.0+spain", "1.1+spain"]
    assert all_versions(tmp_path, "reorder") == ["0.9", "1.0", "1.0+spain", "1.1+france", "1.1+spain"]
    assert variants(tmp_path) == ["france", "spain"]
    assert load(tmp_path, "reorder").manifest.version == "1.0"
    assert load(tmp_path, "reorder", variant="spain").manifest.version == "1.1+spain"
    assert load(tmp_path, "reorder", variant="italy").manifest.version == "1.0"
    assert load(tmp_path, "reorder", "1.0+spain").manifest.version == "1.0+spain"


def test_a_model_with_variants_alone_says_so(tmp_path: Path) -> None:
    released(tmp_path, version="1.0+spain")
    with pytest.raises(ManifestError, match=r"'reorder' has only variants in .*, \['1.0\+spain'\]; name one"):
        load(tmp_path, "reorder")
    assert load(tmp_path, "reorder", variant="spain").manifest.version == "1.0+spain"


def test_only_releases_are_listed(tmp_path: Path) -> None:
    released(tmp_path, version="1.0")
    released(tmp_path, name="other", version="3")
    released(tmp_path, at="reorder/1.1.partial", version="1.1")
    (tmp_path / "reorder" / "2.0").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "README.md").write_text("not a model")
    assert names(tmp_path) == ["other", "reorder"]
    assert versions(tmp_path, "reorder") == ["1.0"]
    assert versions(tmp_path, "never made") == []


def test_an_unknown_model_is_told_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=rf"there is no model 'reorder' in {tmp_path}; there are none"):
        load(tmp_path, "reorder")
    released(tmp_path, name="other")
    with pytest.raises(ManifestError, match=r"there is no model 'reorder' in .*; there are \['other'\]"):
        load(tmp_path, "reorder")


def test_an_unknown_version_is_told_what_there_is(tmp_path: Path) -> None:
    released(tmp_path, version="1.0")
    released(tmp_path, version="1.1")
    with pytest.raises(ManifestError, match=r"model 'reorder' has no version '2.0' in .*; there are \['1.0', '1.1'\]"):
        load(tmp_path, "reorder", "2.0")


@pytest.mark.parametrize(("name", "version"), [("reorder", "1.1"), ("other", "1.0")])
def test_a_release_in_the_place_of_another_is_refused(tmp_path: Path, name: str, version: str) -> None:
    """Its scores would carry a version that is not the one that was asked for."""
    released(tmp_path, at="reorder/1.0", name=name, version=version)
    with pytest.raises(ManifestError, match=rf"reorder/1.0: its manifest is of model {name} {version}; move"):
        load(tmp_path, "reorder")


def test_a_graph_of_another_task_is_refused_with_its_columns(tmp_path: Path) -> None:
    released(tmp_path, SCALING)
    with pytest.raises(
        ManifestError,
        match=r"model reorder 1.0: its graph has the inputs \['scale', 'x'\], but the task 'reorder' has "
        r"\['age_days', 'customer', 'features', 'item', 'place', 'words'\]; convert it again",
    ):
        load(tmp_path, "reorder")


def test_a_graph_without_the_outputs_is_refused(tmp_path: Path) -> None:
    renamed = REORDER.replace(b"contributions", b"contributionz")
    released(tmp_path, renamed)
    with pytest.raises(
        ManifestError, match=r"has the outputs \['contributionz', 'probability', 'rank'\], but the task"
    ):
        load(tmp_path, "reorder")


def test_a_graph_of_another_width_is_refused(tmp_path: Path) -> None:
    released(tmp_path, features=["recency", "frequency", "money"])
    with pytest.raises(
        ManifestError,
        match=r"model reorder 1.0: its graph takes 2 features, but its manifest names 3: .*'money'.*again",
    ):
        load(tmp_path, "reorder")


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    directory = released(tmp_path, b"no onnx at all")
    with pytest.raises(
        ManifestError, match=rf"^{directory / 'model.onnx'} cannot be loaded: .*release the model again"
    ):
        load(tmp_path, "reorder")


def test_a_broken_manifest_is_refused(tmp_path: Path) -> None:
    directory = released(tmp_path)
    (directory / "model.onnx").unlink()
    with pytest.raises(ManifestError, match=r"model\.onnx is missing"):
        load(tmp_path, "reorder")


def test_a_model_that_fits_its_features_is_taken() -> None:
    check_features(manifest(), FEATURES, READS, {})
    check_features(manifest(), FEATURES, {**READS, "a_new_view.count": "1234", "customer_orders.new": "55"}, {})


@pytest.mark.parametrize(
    ("features", "problem"),
    [
        (["recency"], r"it needs \['frequency'\], which are gone; train and release it again"),
        ([*FEATURES, "money"], r"it does not know \['money'\]; train and release it again"),
        (["recency", "money"], r"it needs \['frequency'\], which are gone; it does not know \['money'\]; train"),
        (FEATURES[::-1], r"the columns are in another order; train and release it again"),
    ],
)
def test_other_features_are_refused_by_name(features: list[str], problem: str) -> None:
    with pytest.raises(ManifestError, match=f"^model reorder 1.0 does not fit its features: {problem}"):
        check_features(manifest(), features, READS, {})


def test_a_head_that_the_engine_feeds_must_fit_as_well() -> None:
    heads = [Head(input=name, output="out", features=["a", "b"], baseline=0.0) for name in ("shelf", "hours")]
    model = msgspec.structs.replace(manifest(), heads=heads)
    check_features(model, FEATURES, READS, {"shelf": ("a", "b")})  # no worker feeds the other
    with pytest.raises(
        ManifestError, match=r"does not fit its features: it needs \['b'\], which are gone; it does not"
    ):
        check_features(model, FEATURES, READS, {"shelf": ("a", "c")})


@pytest.mark.parametrize(
    "reads", [{"customer_orders.orders": "00ff"}, {**READS, "customer_repertoire.repertoire": "aa01"}]
)
def test_a_changed_or_missing_aggregation_is_refused_by_name(reads: dict[str, str]) -> None:
    with pytest.raises(
        ManifestError,
        match=r"model reorder 1.0 .*\['customer_repertoire.repertoire'\] have changed in the feature views since it ",
    ):
        check_features(manifest(), FEATURES, reads, {})
