"""Metrics for Prometheus, and /healthz."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server


class Metrics:
    """What a worker counts. One registry an instance, so that tests can have many."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.records = Counter("tidecast_records", "records taken in", ["topic"], registry=r)
        self.late = Counter("tidecast_late_events", "events far behind their partition", ["topic"], registry=r)
        self.dead = Counter("tidecast_dead_letters", "records not taken in", ["topic", "stage"], registry=r)
        self.duplicates = Counter("tidecast_demand_duplicates", "demand records folded before", registry=r)
        self.published = Counter("tidecast_published", "records published", ["topic"], registry=r)
        self.scores = Counter("tidecast_scores", "entities scored", ["model"], registry=r)
        self.watermark = Gauge("tidecast_watermark_seconds", "newest event time", ["topic", "partition"], registry=r)
        self.batch_seconds = Histogram(
            "tidecast_batch_seconds",
            "time of a micro-batch",
            registry=r,
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
        )
        self.store_waits = Counter("tidecast_store_unavailable", "writes that waited for the store", registry=r)

    def serve(self, host: str, port: int) -> None:
        """Serves /metrics (any path, /healthz among them, answers 200 while the process lives)."""
        start_http_server(port, host, self.registry)
