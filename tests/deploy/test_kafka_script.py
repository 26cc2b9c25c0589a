"""deploy/kafka/kafka, with a Java and a Maven that only look like them: no Kafka is started here."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.localkafka import SCRIPT, free_ports
from tests import fakejava

Run = Callable[..., subprocess.CompletedProcess[str]]


def script(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """The script with both tools there; whatever it started is ended."""
    environment = fakejava.install(tmp_path / "fake")

    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        return script(*arguments, **{**environment, **more})

    yield run
    for pid in tmp_path.glob("**/kafka.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


def properties(directory: Path, number: int = 1) -> dict[str, str]:
    lines = (directory / f"broker-{number}" / "server.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


# --- one broker ------------------------------------------------------------------------------------------------------


def test_start_and_stop(run: Run, tmp_path: Path) -> None:
    kafka, port = tmp_path / "kafka", free_ports(2)
    started = run("start", kafka, port)
    assert started.returncode == 0, started.stderr
    assert f"answers at 127.0.0.1:{port}" in started.stdout
    told = run("status", kafka)
    assert told.returncode == 0
    assert re.fullmatch(rf"broker 1  127.0.0.1:{port}  answers \(process \d+\)\n", told.stdout)
    assert run("stop", kafka).returncode == 0
    assert run("status", kafka).stdout == f"broker 1  127.0.0.1:{port}  does not run\n"
    assert run("status", kafka).returncode == 1


def test_one_broker_keeps_one_copy(run: Run, tmp_path: Path) -> None:
    assert run("prepare", tmp_path / "kafka", free_ports(2)).returncode == 0
    of = properties(tmp_path / "kafka")
    assert of["default.replication.factor"] == of["offsets.topic.replication.factor"] == "1"
    assert of["min.insync.replicas"] == of["transaction.state.log.min.isr"] == "1"
    assert of["group.initial.rebalance.delay.ms"] == "0"


def test_a_broker_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    environment = fakejava.install(tmp_path / "fake", fails="the disk is full")
    done = script("start", tmp_path / "kafka", free_ports(2), **environment)
    assert done.returncode == 1
    assert "broker 1 did not answer" in done.stderr
    assert "the disk is full" in done.stderr


def test_start_refuses_a_directory_in_which_one_runs(run: Run, tmp_path: Path) -> None:
    assert run("start", tmp_path / "kafka", free_ports(2)).returncode == 0
    again = run("start", tmp_path / "kafka", free_ports(2))
    assert again.returncode == 1
    assert f"end it with: kafka stop {tmp_path / 'kafka'}" in again.stderr


def test_start_refuses_a_port_that_is_taken(run: Run, tmp_path: Path) -> None:
    port = free_ports(2)
    assert run("start", tmp_path / "first", port).returncode == 0
    done = run("start", tmp_path / "second", port)
    assert done.returncode == 1
    assert f"something listens on port {port} already" in done.stderr


def test_further_properties_come_last(run: Run, tmp_path: Path) -> None:
    assert run("prepare", tmp_path / "kafka", free_ports(2), KAFKA_PROPERTIES="min.insync.replicas=9").returncode == 0
    assert properties(tmp_path / "kafka")["min.insync.replicas"] == "9"


# --- three brokers ---------------------------------------------------------------------------------------------------


def test_three_brokers_one_of_them_killed_and_started_again(run: Run, tmp_path: Path) -> None:
    kafka = tmp_path / "kafka"
    started = run("start", kafka, free_ports(6), "--brokers", "3")
    assert started.returncode == 0, started.stderr
    assert started.stdout.count("answers at") == 3
    assert run("kill", kafka, 2).returncode == 0
    assert [line.split()[3] for line in run("status", kafka).stdout.splitlines()] == ["answers", "does", "answers"]
    assert "broker 2 is not running" in run("kill", kafka, 2).stderr
    assert run("start-broker", kafka, 2).returncode == 0
    assert run("status", kafka).returncode == 0
    again = run("start-broker", kafka, 2)
    assert again.returncode == 1
    assert "running already" in again.stderr
    assert run("stop", kafka).returncode == 0
    assert run("status", kafka).stdout.count("does not run") == 3


def test_three_brokers_keep_three_copies_and_know_each_other(run: Run, tmp_path: Path) -> None:
    kafka, port = tmp_path / "kafka", free_ports(6)
    assert run("prepare", kafka, port, "--brokers", "3").returncode == 0
    all_of = [properties(kafka, n) for n in (1, 2, 3)]
    for name in ("default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        assert {of[f"{name}.replication.factor"] for of in all_of} == {"3"}
    for name in ("min.insync.replicas", "transaction.state.log.min.isr"):
        assert {of[name] for of in all_of} == {"2"}
    assert [of["node.id"] for of in all_of] == ["1", "2", "3"]
    assert len({of["controller.quorum.voters"] for of in all_of}) == 1
    ports = [p for of in all_of for p in re.findall(r"127.0.0.1:(\d+)", of["listeners"])]
    assert len(set(ports)) == 6
    assert [of["advertised.listeners"].rpartition(":")[2] for of in all_of] == [str(port + n) for n in range(3)]


def test_the_storage_of_each_broker_is_formatted_under_names_of_its_own(run: Run, tmp_path: Path) -> None:
    """Kafka's directory ids are 16 bytes in base64 without padding."""
    assert run("prepare", tmp_path / "kafka", free_ports(6), "--brokers", "3").returncode == 0
    data = [tmp_path / "kafka" / f"broker-{n}" / "data" for n in (1, 2, 3)]
    assert {(d / "bootstrap.checkpoint").read_text() for d in data} == {"features"}
    metas = [dict(line.split("=") for line in (d / "meta.properties").read_text().splitlines()) for d in data]
    assert [m["node.id"] for m in metas] == ["1", "2", "3"]
    assert len({m["directory.id"] for m in metas}) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9]{21}g", m["directory.id"]) for m in metas[1:])


