"""The crew: the workers of a run, started again when they end, as a supervisor would."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.messages import Fork
from tests.faults.processes import Line, Process

#: A supervisor waits a little, longer from time to time, and does not try for ever.
_RESTART_S, _RESTART_MOST_S = 0.25, 2.0
MAX_STARTS = 25


@dataclass
class Worker:
    """A place in the crew; the processes that have filled it, the newest last.

    Args:
        number: from 1.
        environment: what its processes have beside the crew's.
        supervised: whether it is started again when it ends.
    """

    number: int
    environment: dict[str, str]
    supervised: bool = True
    processes: list[Process] = field(default_factory=list)
    due: float = 0.0

    @property
    def process(self) -> Process:
        """The one at work, or the last that was."""
        return self.processes[-1]

    @property
    def runs(self) -> bool:
        """Whether there is one at work."""
        return bool(self.processes) and self.process.runs

    def said(self) -> str:
        """Its logs, the oldest first."""
        return "".join(p.said() for p in self.processes)

    @property
    def codes(self) -> list[int]:
        """How its processes ended."""
        return [p.code for p in self.processes if p.code is not None]


class Crew:
    """The workers of a run; call `turn` often.

    Args:
        line: starts processes.
        directory: for their logs.
        environment: settings of all of them.
        mutation: see `Fork`.
    """

    def __init__(self, line: Line, directory: Path, environment: Mapping[str, str], mutation: str = "") -> None:
        self._line, self._directory, self._mutation = line, directory, mutation
        self.environment = dict(environment)
        self.clock_shift_s = 0.0
        self.workers: list[Worker] = []

    def add(self, **environment: str) -> Worker:
        """One more worker."""
        worker = Worker(len(self.workers) + 1, environment)
        self.workers.append(worker)
        self._start(worker)
        return worker

    def _start(self, worker: Worker) -> None:
        log = self._directory / f"worker-{worker.number}.{len(worker.processes) + 1}.log"
        given = {**self.environment, **worker.environment}
        if worker.processes:
            given.pop("TIDECAST_FAIL_POINT", None)  # it is for the first of them
        worker.processes.append(self._line.start(Fork(str(log), given, self._mutation, self.clock_shift_s)))
        worker.due = 0.0

    def turn(self) -> None:
        """Hears who has ended, and starts anew who is to go on."""
        self._line.hear()
        now = time.monotonic()
        for worker in self.workers:
            if not worker.supervised or worker.runs:
                continue
            if not worker.due:
                worker.due = now + min(_RESTART_S * 1.3 ** len(worker.processes), _RESTART_MOST_S)
            elif now >= worker.due and len(worker.processes) < MAX_STARTS:
                self._start(worker)

    @property
    def running(self) -> list[Worker]:
        """Those at work, frozen ones among them."""
        return [w for w in self.workers if w.runs]

    def remove(self, worker: Worker) -> None:
        """Asks it to finish; nobody takes its place."""
        worker.supervised = False
        worker.process.send(signal.SIGCONT)
        worker.process.send(signal.SIGTERM)

    @property
    def exhausted(self) -> list[Worker]:
        """Those that ended more often than a supervisor puts up with."""
        return [w for w in self.workers if w.supervised and not w.runs and len(w.processes) >= MAX_STARTS]

    def said(self) -> str:
        """All logs, each under its name."""
        every = [p for w in self.workers for p in w.processes]
        return "\n".join(f"--- {p.log.name} ({p.signals}, ended {p.code})\n{p.said()}" for p in every)
