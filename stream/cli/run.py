"""`tidecast run`."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.options import Bootstrap, Config, Set, StoreUrl, loaded
from stream.errors import UsageError

if TYPE_CHECKING:
    from stream.settings import Settings
    from stream.worker import Worker

log = logging.getLogger("tidecast")

_HUNG_TIMES = 2


def run(
    config: Config = None,
    flags: Set = None,
    bootstrap: Bootstrap = None,
    store_url: StoreUrl = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="tell about partitions and offsets")] = False,
) -> None:
    """Run a worker: consume, fold, score and publish until SIGTERM or Ctrl-C.

    Start as many as there are partitions; those of one group share the work. A worker that is stopped finishes its
    micro-batch, commits and leaves the group; one that is killed is taken over from where it was.

    Examples:

        tidecast run -b broker:9092 --store-url redis://redis:6379/0

        tidecast run --config shop.toml --set metrics.port=9464 --verbose
    """
    from features.store import StoreUnavailable
    from features.store.redis import RedisStore, without_password
    from stream.admin import check_topics, connect
    from stream.kafkaclient import SourceFailed
    from stream.metrics import Metrics
    from stream.score import load_models
    from stream.sink import SinkFailed
    from stream.tenure import Superseded
    from stream.worker import Worker

    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    settings = loaded(config, flags, bootstrap, store_url).settings
    models = load_models(settings.models)
    check_topics(connect(settings.kafka)[1])
    settings = _with_delivery(settings)
    stored = settings.store
    try:
        store = RedisStore(stored.url, stored.namespace, stored.buckets, stored.timeout_s)
        server = store.ping()
    except (StoreUnavailable, ValueError) as error:
        raise UsageError(
            f"no Redis or Valkey server answers at {without_password(stored.url)} ({error}); "
            "start one (`tidecast up` has one built in) "
            "or set store.url"
        ) from error
    try:
        store.check_buckets(settle=True)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except StoreUnavailable as error:
        raise UsageError(f"the store at {without_password(stored.url)} does not take writes: {error}") from error
    metrics = Metrics()
    try:
        worker = Worker(settings, models, store, metrics)
    except (SinkFailed, SourceFailed) as error:
        log.error("%s", error)
        raise typer.Exit(1) from error
    if settings.metrics.port:
        probes = {"/healthz": worker.healthy, "/readyz": worker.ready}
        metrics.serve(settings.metrics.host, settings.metrics.port, probes)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _stop(worker, settings.worker.shutdown_grace_s))
    log.warning(
        "worker started, %s: broker %s, store %s (%s)",
        settings.worker.delivery.replace("_", " "),
        settings.kafka.bootstrap_servers,
        without_password(stored.url),
        server,
    )
    threading.Thread(target=_watch, args=(worker,), daemon=True).start()
    try:
        worker.run()
    except Superseded as error:
        log.error("%s", error)
        raise typer.Exit(3) from error
    except (SinkFailed, SourceFailed) as error:
        log.error("%s; what was not committed will be taken in again by the next worker", error)
        raise typer.Exit(1) from error
    finally:
        store.close()
    log.warning("worker stopped")


def _with_delivery(settings: Settings) -> Settings:
    """The settings with the delivery that the broker can give.

    Raises:
        UsageError: exactly once is asked for, and the broker cannot.
    """
    from stream.admin import hides_aborted

    wanted = settings.worker.delivery
    if wanted == "at_least_once":
        return settings
    isolated = hides_aborted(settings.kafka)
    if not isolated and wanted == "exactly_once":
        raise UsageError(
            f"the broker at {settings.kafka.bootstrap_servers} shows records of aborted transactions, so nothing can "
            "be delivered exactly once; use Apache Kafka, or set worker.delivery to at_least_once"
        )
    if not isolated:
        log.warning("the broker shows records of aborted transactions: delivery is at least once")
    chosen = {"delivery": "exactly_once" if isolated else "at_least_once"}
    return settings.model_copy(update={"worker": settings.worker.model_copy(update=chosen)})


def _watch(worker: Worker, every_s: float = 5.0) -> None:
    """Ends a process that hangs and says where, so that it is started anew and others take its partitions over.

    Twice in a row: a process that was stopped and goes on looks as if it hung, once.
    """
    hung = 0
    while hung < _HUNG_TIMES:
        time.sleep(every_s)
        hung = hung + 1 if worker.hung() else 0
    log.error("the worker hangs (worker.hung_after_s): its threads are where the lines below say; ending")
    faulthandler.dump_traceback(sys.stderr)
    os._exit(1)


def _stop(worker: Worker, grace_s: float) -> None:
    """Asks the worker to stop; if it has not within its grace period, the process ends: nothing committed is lost."""
    worker.stop()

    def give_up() -> None:
        log.error("not finished within worker.shutdown_grace_s = %g; ending without a commit", grace_s)
        os._exit(1)

    timer = threading.Timer(grace_s, give_up)
    timer.daemon = True
    timer.start()