def test_data_of_three_brokers_is_not_started_as_one(run: Run, tmp_path: Path) -> None:
    kafka = tmp_path / "kafka"
    assert run("prepare", kafka, free_ports(6), "--brokers", "3").returncode == 0
    done = run("prepare", kafka, free_ports(2))
    assert done.returncode == 2
    assert "holds 3 broker(s), not 1" in done.stderr


# --- what it needs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", ["java", "mvn"])
def test_start_says_what_is_missing(tmp_path: Path, gone: str) -> None:
    """A PATH with all that the script uses, but one."""
    fake = fakejava.install(tmp_path / "fake")
    tools = tmp_path / "fake" / "tools"
    for name in ("bash", "dirname", "sed", "head", "cksum"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / gone).unlink()
    for command in (["start", tmp_path / "kafka"], ["check"]):
        done = script(*command, PATH=str(tools), XDG_CACHE_HOME=fake["XDG_CACHE_HOME"])
        assert done.returncode == 2
        assert f"there is no {gone}" in done.stderr
    assert not (tmp_path / "kafka").exists()


def test_a_java_that_is_too_old_is_refused(tmp_path: Path) -> None:
    done = script("check", **fakejava.install(tmp_path, version="11.0.2"))
    assert done.returncode == 2
    assert 'needs Java 17 or newer; this java is: openjdk version "11.0.2"' in done.stderr


def test_the_jars_are_fetched_once(run: Run, tmp_path: Path) -> None:
    first = run("prepare", tmp_path / "a", free_ports(2))
    assert "from Maven Central" in first.stderr
    assert "  kafka.jar (5.1 MB)\n" in first.stderr
    (tmp_path / "fake" / "tools" / "mvn").unlink()
    assert run("prepare", tmp_path / "b", free_ports(2)).stderr == ""


def test_no_maven_central_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    done = script("prepare", tmp_path / "kafka", **fakejava.install(tmp_path / "fake", offline=True))
    assert done.returncode == 2
    assert "is Maven Central reached? [ERROR] Cannot access central" in done.stderr
    assert list((tmp_path / "fake" / "cache" / "tidecast").iterdir()) == []
    assert not (tmp_path / "kafka").exists()


def test_check_tells_what_would_run(run: Run) -> None:
    assert re.fullmatch(r"Apache Kafka 4\.\d+\.\d+ on Java 17\n", run("check").stdout)


# --- the command line ------------------------------------------------------------------------------------------------


WRONG = """
kafka
kafka start
kafka stop
kafka status
kafka kill x
kafka restart x
kafka start x port
kafka start x 08
kafka start x 9092 more
kafka start x --brokers
kafka start x 9092 --brokers 2
kafka start --brokers 3
kafka stop /no/such
kafka kill /no/such 1
"""


@pytest.mark.parametrize("line", WRONG.strip().splitlines())
def test_wrong_use_ends_with_2(tmp_path: Path, line: str) -> None:
    done = script(*line.split()[1:], **fakejava.install(tmp_path))
    assert done.returncode == 2
    assert done.stderr


def test_help_tells_how() -> None:
    done = script("--help")
    assert done.returncode == 0
    assert "kafka start DIR [PORT] [--brokers 1|3]" in done.stdout


def test_stop_ends_no_process_that_it_did_not_start(tmp_path: Path) -> None:
    """A process id that has been given to another process meanwhile: ours."""
    (tmp_path / "broker-1").mkdir()
    (tmp_path / "broker-1" / "kafka.pid").write_text(str(os.getpid()))
    done = script("stop", tmp_path)
    assert done.returncode == 0
    assert "none is running" in done.stdout
