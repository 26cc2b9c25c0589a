"""`tidecast up`."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape


class BrokerKind(StrEnum):
    """Which broker is started."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


def up(
    partitions: Annotated[int, typer.Option(min=1, max=64, help="of each topic that is made")] = 4,
    topics: Annotated[bool, typer.Option(help="make the topics, too")] = True,
    broker: Annotated[BrokerKind, typer.Option(help="kafka: Apache Kafka; needs Java 17 and, once, Maven")] = (
        BrokerKind.EMBEDDED
    ),
    brokers: Annotated[int, typer.Option(help="of Apache Kafka: 1, or 3 that keep three copies of everything")] = 1,
) -> None:
    """Start a broker and a store, print their addresses, and run until Ctrl-C.

    They listen on free loopback ports, and what they keep is gone when they end. The lines that begin with `export`
    can be pasted into another terminal:

        tidecast up

        tidecast replay EVENTS --speed 86400

        tidecast run

    The embedded broker does not hide the records of aborted transactions. Apache Kafka itself, as local processes:

        tidecast up --broker kafka --brokers 3
    """
    from stream.admin import create_topics
    from stream.settings import load

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with _services(broker, brokers) as environment:
        settings = load(environ=environment).settings
        if topics:
            create_topics(settings.kafka, partitions, brokers)
        console = Console(soft_wrap=True)
        console.print(f"broker  {escape(settings.kafka.bootstrap_servers)}")
        console.print(f"store   {escape(settings.store.url)}")
        for name, value in environment.items():
            typer.echo(f"export {name}={value}")
        console.print("[dim]Ctrl-C stops them; nothing is kept[/]")
        stop.wait()


@contextlib.contextmanager
def _services(broker: BrokerKind, brokers: int) -> Iterator[dict[str, str]]:
    """A broker and a store that run; the settings of workers that use them."""
    from stream.embedded import Embedded
    from stream.errors import UsageError
    from stream.localkafka import LocalKafka

    if brokers not in ((1, 3) if broker is BrokerKind.KAFKA else (1,)):
        raise UsageError(f"--brokers {brokers}: Apache Kafka (--broker kafka) has 1 or 3, the embedded broker is one")
    if broker is BrokerKind.EMBEDDED:
        with Embedded() as services:
            yield services.environment()
        return
    progress = Console(stderr=True, soft_wrap=True, highlight=False)
    with Embedded(broker=False) as services, LocalKafka(brokers, say=progress.print) as kafka:
        yield {"TIDECAST_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap, "TIDECAST_STORE__URL": services.store_url}
