"""Which broker is chosen, and what a run says of it: whole runs of pytest over one small file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stream.embedded import Embedded
from stream.settings import load
from tests import containers, fakejava
from tests.brokers import KAFKA, Brokers, Guarantee

ROOT = Path(__file__).parents[1]
NO_DOCKER = {"DOCKER_HOST": "tcp://127.0.0.1:9"}
TESTS = """
from tests.brokers import Guarantee

def test_that_needs_isolation(kafka):
    kafka.require(Guarantee.ISOLATION)

def test_that_needs_a_cluster(kafka_cluster):
    assert len(kafka_cluster.processes.numbers) == 3

def test_that_any_broker_will_do(kafka):
    kafka.clean()
    assert kafka.topics() == []
"""


def run(directory: Path, **environment: str) -> tuple[int, str]:
    """A run of pytest with that environment, and nothing of this one's choice."""
    (directory / "test_inner.py").write_text(TESTS)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TIDECAST_")}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-rs", "test_inner.py"]
    env = {**ours, **NO_DOCKER, "PYTHONPATH": str(ROOT), "COLUMNS": "400", **environment}
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_without_kafka_a_run_passes_and_says_what_it_leaves_unproven(tmp_path: Path) -> None:
    code, said = run(tmp_path, TIDECAST_NO_KAFKA="1")
    assert code == 0, said
    assert "broker: the embedded broker (TIDECAST_NO_KAFKA=1)" in said
    assert "1 passed, 2 skipped" in said
    assert "ran on the embedded broker" in said
    for guarantee in (Guarantee.ISOLATION, Guarantee.FAILOVER):
        assert f"\nNOT exercised: {guarantee}\n  because " in said
    assert f"NOT exercised: {Guarantee.NEW_GROUPS}" not in said, "no test asked for it"


def test_where_kafka_is_required_its_lack_fails(tmp_path: Path) -> None:
    fake = fakejava.install(tmp_path, version="11.0.2")
    code, said = run(tmp_path, **fake, TIDECAST_REQUIRE_KAFKA="1")
    assert code == 1, said
    assert "broker: none, and TIDECAST_REQUIRE_KAFKA=1 (Apache Kafka needs Java 17 or newer; this java is" in said
    assert "3 errors" in said
    assert "skipped" not in said


def test_without_maven_central_the_embedded_broker_takes_over(tmp_path: Path) -> None:
    code, said = run(tmp_path, **fakejava.install(tmp_path, offline=True))
    assert code == 0, said
    assert "on Java 17, as local processes" in said.splitlines()[2]
    assert "ran on the embedded broker" in said
    assert "Maven could not get the jars of Apache Kafka: is Maven Central reached?" in said


def test_requiring_kafka_and_refusing_it_is_a_contradiction(tmp_path: Path) -> None:
    code, said = run(tmp_path, TIDECAST_REQUIRE_KAFKA="1", TIDECAST_NO_KAFKA="1")
    assert code == 4
    assert "contradict each other" in said


def test_an_address_in_the_environment_comes_first(tmp_path: Path) -> None:
    """Whatever answers there is taken for a Kafka, and left as it was."""
    with Embedded(store=False) as services:
        address = services.bootstrap_servers
        code, said = run(tmp_path, TIDECAST_TEST_KAFKA=address, TIDECAST_NO_KAFKA="1")
    assert code == 0, said
    assert f"broker: {address}, which TIDECAST_TEST_KAFKA names" in said
    assert "2 passed, 1 skipped" in said


def test_an_address_at_which_nothing_answers_is_no_reason_to_take_another(tmp_path: Path) -> None:
    code, said = run(tmp_path, TIDECAST_TEST_KAFKA="127.0.0.1:9", TIDECAST_NO_KAFKA="1")
    assert code == 1
    assert "no Kafka broker answers at 127.0.0.1:9" in said
    assert "ran on" not in said


def test_docker_comes_before_local_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "docker_answers", lambda: True)
    assert next(iter(Brokers({}).choices)) == f"{containers.image('kafka')} in Docker"
    assert list(Brokers({"TIDECAST_NO_KAFKA": "1"}).choices) == ["the embedded broker"]


def test_a_topic_of_ours_at_a_named_address_is_not_deleted(tmp_path: Path) -> None:
    from stream.admin import create_topics

    with Embedded(store=False) as services:
        environment = {n: v for n, v in services.environment().items() if "STORE" not in n}
        settings = load(environ=environment).settings.kafka
        create_topics(settings, 1)
        code, said = run(tmp_path, TIDECAST_TEST_KAFKA=services.bootstrap_servers, TIDECAST_NO_KAFKA="1")
        assert code == 1
        assert "it has topics already that tests would delete: catalog, clicks" in said
        assert create_topics(settings, 1) == {}, "all are there still"


# --- Docker, of which there may be none ------------------------------------------------------------------------------


def test_the_broker_in_docker_is_reached_by_the_port_that_it_advertises() -> None:
    of = containers.kafka_environment(12_345)
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]["kafka"]["environment"]
    assert set(of) == set(compose)
    assert of["KAFKA_ADVERTISED_LISTENERS"] == "HOST://localhost:12345"
    assert of["KAFKA_LISTENERS"].endswith(",HOST://:12345")
    assert "kafka:" not in "".join(of.values()), "names that only containers know"


def test_no_engine_is_no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    containers.docker_answers.cache_clear()
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    assert not containers.docker_answers()
    containers.docker_answers.cache_clear()


def test_what_kafka_guarantees_the_embedded_broker_does_not() -> None:
    with Brokers({"TIDECAST_NO_KAFKA": "1"}).single() as broker:
        assert broker.guarantees == frozenset()
        for guarantee in KAFKA:
            with pytest.raises(pytest.skip.Exception, match="not exercised"):
                broker.require(guarantee)
