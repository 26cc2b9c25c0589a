from __future__ import annotations

from pathlib import Path

import pytest

from stream.errors import UsageError
from stream.settings import Loaded, load

ENV = {"TIDECAST_KAFKA__GROUP_ID": "from-env", "TIDECAST_WORKER__COMMIT_INTERVAL_MS": "700"}
SEE = "see `tidecast config show`"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file of the checkout is read by chance."""
    monkeypatch.chdir(tmp_path)


def toml(tmp_path: Path, text: str, name: str = "shop.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


FILE = """
[kafka]
group_id = "from-file"
bootstrap_servers = "file:9092"
[worker]
commit_interval_ms = 800
[store]
namespace = "shop"
"""


def test_defaults_have_no_origin() -> None:
    loaded = load(environ={})
    assert loaded.origins == {}
    assert loaded.settings.kafka.bootstrap_servers == "localhost:9092"
    assert loaded.settings.worker.delivery == "auto"


def test_flags_go_before_environment_before_file_before_defaults(tmp_path: Path) -> None:
    path = toml(tmp_path, FILE)
    loaded = load(["worker.commit_interval_ms=600"], path, ENV)
    settings = loaded.settings
    assert settings.worker.commit_interval_ms == 600
    assert settings.kafka.group_id == "from-env"
    assert settings.kafka.bootstrap_servers == "file:9092"
    assert settings.store.namespace == "shop"
    assert settings.store.buckets == 1
    assert loaded.origins == {
        "worker.commit_interval_ms": "flag",
        "kafka.group_id": "environment",
        "kafka.bootstrap_servers": f"file {path}",
        "store.namespace": f"file {path}",
    }


def test_the_file_of_the_directory_is_read_by_itself(tmp_path: Path) -> None:
    toml(tmp_path, FILE, "tidecast.toml")
    loaded = load(environ={})
    assert (loaded.settings.kafka.group_id, loaded.origins["kafka.group_id"]) == ("from-file", "file tidecast.toml")


def test_the_environment_names_a_file_and_the_flag_goes_before_it(tmp_path: Path) -> None:
    toml(tmp_path, FILE, "tidecast.toml")
    named = toml(tmp_path, '[kafka]\ngroup_id = "named"', "named.toml")
    flagged = toml(tmp_path, '[kafka]\ngroup_id = "flagged"', "flagged.toml")
    env = {"TIDECAST_CONFIG": str(named)}
    assert load(environ=env).settings.kafka.group_id == "named"
    assert load(config=flagged, environ=env).settings.kafka.group_id == "flagged"


def test_the_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDECAST_STORE__NAMESPACE", "mine")
    assert load().settings.store.namespace == "mine"


@pytest.mark.parametrize(
    "loaded",
    [
        lambda: load(["kafka.extra.security.protocol=SSL", "kafka.extra.debug=all"], environ={}),
        lambda: load(environ={"TIDECAST_KAFKA__EXTRA": '{"security.protocol": "SSL", "debug": "all"}'}),
        lambda: load(["kafka.extra.debug=all"], environ={"TIDECAST_KAFKA__EXTRA": '{"security.protocol": "SSL"}'}),
    ],
)
def test_tables_are_merged_by_name(loaded: object) -> None:
    """A flag for one librdkafka property does not drop the security settings of the file."""
    assert callable(loaded)
    found = loaded()
    assert isinstance(found, Loaded)
    assert found.settings.kafka.extra == {"security.protocol": "SSL", "debug": "all"}


def test_a_flag_replaces_one_name_of_a_table_of_the_file(tmp_path: Path) -> None:
    path = toml(tmp_path, '[kafka.extra]\n"security.protocol" = "SSL"\ndebug = "none"')
    assert load(["kafka.extra.debug=all"], path, {}).settings.kafka.extra == {
        "security.protocol": "SSL",
        "debug": "all",
    }


def test_models_can_be_pinned() -> None:
    loaded = load(["models.versions.reorder=1.2", "models.directory=/srv/models"], environ={})
    assert loaded.settings.models.versions == {"reorder": "1.2"}
    assert loaded.settings.models.directory == Path("/srv/models")


@pytest.mark.parametrize(
    ("flags", "env", "message"),
    [
        (["kafka"], {}, "--set 'kafka': write section.name=value, such as worker.commit_interval_ms=500"),
        (["kafka.=1"], {}, "--set 'kafka.=1': write section.name=value"),
        (["=1"], {}, "--set '=1': write section.name=value"),
        (["group_id=x"], {}, "--set 'group_id=x': write section.name=value"),
        (["nope.x=1"], {}, "setting nope (from flag): there is no such setting"),
        (["kafka.nope=1"], {}, "setting kafka.nope (from flag): there is no such setting; got '1'"),
        ([], {"TIDECAST_KAFKA__NOPE": "1"}, "setting kafka.nope (from environment): there is no such setting; got '1'"),
        ([], {"TIDECAST_NOPE__X": "1"}, "environment variable TIDECAST_NOPE__X names no settings section; " + SEE),
        (
            ["worker.batch_max_records=0"],
            {},
            "setting worker.batch_max_records (from flag): Input should be greater than or equal to 1; got '0'",
        ),
        (
            [],
            {"TIDECAST_STORE__BUCKETS": "many"},
            "setting store.buckets (from environment): Input should be a valid integer",
        ),
        (["store.namespace=a:b"], {}, "setting store.namespace (from flag): String should match pattern"),
        (
            ["worker.delivery=twice"],
            {},
            "setting worker.delivery (from flag): Input should be 'auto', 'exactly_once' or",
        ),
        (["kafka.extra=x"], {}, "setting kafka.extra (from flag): Input should be a valid dictionary"),
        (
            ["kafka.extra=x", "kafka.extra.y=z"],
            {},
            "--set 'kafka.extra.y=z': kafka.extra is also set as a whole; write one or the other",
        ),
        ([], {"TIDECAST_KAFKA__EXTRA": "{"}, 'environment: error parsing value for field "kafka"; write it as JSON'),
        ([], {"TIDECAST_KAFKA": "x"}, 'environment: error parsing value for field "kafka"; write it as JSON'),
        ([], {"TIDECAST_KAFKA": "3"}, "environment: 'kafka' is no section; settings are written section.name"),
    ],
)
def test_what_is_wrong_is_said_with_where_it_came_from(flags: list[str], env: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        load(flags, environ=env)
    assert message in str(error.value)


def test_every_wrong_setting_is_told_at_once() -> None:
    with pytest.raises(UsageError) as error:
        load(["worker.batch_max_records=0", "models.reasons=99"], environ={})
    lines = str(error.value).splitlines()
    assert [line.split(" ")[1] for line in lines[:2]] == ["worker.batch_max_records", "models.reasons"]
    assert lines[2] == "see `tidecast config show` for all settings and their values"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[kafka\n", "is not valid TOML: "),
        ("group_id = 1", "'group_id' is no section; settings are written section.name"),
        ("[nope]\nx = 1", "setting nope (from file "),
        ("[kafka]\ngroup_id = 5", "Input should be a valid string; got 5"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(UsageError) as error:
        load(config=path, environ={})
    assert message in str(error.value)
    assert f"file {path}" in str(error.value)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"settings file .*gone\.toml cannot be read: No such file or directory"):
        load(config=tmp_path / "gone.toml", environ={})
    with pytest.raises(UsageError, match=r"settings file .* cannot be read: Is a directory"):
        load(environ={"TIDECAST_CONFIG": str(tmp_path)})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"settings file .*binary\.toml is not valid TOML: .*utf-8"):
        load(config=binary, environ={})
