"""A Faust application that runs Tidecast's views and models, for teams that already run Faust: docs/faust.md.

    faust -A stream.faust_app worker       # an app of its own, from TIDECAST_ settings
    attach(app, load().settings)           # one more agent in an app that is there

Faust polls, assigns partitions and keeps the group; `stream.faust_worker` does the rest with the same parts as
`tidecast run`. Limits:

* Delivery is at least once. The state is exact, as ever: the fence and the source positions see to it.
* One Faust worker process is one Tidecast worker: micro-batches are taken in by one agent of concurrency 1, in one
  thread. Scale by more processes.
* No other agent of the app may read `orders`, `clicks`, `demand` or `inventory`: Faust would commit their offsets.
* What needs an earlier offset in the midst of a stream (a store that lost its fences, another owner) ends the process
  with an error; its supervisor starts it again.
* Only events cause scores: nothing is scored anew because time goes by.
* Faust reads uncommitted: records of aborted transactions on input topics are taken in.
* Workers of Faust and of `tidecast run` cannot share a group: stop all of one kind, then start the other.

Why offsets are not left to Faust's acknowledgements: `Stream.take` acknowledges a batch also when the agent fails or is
cancelled in the midst of it, and Faust then commits what was never taken in. So topics are read with `acks=False`, and
offsets are committed here, after what was published is acknowledged.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

import faust
from faust.types import TP

from stream.errors import UsageError
from stream.faust_record import FaustRecord
from stream.faust_start import app_options, check_app, check_copartitioned, opened
from stream.faust_worker import FaustWorker, GaveUp
from stream.ownership import Partition
from stream.settings import Settings, load
from stream.source import CommitRefused
from stream.topology import CONSUMED

log = logging.getLogger(__name__)
T = TypeVar("T")

_TOPICS = tuple(t.name for t in CONSUMED)
_COMMIT_MS = 1_000
_REFERENCE_EVERY_S = 0.5
_COMMIT_TIMEOUT_S = 30.0
_LAST_COMMIT_TIMEOUT_S = 5.0


def attach(app: faust.App, settings: Settings) -> Any:
    """Adds Tidecast to a Faust app: an agent, two timers, and handlers of rebalances and of the end.

    Store, models and reference data are opened when a worker of the app starts.

    Args:
        app: it must begin at the earliest offsets, and use Faust's own assignor.
        settings: `kafka` must name the app's brokers; `kafka.group_id` is not used, the group is the app's id.

    Returns:
        The agent.

    Raises:
        UsageError: settings that a Faust application cannot keep.
    """
    if settings.worker.delivery == "exactly_once":
        raise UsageError("a Faust application delivers at least once; set worker.delivery to at_least_once or auto")
    attached = _Attached(app, settings)
    app.add_dependency(_Opening(attached.open))
    app.on_partitions_assigned.connect(attached.assigned)
    app.on_partitions_revoked.connect(attached.revoked)
    app.on_rebalance_complete.connect(attached.wait_until_claimed)
    app.on_before_shutdown.connect(attached.stop)
    app.timer(interval=(settings.worker.commit_interval_ms or _COMMIT_MS) / 1000)(attached.commit)
    app.timer(interval=_REFERENCE_EVERY_S)(attached.read_reference)
    topics = app.topic(
        *_TOPICS, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", acks=False
    )

    async def tidecast(stream: Any) -> None:
        await attached.consume(stream)

    return app.agent(topics, name="tidecast", concurrency=1)(tidecast)


def ready_made(settings: Settings) -> faust.App:
    """An app with nothing but Tidecast; its id is `kafka.group_id`.

    Raises:
        UsageError: settings that cannot be told to Faust.
    """
    app = faust.App(settings.kafka.group_id, **app_options(settings.kafka))
    attach(app, settings)
    return app


@functools.cache
def _from_environment() -> faust.App:
    return ready_made(load().settings)


def __getattr__(name: str) -> Any:
    """`app`, which `faust -A stream.faust_app` asks for, made when it is asked for: others import `attach` alone."""
    if name == "app":
        return _from_environment()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Opening(faust.Service):  # type: ignore[misc]
    """A dependency of the app, so that it is started by workers alone, before they join their group."""

    def __init__(self, opening: Callable[[], Awaitable[None]]) -> None:
        self._opening = opening
        super().__init__()

    async def on_start(self) -> None:
        """Opens what the worker needs."""
        await self._opening()


class _Attached:
    """Between Faust's loop and the worker, whose calls all run in one thread, in the order in which they are made."""

    def __init__(self, app: faust.App, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._thread = ThreadPoolExecutor(1, "tidecast")
        self._worker: FaustWorker | None = None
        self._claimed = asyncio.Event()
        self._begin: dict[Any, int] = {}
        self._seeker: Any = None
        self._ended = False
        self._committing: Future[bool] | None = None  # begun before the end

    # --- what Faust calls

    async def open(self) -> None:
        """Before the worker joins its group: what takes long, or may be refused."""
        app = self._app
        if app.client_only or app.producer_only:
            return
        try:
            check_app(app.conf, bool(app.tables))
            self._worker = await asyncio.get_running_loop().run_in_executor(self._thread, opened, self._settings)
        except UsageError as error:
            print(error, file=sys.stderr)
            raise SystemExit(2) from error

    async def consume(self, stream: Any) -> None:
        """The agent. `take` gives values, so each value is made to carry its record."""
        worker = self._settings.worker
        stream.add_processor(lambda _: FaustRecord(stream.current_event.message))
        async for records in stream.take(worker.batch_max_records, within=worker.batch_max_wait_ms / 1000):
            await self._process(records)

    async def assigned(self, _app: Any, assigned: set[Any], **_: Any) -> None:
        """Claims the partitions; until it is done, the group does not go on, and so nobody else can have them."""
        app, consumer = self._app, self._app.consumer
        if any(app.topics.acks_enabled_for(topic) for topic in _TOPICS):
            raise UsageError(f"another agent of the app reads one of {', '.join(_TOPICS)}; it must not (docs/faust.md)")
        check_copartitioned([(tp.topic, tp.partition) for tp in assigned if tp.topic in _TOPICS])
        found = await consumer.seek_to_committed() if assigned else {}
        committed = {(tp.topic, tp.partition): offset for tp, offset in found.items() if tp.topic in _TOPICS}
        generation, within_s = app.consumer_generation_id, app.conf.broker_session_timeout / 2
        begin = await self._call(lambda worker: worker.assigned(committed, generation, within_s))
        self._begin = {TP(*at): offset for at, offset in (begin or {}).items()}
        self._own_seeks(consumer)
        self._claimed.set()

    async def wait_until_claimed(self, *_: Any, **__: Any) -> None:
        """Before Faust seeks and lets records flow."""
        await self._claimed.wait()

    async def revoked(self, *_: Any, **__: Any) -> None:
        """Finishes the micro-batch at hand and commits, while the partitions are still ours."""
        self._claimed.clear()
        self._begin = {}
        await self._leave(lambda worker: worker.revoked(self._commit_offsets))

    async def stop(self, *_: Any, **__: Any) -> None:
        """As `revoked`, for ever; a commit that Kafka does not answer soon is not waited for.

        When the group rebalances in the midst of a stop, Faust closes the connections of its consumer, and then no
        commit is ever answered. What was not committed is taken in again by the next worker.
        """
        giving_up = asyncio.get_running_loop().call_later(_LAST_COMMIT_TIMEOUT_S, self._give_up)
        try:
            await self._leave(lambda worker: worker.close(self._commit_offsets), last=True)
        finally:
            giving_up.cancel()
        self._thread.shutdown(wait=False)

    async def commit(self) -> None:
        """A timer."""
        await self._call(lambda worker: worker.commit(self._commit_offsets))

    async def read_reference(self) -> None:
        """A timer."""
        await self._call(lambda worker: worker.read_reference())

    # --- what it takes

    async def _process(self, records: Sequence[FaustRecord]) -> None:
        await self._call(lambda worker: worker.process(records))

    async def _leave(self, how: Callable[[FaustWorker], None], last: bool = False) -> None:
        if self._worker is not None:
            self._worker.leave()
        await self._call(how, last)

    async def _call(self, call: Callable[[FaustWorker], T], last: bool = False) -> T | None:
        """Runs something in the worker's thread; after the last such call, and after a failure, nothing is run."""
        worker = self._worker
        if worker is None or self._ended:
            return None
        self._ended = last
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call, worker)
        except GaveUp as error:
            log.warning("the store is away while partitions are given back; the micro-batch comes again: %s", error)
        except Exception as error:  # noqa: BLE001
            # To go on would fold the next micro-batch over the hole that this one has left.
            self._ended = True
            log.error("%s; what was not committed will be taken in again by the next worker", error)
            await self._app.crash(error)
        return None

    def _commit_offsets(self, offsets: dict[Partition, int]) -> None:
        """Called in the worker's thread: Faust's consumer commits, in the generation that it is in."""
        told = {TP(*at): offset for at, offset in offsets.items()}
        done = asyncio.run_coroutine_threadsafe(self._app.consumer._commit(told), self._app.loop)
        if not self._ended:
            self._committing = done
        try:
            if not done.result(_LAST_COMMIT_TIMEOUT_S if self._ended else _COMMIT_TIMEOUT_S):
                raise CommitRefused("the group has rebalanced")
        except (TimeoutError, CancelledError) as error:
            done.cancel()
            raise CommitRefused("no answer in time") from error

    def _give_up(self) -> None:
        """The commit that was under way when the end came is not waited for any more."""
        if self._committing is not None:
            self._committing.cancel()

    def _own_seeks(self, consumer: Any) -> None:
        """Makes Faust begin where we begin, whenever it seeks before records flow.

        Faust seeks to the committed offsets K; we begin at min(K, R). And where K is 0 or unknown it leaves the
        position as it is, even when it has just thrown away records that were polled during a rebalance.
        """
        if self._seeker is consumer:
            return
        self._seeker, faust_seek = consumer, consumer.perform_seek

        async def perform_seek() -> None:
            await faust_seek()
            if self._begin:
                await consumer.seek_wait(self._begin)

        consumer.perform_seek = perform_seek
