"""Kafka clients: the properties that ours have, and which of their errors pass by themselves."""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import KafkaError

from stream.errors import UsageError
from stream.settings import KafkaSettings

log = logging.getLogger(__name__)

#: What does not pass by itself. A fatal error of a consumer comes once, as a message, and is not marked as fatal.
_REFUSED = (
    KafkaError._FATAL,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
)


class SourceFailed(Exception):
    """The broker will not serve this client any more, or did not tell what it was asked; start the worker again."""


def _told(error: Any) -> None:
    """Passing troubles of single connections are for --verbose; no broker at all, or refused credentials, are not."""
    grave = (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL)
    log.log(logging.WARNING if error.code() in grave or error.fatal() else logging.INFO, "broker: %s", error.str())


def client_config(kafka: KafkaSettings) -> dict[str, Any]:
    """librdkafka properties that every client of ours has."""
    return {
        "bootstrap.servers": kafka.bootstrap_servers,
        "log_level": 2,
        "error_cb": _told,
        **kafka.extra,
    }


def judge(error: Any) -> None:
    """Lets pass what passes by itself.

    Raises:
        UsageError: a topic is gone.
        SourceFailed: another error that does not pass.
    """
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise UsageError(f"a topic is gone: {error.str()}; make it again with `tidecast topics create`")
    if error.fatal() or error.code() in _REFUSED:
        raise SourceFailed(error.str())
    log.warning("broker: %s", error.str())


def consumer_config(kafka: KafkaSettings) -> dict[str, Any]:
    """librdkafka properties of the group consumer."""
    config = {
        **client_config(kafka),
        "group.id": kafka.group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # An offset that the broker does not have is looked into: it may be of a topic that was made anew.
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        # Also of committed offsets: those of a transaction that has not ended are waited for.
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": kafka.fetch_wait_max_ms,
        "queued.max.messages.kbytes": 65_536,
        "group.protocol": kafka.group_protocol,
    }
    if kafka.group_protocol == "consumer":  # the broker knows the time-outs of its groups
        config["group.remote.assignor"] = "range"
    else:
        config["partition.assignment.strategy"] = "range"
        config["session.timeout.ms"] = kafka.session_timeout_ms
        config["heartbeat.interval.ms"] = max(100, min(1_000, kafka.session_timeout_ms // 6))
    if kafka.group_instance_id:
        config["group.instance.id"] = kafka.group_instance_id
    return config
