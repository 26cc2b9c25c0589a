"""The command line: help that teaches, and one clear message with exit code 2 for what the caller must put right."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import NewTopic
from typer.testing import CliRunner

from models.manifest import all_versions, variant_of, versions
from models.registry import SHIPPED
from stream import admin
from stream.admin import connect
from stream.cli import app, main
from stream.embedded import Embedded, free_port, wait_for
from stream.eventlog import write_topic
from stream.events import ProductView
from stream.settings import KafkaSettings
from stream.sink import Sink
from stream.topology import TOPICS
from tests.stream.build import T0

COMMANDS = [
    ["demo"],
    ["up"],
    ["run"],
    ["replay"],
    ["import"],
    ["watch"],
    ["topics", "create"],
    ["topics", "describe"],
    ["features", "describe"],
    ["features", "show"],
    ["features", "size"],
    ["features", "forget"],
    ["features", "history"],
    ["parity"],
    ["record"],
    ["lag"],
    ["dead-letters", "list"],
    ["dead-letters", "show"],
    ["dead-letters", "replay"],
    ["models", "list"],
    ["models", "show"],
    ["config", "show"],
]


@pytest.fixture(autouse=True)
def _plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file by chance, no colours, wide lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")


class Ran:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def refused(self, message: str) -> None:
        """Exit code 2, one message on stderr, no traceback."""
        assert self.code == 2, self.err
        assert message in self.err
        assert "Traceback" not in self.err + self.out
        assert self.err.count("error:") == 1


@pytest.fixture
def tidecast(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the entry point in this process."""

    def run(*args: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["tidecast", *args])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return Ran(int(code), out, err)

    return run


