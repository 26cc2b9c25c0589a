from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from stream.embedded import free_port
from stream.errors import UsageError
from stream.metrics import Metrics


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_and_probes_are_served(capfd: pytest.CaptureFixture[str]) -> None:
    metrics, port = Metrics(), free_port()
    well = [True]
    metrics.serve("127.0.0.1", port, {"/healthz": lambda: well[0], "/readyz": lambda: False})
    metrics.records.labels("orders").inc(3)
    status, body = get(port, "/metrics")
    assert status == 200
    assert 'tidecast_records_total{topic="orders"} 3.0' in body
    assert get(port, "/healthz") == (200, "yes\n")
    assert get(port, "/readyz") == (503, "no\n")
    well[0] = False
    assert get(port, "/healthz") == (503, "no\n")
    assert capfd.readouterr().err == "", "no line a request"


def test_a_port_that_is_taken_is_an_error_for_the_person_who_called() -> None:
    port = free_port()
    Metrics().serve("127.0.0.1", port, {})
    with pytest.raises(UsageError, match=rf"metrics\.port {port} on 127\.0\.0\.1: .*; set metrics\.port to a free one"):
        Metrics().serve("127.0.0.1", port, {})


def test_every_instance_counts_for_itself() -> None:
    one, two = Metrics(), Metrics()
    one.store_waits.inc()
    assert two.registry.get_sample_value("tidecast_store_unavailable_total") == 0
