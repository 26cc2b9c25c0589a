"""Between Faust's loop and the worker: order, seeks, and what ends the application."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

import stream.faust_app
from stream.errors import UsageError
from stream.faust_app import _Attached, attach, ready_made
from stream.faust_worker import FaustWorker, GaveUp
from stream.settings import Settings, load
from stream.source import CommitRefused
from stream.topology import CONSUMED

TOGETHER = [TP("orders", 0), TP("clicks", 0)]


def settings(*flags: str) -> Settings:
    return load(flags, environ={}).settings


class Consumer:
    """As Faust's, as far as it is used."""

    def __init__(self) -> None:
        self.committed: dict[Any, int | None] = {TP("orders", 0): 7, TP("clicks", 0): None, TP("others", 0): 3}
        self.sought: list[Any] = []
        self.told: list[Any] = []
        self.takes = self.answers = True

    async def seek_to_committed(self) -> dict[Any, int | None]:
        return self.committed

    async def perform_seek(self) -> None:
        self.sought.append("committed")

    async def seek_wait(self, begin: dict[Any, int]) -> None:
        self.sought.append(begin)

    async def _commit(self, offsets: dict[Any, int]) -> bool:
        self.told.append(offsets)
        if not self.answers:
            await asyncio.Event().wait()
        return self.takes


class App:
    """As a Faust app, as far as it is used."""

    def __init__(self) -> None:
        self.consumer = Consumer()
        self.conf = SimpleNamespace(broker_session_timeout=60.0, consumer_auto_offset_reset="latest")
        self.client_only = self.producer_only = self.tables = False
        self.consumer_generation_id = 4
        self.acked = ""
        self.topics = SimpleNamespace(acks_enabled_for=lambda topic: topic == self.acked)
        self.loop = asyncio.get_running_loop()
        self.crashes: list[BaseException] = []

    async def crash(self, error: BaseException) -> None:
        self.crashes.append(error)