@pytest.fixture(scope="module", autouse=True)
def unreachable() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process that asks for a broker that is not there; it runs beside the other tests, since it waits for 10 s."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "stream.cli", "topics", "describe", "-b", address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield address, process
        process.kill()


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_teaches_by_example(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert f"tidecast {command[0]}" in result.output.split("Usage", 1)[1].split("\n", 1)[1], "an example"
    assert "Example" in result.output or command == ["up"]


def test_every_command_has_been_looked_at() -> None:
    found = [[c.name or getattr(c.callback, "__name__", "")] for c in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        found += [
            [group.name, c.name or getattr(c.callback, "__name__", "")]
            for c in group.typer_instance.registered_commands
        ]
    assert sorted(found) == sorted(COMMANDS)


def test_without_a_command_it_shows_its_help() -> None:
    result = CliRunner().invoke(app, [])
    assert "Begin with tidecast demo" in result.output.replace("`", "")


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where no broker is, and no long wait for it."""
    monkeypatch.setattr(admin.connect, "__defaults__", (0.3,))
    return f"127.0.0.1:{free_port()}"


def test_a_wrong_setting(tidecast: Any) -> None:
    ran = tidecast("run", "--set", "worker.batch_max_records=0")
    ran.refused("setting worker.batch_max_records (from flag): Input should be greater than or equal to 1; got '0'")
    tidecast("config", "show", "--set", "kafka").refused("--set 'kafka': write section.name=value")
    tidecast("run", "--config", "gone.toml").refused(
        "settings file gone.toml cannot be read: No such file or directory"
    )


@pytest.mark.parametrize(
    "command",
    [["topics", "create"], ["topics", "describe"], ["watch", "orders"], ["replay", "."]],
    ids=" ".join,
)
def test_an_unreachable_broker(tidecast: Any, nobody: str, command: list[str]) -> None:
    ran = tidecast(*command, "--bootstrap-servers", nobody)
    ran.refused(f"no Kafka broker answers at {nobody} (")
    assert "`tidecast up` has one built in" in ran.err


def test_a_worker_without_a_broker(tidecast: Any, nobody: str) -> None:
    tidecast("run", "-b", nobody).refused(f"no Kafka broker answers at {nobody}")


@pytest.fixture
def bare() -> Iterator[str]:
    """A broker without topics."""
    with Embedded(store=False) as services:
        yield services.bootstrap_servers


def test_missing_topics_and_topics_that_are_not_copartitioned(tidecast: Any, bare: str, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for command in (["run"], ["replay", "log"], ["topics", "describe"]):
        tidecast(*command, "-b", bare).refused("missing topics: orders, clicks, demand, ")
    tidecast("watch", "orders", "-b", bare).refused("there is no topic 'orders'; make the topics with")
    client, _ = connect(KafkaSettings(bootstrap_servers=bare))
    client.create_topics([NewTopic("clicks", 5, 1)])["clicks"].result(30)
    told = "topics that are keyed by customer must have the same number of partitions"
    tidecast("topics", "create", "-p", "2", "-b", bare).refused(told)
    for command in (["run"], ["replay", "log"], ["topics", "describe"]):
        ran = tidecast(*command, "-b", bare)
        ran.refused(told)
        assert "orders has 2, clicks has 5; make them again with equal counts" in ran.err


def test_a_store_that_is_not_there(tidecast: Any, services: Embedded) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    ran = tidecast("run", "-b", services.bootstrap_servers, "--store-url", url)
    ran.refused(f"no Redis or Valkey server answers at {url}")
    tidecast("features", "show", "customer", "7", "--store-url", url).refused(f"server answers at {url}")
    tidecast("features", "show", "customer", "7", "--store-url", "nonsense").refused("server answers at nonsense")


def test_a_model_that_does_not_fit(tidecast: Any, tmp_path: Path) -> None:
    for name in ("reorder", "stockout", "next-best-offer"):
        newest = SHIPPED / name / versions(SHIPPED, name)[-1]
        (tmp_path / "m" / name).mkdir(parents=True)
        (tmp_path / "m" / name / newest.name).symlink_to(newest)
    newest = SHIPPED / "stockout" / versions(SHIPPED, "stockout")[-1]
    broken = tmp_path / "m" / "stockout" / newest.name
    broken.unlink()
    broken.mkdir()
    (broken / "model.onnx").symlink_to(newest / "model.onnx")
    manifest = json.loads((newest / "manifest.json").read_text())
    manifest["features"][0] = "units_2d"
    (broken / "manifest.json").write_text(json.dumps(manifest))
    directory = str(tmp_path / "m")
    ran = tidecast("run", "--set", f"models.directory={directory}")
    ran.refused(f"model stockout {newest.name} does not fit its features: it needs ['units_2d'], which are gone; ")
    listed = tidecast("models", "list", "-d", directory)
    assert listed.code == 0
    assert "does not fit its features" in listed.out


def test_variants_are_listed_and_shown(tidecast: Any) -> None:
    variant = next(version for version in all_versions(SHIPPED, "reorder") if variant_of(version) == "households")
    listed = tidecast("models", "list")
    assert listed.code == 0
    assert variant in listed.out
    shown = tidecast("models", "show", "reorder", "--version", variant)
    assert shown.code == 0
    assert "Complete Journey" in shown.out
    assert "Complete Journey" not in tidecast("models", "show", "reorder").out.split("Figures")[0]
    tidecast("run", "--set", "models.variant=spain").refused("models.variant spain: no model in ")


def test_models_that_a_registry_leaves_to_the_shipped_are_listed(tidecast: Any, tmp_path: Path) -> None:
    newest = SHIPPED / "reorder" / versions(SHIPPED, "reorder")[-1]
    (tmp_path / "reorder").mkdir()
    (tmp_path / "reorder" / newest.name).symlink_to(newest)
    listed = tidecast("models", "list", "-d", str(tmp_path))
    assert f"not in {tmp_path}, so the shipped ones score: next-best-offer, stockout\n" in listed.out
    assert "so the shipped ones score" not in tidecast("models", "list").out


def test_models_that_are_not_there(tidecast: Any, tmp_path: Path) -> None:
    tidecast("models", "list", "-d", str(tmp_path)).refused(f"there is no released model in {tmp_path}")
    tidecast("models", "show", "nope").refused("there is no model 'nope'")
    tidecast("run", "--set", f"models.directory={tmp_path}").refused("there is no model 'reorder'")


def test_brackets_in_a_message_are_not_markup(tidecast: Any) -> None:
    tidecast("config", "show", "--set", "kafka.group_id.x=[bold]").refused("got {'x': '[bold]'}")


def test_wrong_ways_to_import(tidecast: Any) -> None:
    tidecast("import").refused("name a known data set, or give --table and --mapping")
    tidecast("import", "online-retail", "--mapping", "m.toml").refused("name a known data set, or give")
    tidecast("import", "--mapping", "m.toml").refused("--mapping goes with --table")


# --- what is right ----------------------------------------------------------------------------------------------------


def test_config_show_tells_every_setting_with_its_origin(
    tidecast: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tidecast.toml").write_text('[store]\nnamespace = "shop"\nurl = "redis://me:secret@host:1/0"')
    monkeypatch.setenv("TIDECAST_KAFKA__GROUP_ID", "mine")
    ran = tidecast(
        "config", "show", "--json", "-s", "worker.commit_interval_ms=5", "-s", "kafka.extra.sasl.password=hunter2"
    )
    assert ran.code == 0
    told = {row["setting"]: row for row in json.loads(ran.out)}
    origins = {name: row["origin"] for name, row in told.items() if row["origin"] != "default"}
    assert origins == {
        "store.namespace": "file tidecast.toml",
        "store.url": "file tidecast.toml",
        "kafka.group_id": "environment",
        "worker.commit_interval_ms": "flag",
        "kafka.extra": "flag",
    }
    assert told["kafka.group_id"]["value"] == "mine"
    assert told["worker.commit_interval_ms"]["value"] == "5"
    assert told["store.buckets"]["value"] == "1"
    assert "secret" not in ran.out
    assert "hunter2" not in ran.out
    assert all(row["doc"] for row in told.values())
    table = tidecast("config", "show")
    assert "store.namespace" in table.out
    assert "file tidecast.toml" in table.out


def test_config_show_tells_values_with_brackets_as_they_are(tidecast: Any) -> None:
    table = tidecast("config", "show", "-s", "store.url=redis://[fd00::1]:6379/0", "-s", "store.namespace=[/b]")
    assert table.code == 0
    assert "redis://[fd00::1]:6379/0" in table.out
    assert "[/b]" in table.out


def test_topics_are_made_and_described(tidecast: Any, bare: str) -> None:
    made = tidecast("topics", "create", "-p", "2", "-b", bare)
    assert made.code == 0
    assert "made orders with 2 partitions" in made.out
    assert "made catalog with 1 partition\n" in made.out
    assert tidecast("topics", "create", "-b", bare).out == "all topics are there\n"
    described = tidecast("topics", "describe", "-b", bare)
    assert described.code == 0
    assert all(name in described.out for name in TOPICS)


def test_watch_prints_records_as_they_are(tidecast: Any, kafka: KafkaSettings) -> None:
    sink = Sink(kafka)
    for value in (b'{"a":1}', None, b"\xff"):
        sink.produce("dead-letters", b"k", value)
    sink.flush(30)
    ran = tidecast("watch", "dead-letters", "-n", "3", "-b", kafka.bootstrap_servers)
    assert ran.code == 0
    assert ran.out.splitlines() == ['{"a":1}', "null", "\ufffd"]


def test_replay_publishes_a_log_and_counts_it(tidecast: Any, kafka: KafkaSettings, tmp_path: Path) -> None:
    views = [ProductView(event_id=f"c{i}", event_time_ms=T0 + i, customer_id=f"{uuid4()}", sku="A") for i in range(3)]
    write_topic(tmp_path / "log", "clicks", views)
    ran = tidecast("replay", "log", "-b", kafka.bootstrap_servers)
    assert ran.code == 0
    assert "clicks: 3 records" in ran.out
    tidecast("replay", "gone", "-b", kafka.bootstrap_servers).refused("gone is no event log")


def test_features_are_described_and_shown(tidecast: Any, services: Embedded) -> None:
    described = tidecast("features", "describe")
    assert described.code == 0
    assert "customer_repertoire" in described.out
    tidecast("features", "show", "item", "w:A", "--store-url", services.store_url).refused(
        f"there are no features of item 'w:A' in {services.store_url} (namespace 'tidecast')"
    )
    wrong = tidecast("features", "show", "shop", "w:A")
    assert wrong.code == 2
    assert "'shop' is not one of" in wrong.err


def test_up_tells_its_addresses_and_ends_with_sigterm() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "stream.cli", "up", "--partitions", "2"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as up:
        assert up.stdout is not None
        told: dict[str, str] = {}
        for line in up.stdout:
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").strip().partition("=")
                told[name] = value
            if line.startswith("Ctrl-C"):
                break
        kafka = KafkaSettings(bootstrap_servers=told["TIDECAST_KAFKA__BOOTSTRAP_SERVERS"])
        have = connect(kafka)[1]
        assert have.keys() == TOPICS.keys()
        assert have["orders"] == 2
        up.send_signal(signal.SIGTERM)
        assert up.wait(20) == 0
    host, _, port = kafka.bootstrap_servers.partition(":")
    wait_for(partial(_closed, host, int(port)), 10, "the end of the broker")


def test_a_process_ends_with_exit_code_2_and_one_message(unreachable: tuple[str, subprocess.Popen[str]]) -> None:
    """As a shell sees it; with the real time-out of the broker."""
    address, process = unreachable
    out, err = process.communicate(timeout=60)
    Ran(process.returncode, out, err).refused(f"no Kafka broker answers at {address}")
    assert out == ""
    assert len(err.strip().splitlines()) == 1


def _closed(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 0.2).close()
    except OSError:
        return True
    return False
