"""What a Faust application needs before it starts: settings that lose nothing, a worker with all its parts at hand."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from features.store import StoreUnavailable
from features.store.redis import RedisStore, without_password
from stream.admin import check_topics, connect
from stream.errors import UsageError
from stream.faust_worker import FaustWorker
from stream.metrics import Metrics
from stream.ownership import Partition
from stream.reader import TopicReader
from stream.score import load_models
from stream.settings import KafkaSettings, Settings
from stream.sink import Sink
from stream.topology import CONSUMED, REFERENCE
from stream.warmup import warm_up


def app_options(kafka: KafkaSettings) -> dict[str, Any]:
    """What a `faust.App` of our own is made with.

    Raises:
        UsageError: settings that cannot be told to Faust.

    >>> app_options(KafkaSettings(bootstrap_servers="a:1, b:2"))["broker"]
    ['kafka://a:1', 'kafka://b:2']
    """
    if kafka.extra:
        raise UsageError(
            f"kafka.extra ({', '.join(sorted(kafka.extra))}) are librdkafka's properties, which Faust's own client "
            "does not know: make the faust.App yourself and give it to stream.faust_app.attach (docs/faust.md)"
        )
    session_s = kafka.session_timeout_ms / 1000
    return {
        "broker": [f"kafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
        "broker_session_timeout": session_s,
        "broker_request_timeout": max(90.0, session_s),  # Faust refuses one that is shorter
        "consumer_group_instance_id": kafka.group_instance_id,
        "topic_disable_leader": True,
        "web_enabled": False,
    }


def opened(settings: Settings) -> FaustWorker:
    """A worker with models, store, topics and reference data at hand.

    Raises:
        UsageError: one of them is not as it must be.
    """
    models = load_models(settings.models)
    check_topics(connect(settings.kafka)[1])
    stored = settings.store
    try:
        store = RedisStore(stored.url, stored.namespace, stored.buckets, stored.timeout_s)
        store.check_buckets(settle=True)
    except (StoreUnavailable, ValueError) as error:
        raise UsageError(f"the store at {without_password(stored.url)} cannot be used: {error}") from error
    metrics = Metrics()
    reader = TopicReader(settings.kafka, [t.name for t in REFERENCE])
    worker = FaustWorker(settings, models, store, Sink(settings.kafka), reader, metrics)
    if settings.metrics.port:
        metrics.serve(settings.metrics.host, settings.metrics.port, {"/healthz": lambda: True, "/readyz": worker.ready})
    warm_up()
    worker.read_reference(to_end=True)
    return worker


def check_app(conf: Any, has_tables: bool) -> None:
    """Checks the settings of a Faust app, and that its client can read what Tidecast publishes.

    Raises:
        UsageError: one with which events would be lost, or not meet in one worker.
    """
    if find_spec("cramjam") is None:  # Faust's consumer would stand still, and its worker live on
        raise UsageError(
            "Faust's client cannot read records that are compressed with lz4, as Tidecast publishes them, without the "
            "package cramjam: pip install 'tidecast[faust]'"
        )
    if conf.consumer_auto_offset_reset != "earliest":
        raise UsageError(
            f"the Faust app has consumer_auto_offset_reset={conf.consumer_auto_offset_reset!r}, which skips the events "
            "that are there when a partition is first read; set it to 'earliest'"
        )
    if not conf.table_standby_replicas and not has_tables:
        raise UsageError(
            "the Faust app has table_standby_replicas=0 and no tables, so that Faust gives partitions to workers round "
            "robin, and the orders and clicks of one customer to different ones; leave it at 1 (nothing is replicated)"
        )
    if str(getattr(conf.processing_guarantee, "value", conf.processing_guarantee)) != "at_least_once":
        raise UsageError("the Faust app has processing_guarantee='exactly_once'; Tidecast needs 'at_least_once' in it")


def check_copartitioned(partitions: Sequence[Partition]) -> None:
    """Checks that all that is known of one entity meets in this worker.

    Raises:
        UsageError: the partitions were not assigned together.
    """
    for group in ("customer", "item"):
        topics = [t.name for t in CONSUMED if t.copartition == group]
        have = {topic: sorted(p for t, p in partitions if t == topic) for topic in topics}
        if len({tuple(numbers) for numbers in have.values()}) > 1:
            raise UsageError(
                f"Faust assigned partitions of {' and '.join(have)} apart ({have}), but events of one {group} must "
                "meet in one worker; start all workers of the app with the same agents, and use Faust's own assignor"
            )
