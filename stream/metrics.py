"""Metrics for Prometheus, and the probes /healthz and /readyz."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

from stream.errors import UsageError


class Metrics:
    """What a worker counts. One registry an instance, so that tests can have many."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.records = Counter("tidecast_records", "records taken in", ["topic"], registry=r)
        self.late = Counter("tidecast_late_events", "events far behind their partition", ["topic"], registry=r)
        self.dead = Counter("tidecast_dead_letters", "records not taken in", ["topic", "stage"], registry=r)
        self.too_late = Counter(
            "tidecast_too_late_rows",
            "rows older than all that a view keeps: taken in, but for its windows",
            ["topic", "view"],
            registry=r,
        )
        self.duplicate_events = Counter(
            "tidecast_duplicate_events", "events dropped, since their id came before", ["topic"], registry=r
        )
        self.migrated = Counter(
            "tidecast_records_migrated", "records taken over from another version of a view", ["view"], registry=r
        )
        self.duplicates = Counter("tidecast_demand_duplicates", "demand records folded before", registry=r)
        self.published = Counter("tidecast_published", "records published", ["topic"], registry=r)
        self.scores = Counter("tidecast_scores", "entities scored", ["model"], registry=r)
        self.rescored = Counter("tidecast_rescored", "entities scored since time has passed", ["model"], registry=r)
        self.watermark = Gauge("tidecast_watermark_seconds", "newest event time", ["topic", "partition"], registry=r)
        self.batch_seconds = Histogram(
            "tidecast_batch_seconds",
            "time of a micro-batch",
            registry=r,
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
        )
        self.unjoined = Counter(
            "tidecast_unjoined_rows", "rows scored without joined features: the store did not answer", registry=r
        )
        self.store_waits = Counter("tidecast_store_unavailable", "writes that waited for the store", registry=r)

    def serve(self, host: str, port: int, probes: Mapping[str, Callable[[], bool]]) -> None:
        """Serves /metrics for Prometheus, and the probes (/healthz, /readyz): 200 while they hold, else 503.

        Raises:
            UsageError: the port is taken.
        """
        metrics = make_wsgi_app(self.registry)

        def application(environ: dict[str, Any], start_response: Any) -> Any:
            probe = probes.get(environ["PATH_INFO"])
            if probe is None:
                return metrics(environ, start_response)
            holds = probe()
            start_response("200 OK" if holds else "503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b"yes\n" if holds else b"no\n"]

        try:
            server = make_server(host, port, application, handler_class=_Silent)
        except OSError as error:
            raise UsageError(
                f"metrics.port {port} on {host}: {error.strerror}; set metrics.port to a free one"
            ) from error
        threading.Thread(target=server.serve_forever, daemon=True, name="metrics").start()


class _Silent(WSGIRequestHandler):
    """Writes no line a request."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""
