"""Brokers end with the process that started them; with a Java and a Maven that only look like them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stream import localkafka
from stream.embedded import wait_for
from stream.errors import UsageError
from stream.localkafka import LocalKafka, check, free_ports
from tests import fakejava

DEADLINE_S = 15.0


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in fakejava.install(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path / "tools"


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def answers(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def ports_of(bootstrap: str) -> list[int]:
    return [int(address.partition(":")[2]) for address in bootstrap.split(",")]


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("brokers", [1, 3])
def test_brokers_start_and_end(brokers: int) -> None:
    with LocalKafka(brokers) as kafka:
        ports, directory = ports_of(kafka.bootstrap), kafka.directory
        assert len(ports) == brokers
        assert all(answers(port) for port in ports)
        pids = [kafka.pid(number) for number in kafka.numbers]
        assert len(set(pids)) == brokers
    assert all(gone(pid) for pid in pids)
    assert not directory.exists()


@pytest.mark.usefixtures("tools")
def test_a_broker_is_killed_and_restarted_on_its_port() -> None:
    with LocalKafka(3) as kafka:
        port, pid = ports_of(kafka.bootstrap)[1], kafka.pid(2)
        kafka.kill(2)
        assert gone(pid)
        assert not answers(port)
        with pytest.raises(RuntimeError, match="broker 2 does not run"):
            kafka.kill(2)
        kafka.restart(2)
        assert answers(port)
        assert kafka.pid(2) != pid
        with pytest.raises(RuntimeError, match="broker 2 runs; kill it first"):
            kafka.restart(2)


@pytest.mark.usefixtures("tools")
def test_healing_starts_all_that_were_killed() -> None:
    with LocalKafka(3) as kafka:
        kafka.kill(1)
        kafka.kill(3)
        kept = kafka.pid(2)
        kafka.heal()
        assert all(answers(port) for port in ports_of(kafka.bootstrap))
        assert kafka.pid(2) == kept


@pytest.mark.usefixtures("tools")
def test_further_properties_reach_every_broker() -> None:
    with LocalKafka(3, {"message.max.bytes": "77", "num.io.threads": "2"}) as kafka:
        for number in kafka.numbers:
            text = kafka.log(number).with_name("server.properties").read_text()
            assert "\nmessage.max.bytes=77\nnum.io.threads=2\n" in text


@pytest.mark.usefixtures("tools")
def test_progress_tells_what_maven_fetches() -> None:
    said: list[str] = []
    with LocalKafka(say=said.append):
        pass
    assert said[0].startswith("getting the jars of Apache Kafka 4.")
    assert said[1:] == ["  kafka.jar (5.1 MB)"]


PARENT = """
import sys
from stream.localkafka import LocalKafka
kafka = LocalKafka(3).__enter__()
print(*(kafka.pid(n) for n in kafka.numbers), flush=True)
sys.stdin.read()
"""


def test_kill_9_of_the_parent_ends_brokers_that_do_not_want_to_end(tmp_path: Path) -> None:
    environment = {**os.environ, **fakejava.install(tmp_path, stubborn=True), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3
        assert not any(gone(pid) for pid in pids)
        parent.send_signal(signal.SIGKILL)
        parent.wait(DEADLINE_S)
    wait_for(lambda: all(gone(pid) for pid in pids), DEADLINE_S, "the end of the brokers")


# --- what can be missing ---------------------------------------------------------------------------------------------


def test_a_broker_that_does_not_start_shows_its_log_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in fakejava.install(tmp_path, fails="the disk is full").items():
        monkeypatch.setenv(name, value)
    kafka = LocalKafka(3)
    with pytest.raises(UsageError, match=r"Kafka broker 1 did not start; its log .*\n(.*\n)*.*the disk is full"):
        kafka.__enter__()
    with pytest.raises(RuntimeError, match="this Kafka does not run"):
        _ = kafka.directory


def test_an_old_java_is_told_as_the_script_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in fakejava.install(tmp_path, version="11.0.2").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"^Apache Kafka needs Java 17 or newer; this java is: openjdk version .11"):
        check()


def test_no_maven_central_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in fakejava.install(tmp_path, offline=True).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"^Maven could not get the jars of Apache Kafka: is Maven Central reached\?"):
        LocalKafka().__enter__()


def test_an_installed_package_has_no_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localkafka, "SCRIPT", tmp_path / "kafka")
    with pytest.raises(UsageError, match="run from a clone of the repository, or use the embedded broker"):
        check()


def test_ports_are_below_those_of_outgoing_connections() -> None:
    first = free_ports(6)
    assert 20_000 <= first < 32_000 - 6


def test_no_port_left_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(localkafka, "_PORTS", range(port, port + 2))
        with pytest.raises(UsageError, match="no 1 free ports in a row"):
            free_ports(1)
