"""Runs the demonstration: services, topics, a worker, a replay and the observer; ends them all."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.live import Live

from stream.admin import GroupProgress, create_topics
from stream.demo.dashboard import Dashboard
from stream.demo.observer import Observer
from stream.embedded import Embedded, free_port, leashed
from stream.errors import UsageError
from stream.settings import Settings, load

DATA = Path(__file__).parent / "data" / "online_retail.parquet"
if TYPE_CHECKING:
    from stream.replay import Replayed

_SETTLE_S = 120.0
_QUIET_TURNS = 3
_WORKER_GRACE_S = 15.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the person asked for.

    Args:
        orders: how many placed orders to replay; None is all.
        speed: event seconds a wall second; 0 is as fast as it goes.
        seed: of all that is simulated.
        headless: no dashboard.
        json: where to write the summary.
        cache: where event logs are kept between runs.
        partitions: of the topics.
    """

    orders: int | None
    speed: float
    seed: int
    headless: bool
    json: Path | None
    cache: Path
    partitions: int = 4


class Demo:
    """One run.

    Args:
        options: what the person asked for.
        console: told how it goes.
        more: environment variables of the worker.
        after: called with the settings and the event log when the worker has done all, and services still run.
    """

    def __init__(
        self,
        options: DemoOptions,
        console: Console,
        more: Mapping[str, str] | None = None,
        after: Callable[[Settings, Path], None] | None = None,
    ) -> None:
        self._options, self._console = options, console
        self._more, self._after = more or {}, after
        self._stop = threading.Event()
        self._begun = time.monotonic()
        self._replayed: Replayed | None = None
        self._failure: BaseException | None = None
        self._first_score_s: float | None = None

    def run(self) -> dict[str, Any]:
        """Runs to the end of the log, or to Ctrl-C; returns the summary.

        Raises:
            UsageError: something could not start; the message says what.
        """
        with Embedded() as services:
            port = {"TIDECAST_METRICS__PORT": str(free_port())}
            environment = {**os.environ, **services.environment(), **port, **self._more}
            settings = load(environ=environment).settings
            create_topics(settings.kafka, self._options.partitions)
            log = Path(self._options.cache) / "worker.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            worker = self._start_worker(environment, log)
            try:
                events = self._event_log()
                summary = self._watch(settings, events, worker, log)
                if self._after is not None:
                    self._after(settings, events)
                return summary
            finally:
                self._stop.set()
                _end(worker)

    def _event_log(self) -> Path:
        from stream.imports import build_event_log  # polars loads while the worker starts

        o = self._options
        directory = o.cache / f"online-retail-{o.orders or 'all'}-seed{o.seed}"
        with self._console.status("making the event log: real orders, simulated clicks, stock and offers …"):
            build_event_log("online-retail", DATA, directory, o.orders, o.seed)
        return directory

    def _start_worker(self, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(
                leashed([sys.executable, "-m", "stream.cli", "run"], grace_s=_WORKER_GRACE_S),
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _replay(self, settings: Settings, events: Path) -> None:
        from stream.replay import replay

        try:
            self._replayed = replay(
                events,
                settings.kafka,
                self._options.speed,
                stop=self._stop,
                before_events=lambda: self._wait_for_worker(settings.metrics.port),
            )
        except BaseException as error:  # noqa: BLE001
            self._failure = error

    def _wait_for_worker(self, port: int) -> None:
        """Until it has its partitions, so that latencies are those of a running worker."""
        url = f"http://127.0.0.1:{port}/readyz"
        deadline = time.monotonic() + _SETTLE_S
        while not self._stop.wait(0.05):
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):
                return
            if time.monotonic() > deadline:
                raise UsageError(f"the worker had no partitions within {_SETTLE_S:.0f} s")

    def _watch(self, settings: Settings, events: Path, worker: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
        observer = Observer(settings.kafka, settings.worker.late_after_ms)
        thread = threading.Thread(target=self._replay, args=(settings, events), daemon=True)
        thread.start()
        days = self._options.speed / 86_400
        speed = f"{days:g} day{'' if days == 1 else 's'} a second" if days else "as fast as it goes"
        note = f"real orders (UCI Online Retail), simulated clicks, stock and offers; {speed}; Ctrl-C stops"
        dashboard = Dashboard(observer, note)

        def turn() -> None:
            observer.poll()
            if worker.poll() is not None:
                tail = log.read_text(errors="replace")[-1500:]
                raise UsageError(f"the worker ended with code {worker.returncode}; its log {log} ends with:\n{tail}")
            if self._failure is not None:
                raise self._failure
            if self._first_score_s is None and observer.latency_ms:
                self._first_score_s = time.monotonic() - self._begun
                self._console.print(f"first score after {self._first_score_s:.1f} s", style="dim", highlight=False)

        try:
            if self._options.headless:
                self._until_done(turn, thread, settings, observer, lambda: None)
            else:
                with Live(console=self._console, refresh_per_second=4, transient=False) as live:
                    self._until_done(turn, thread, settings, observer, lambda: live.update(dashboard.render()))
        except KeyboardInterrupt:
            self._console.print("stopping", style="dim")
        finally:
            self._stop.set()
            thread.join(30)
        wall_s = time.monotonic() - self._begun
        summary = observer.summary(wall_s, self._replayed.seconds if self._replayed else wall_s)
        observer.close()
        if self._options.json is not None:
            self._options.json.write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
        return summary

    def _until_done(
        self,
        turn: Callable[[], None],
        thread: threading.Thread,
        settings: Settings,
        observer: Observer,
        draw: Callable[[], None],
    ) -> None:
        """Until the replay is over, the worker has committed all of it, and all that it published has been read."""
        progress = GroupProgress(settings.kafka)
        drawn, deadline, quiet = 0.0, float("inf"), 0
        try:
            while quiet < _QUIET_TURNS:
                turn()
                now = time.monotonic()
                if now - drawn > 0.25:
                    draw()
                    drawn = now
                if thread.is_alive():
                    deadline = now + _SETTLE_S
                elif now > deadline:
                    raise UsageError(f"the worker did not finish within {_SETTLE_S:.0f} s after the replay")
                else:
                    still = (
                        observer.poll(0.1) == 0 and progress.behind(observer.ends()) == 0 and self._all_read(observer)
                    )
                    quiet = quiet + 1 if still else 0
            draw()
        finally:
            progress.close()

    def _all_read(self, observer: Observer) -> bool:
        replayed = self._replayed.records if self._replayed else {}
        return all(observer.counts[topic] >= n for topic, n in replayed.items())


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Lets go of the leash: the worker gets SIGTERM and its grace period, then SIGKILL."""
    if worker.stdin is not None:
        worker.stdin.close()
    worker.wait(_WORKER_GRACE_S + 10)