class Worker:
    """In place of a `FaustWorker`: notes what is asked of it, and in which thread."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.threads: set[int] = set()
        self.failure: Exception | None = None
        self.refused: list[str] = []
        self.due = False
        self.process_s = 0.0

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        self.threads.add(threading.get_ident())
        if self.failure is not None:
            raise self.failure

    def leave(self) -> None:
        self.calls.append(("leave",))

    def assigned(self, committed: dict[Any, int | None], generation: int, within_s: float) -> dict[Any, int]:
        self._note("assigned", committed, generation, within_s)
        return {("orders", 0): 5, ("clicks", 0): 0}

    def revoked(self, commit_offsets: Callable[[dict[Any, int]], None]) -> None:
        self._note("revoked")
        commit_offsets({("orders", 0): 9})

    def process(self, records: list[Any]) -> None:
        self._note("process", records)
        time.sleep(self.process_s)

    def read_reference(self) -> None:
        self._note("read_reference")

    def commit(self, commit_offsets: Callable[[dict[Any, int]], None]) -> None:
        self._note("commit")
        try:
            commit_offsets({("orders", 0): 8})
        except CommitRefused as error:
            self.refused.append(str(error))

    def close(self, commit_offsets: Callable[[dict[Any, int]], None]) -> None:
        self._note("close")
        if self.due:
            self.commit(commit_offsets)


def run(test: Callable[[App, Worker, _Attached], Awaitable[None]]) -> None:
    """Runs a test in a loop of its own."""

    async def go() -> None:
        app, worker = App(), Worker()
        attached = _Attached(app, settings())
        attached._worker = cast(FaustWorker, worker)
        try:
            await asyncio.wait_for(test(app, worker, attached), 20)
        finally:
            attached._thread.shutdown()

    asyncio.run(go())


def test_exactly_once_is_refused() -> None:
    with pytest.raises(UsageError, match="at least once"):
        attach(object(), settings("worker.delivery=exactly_once"))


def test_the_ready_made_app_has_the_brokers_and_the_group_of_the_settings() -> None:
    servers = "kafka.bootstrap_servers=a:1, b:2"
    app = ready_made(settings(servers, "kafka.group_id=shop", "kafka.session_timeout_ms=100000"))
    assert [str(url) for url in app.conf.broker] == ["kafka://a:1", "kafka://b:2"]
    assert (app.conf.id, app.conf.broker_session_timeout, app.conf.broker_request_timeout) == ("shop", 100.0, 100.0)
    agent = app.agents["tidecast"]
    assert set(agent.channel.topics) == {t.name for t in CONSUMED}
    assert not agent.channel.acks, "Faust must commit none of their offsets"


def test_properties_that_faust_does_not_know_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"security\.protocol"):
        ready_made(settings('kafka.extra={"security.protocol": "SSL"}'))


def test_the_module_has_an_app_only_when_it_is_asked_for() -> None:
    assert "app" not in vars(stream.faust_app)
    with pytest.raises(AttributeError, match="no attribute 'ap'"):
        _ = stream.faust_app.ap


def test_partitions_begin_where_the_worker_says_however_faust_seeks() -> None:
    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        await attached.assigned(app, {*TOGETHER, TP("others", 0)})
        assert worker.calls == [("assigned", {("orders", 0): 7, ("clicks", 0): None}, 4, 30.0)]
        await attached.assigned(app, {*TOGETHER, TP("others", 0)})
        await app.consumer.perform_seek()
        assert app.consumer.sought == ["committed", {TP("orders", 0): 5, TP("clicks", 0): 0}]

    run(test)


def test_records_do_not_flow_before_the_partitions_are_claimed() -> None:
    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        flowing = asyncio.create_task(attached.wait_until_claimed())
        await asyncio.sleep(0)
        assert not flowing.done()
        await attached.assigned(app, set(TOGETHER))
        await flowing
        await attached.revoked(app, set(TOGETHER))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(attached.wait_until_claimed(), 0.01)

    run(test)


def test_a_revoke_commits_in_the_group_and_seeks_nothing_any_more() -> None:
    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        await attached.assigned(app, set(TOGETHER))
        await attached.revoked(app, set(TOGETHER))
        assert worker.calls[1:] == [("leave",), ("revoked",)]
        assert app.consumer.told == [{TP("orders", 0): 9}]
        await app.consumer.perform_seek()
        assert app.consumer.sought == ["committed"]

    run(test)


def test_offsets_that_the_group_refuses_are_told_to_the_worker() -> None:
    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        app.consumer.takes = False
        await attached.revoked(app)
        assert [str(error) for error in app.crashes] == ["the group has rebalanced"]
        assert isinstance(app.crashes[0], CommitRefused)

    run(test)


def test_topics_that_another_agent_reads_are_refused() -> None:
    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        app.acked = "clicks"
        with pytest.raises(UsageError, match="another agent"):
            await attached.assigned(app, set(TOGETHER))
        assert worker.calls == []

    run(test)


def test_all_calls_run_in_one_thread_that_is_not_the_loops() -> None:
    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        await asyncio.gather(attached._process([]), attached.read_reference(), attached.assigned(app, set(TOGETHER)))
        assert len(worker.threads) == 1
        assert threading.get_ident() not in worker.threads

    run(test)


def test_after_a_failure_nothing_is_taken_in_any_more() -> None:
    """Not even to commit: the next micro-batch would be folded over the hole that the failed one has left."""

    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        worker.failure = RuntimeError("broken")
        await attached._process([])
        worker.failure = None
        await attached._process([])
        await attached.revoked(app)
        await attached.stop(app)
        assert worker.calls == [("process", []), ("leave",), ("leave",)]
        assert [str(error) for error in app.crashes] == ["broken"]

    run(test)


def test_a_batch_that_was_given_up_ends_nothing() -> None:
    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        worker.failure = GaveUp("the store is away")
        await attached._process([])
        worker.failure = None
        await attached.revoked(app)
        assert worker.calls == [("process", []), ("leave",), ("revoked",)]
        assert app.crashes == []

    run(test)


def test_nothing_is_called_after_the_end() -> None:
    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        await asyncio.gather(attached.stop(app), attached.read_reference(), attached._process([]))
        assert worker.calls == [("leave",), ("close",)]

    run(test)


@pytest.mark.parametrize("under_way", [False, True])
def test_an_end_does_not_wait_for_a_commit_that_nobody_answers(
    under_way: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Faust has closed the consumer's connections, because the group rebalances in the midst of the stop."""
    monkeypatch.setattr("stream.faust_app._LAST_COMMIT_TIMEOUT_S", 0.2)

    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        app.consumer.answers, worker.due = False, True
        before = [asyncio.create_task(attached.commit())] if under_way else []
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        await asyncio.gather(attached.stop(app), *before)
        assert time.monotonic() - begun < 5
        assert worker.refused == ["no answer in time"] * (1 + under_way)
        assert app.crashes == []

    run(test)


def test_a_last_batch_may_take_longer_than_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it did is committed all the same."""
    monkeypatch.setattr("stream.faust_app._LAST_COMMIT_TIMEOUT_S", 0.2)

    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        worker.due, worker.process_s = True, 0.6
        batch = asyncio.create_task(attached._process([]))
        await asyncio.sleep(0.05)
        await asyncio.gather(attached.stop(app), batch)
        assert app.consumer.told == [{TP("orders", 0): 8}]
        assert worker.refused == []

    run(test)


def test_what_must_be_put_right_ends_the_start_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        with pytest.raises(SystemExit) as ended:
            await attached.open()
        assert ended.value.code == 2

    run(test)
    assert "consumer_auto_offset_reset='latest'" in capsys.readouterr().err


def test_an_app_that_only_sends_needs_no_worker() -> None:
    async def test(app: App, worker: Worker, attached: _Attached) -> None:
        attached._worker = None
        app.producer_only = True
        await attached.open()
        await attached.stop(app)
        assert worker.calls == []

    run(test)
