"""A worker with a stopwatch: CPU time by stage, `python -m benchmarks.stopwatch FILE`.

Runs `tidecast run` in this process with the worker's parts wrapped; the engine itself knows nothing of it. Counts the
CPU time of the worker's own thread, each moment to the innermost stage. SIGUSR1 begins anew (says `begun`); at SIGTERM
the figures are written to FILE as JSON. Wrapping costs time of its own, which is measured and told.
"""

from __future__ import annotations

import importlib
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

#: What is timed, by stage: `module:name` as it is looked up when it is called.
STAGES: dict[str, tuple[str, ...]] = {
    "poll": ("stream.source:Source.poll",),
    "decode": ("stream.decode:Decoder.decode",),
    "duplicates": ("stream.commit:drop_duplicates",),
    "micro-batch": ("stream.fold:feeds_of",),
    "store read": ("features.store.redis:RedisStore.load_all", "features.store.redis:RedisStore.names"),
    "load": ("stream.fold:State.load",),
    "fold": ("stream.fold:State.fold",),
    "assemble": (
        "stream.scorers.reorder:reorder_rows",
        "stream.scorers.stockout:stockout_rows",
        "stream.scorers.next_best_offer:offer_rows",
    ),
    "onnx": ("models.session:Session.run",),
    "reorder records": ("stream.scorers.reorder:ReorderScorer.score",),
    "offer records": ("stream.scorers.next_best_offer:NextBestOfferScorer.score",),
    "stock-out records": ("stream.scorers.stockout:StockoutScorer.score",),
    "feature log": ("stream.featurelog:FeatureLog.vectors",),
    "score": ("stream.score:Scoring.score",),
    "pack": ("stream.commit:Commit._changed",),
    "write": ("stream.commit:Commit._write",),
    "store write": ("features.store.redis:RedisStore.commit", "features.store.redis:RedisStore.remember_names"),
    "produce": ("stream.commit:Commit._produce",),
    "commit": ("stream.commit:Commit.commit",),
    "encode": (),
}
#: What is in no stage: the loop, metrics, reference data.
REST = "loop"


class Profile(msgspec.Struct, frozen=True):
    """Seconds by stage, how often each was entered, and what one entry costs that is not the stage's."""

    seconds: dict[str, float]
    entered: dict[str, int]
    entry_s: float


class Stopwatch:
    """Counts CPU time of the thread to the innermost stage.

    >>> watch = Stopwatch()
    >>> watch.around("sum", sum)([1, 2]), watch.profile().entered
    (3, {'sum': 1})
    """

    def __init__(self) -> None:
        self._stages = [REST]
        self.begin()

    def begin(self) -> None:
        """Begins anew."""
        self._spent_ns: dict[str, int] = {}
        self._entered: dict[str, int] = {}
        self._since = time.thread_time_ns()

    def _turn(self) -> None:
        now = time.thread_time_ns()
        stage = self._stages[-1]
        self._spent_ns[stage] = self._spent_ns.get(stage, 0) + now - self._since
        self._since = now

    def around(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._turn()
            self._stages.append(stage)
            try:
                return call(*args, **kwargs)
            finally:
                self._turn()
                self._stages.pop()
                self._entered[stage] = self._entered.get(stage, 0) + 1

        return timed

    def wrap(self, stage: str, place: str) -> None:
        """Puts the timed call in the place of a function or method, `module:name` or `module:class.name`."""
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner = importlib.import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, name, self.around(stage, getattr(owner, name)))

    def profile(self) -> Profile:
        """The figures so far."""
        self._turn()
        seconds = {stage: ns / 1e9 for stage, ns in self._spent_ns.items()}
        return Profile(seconds, dict(self._entered), _entry_s())


def _entry_s(times: int = 20_000) -> float:
    """What an entry costs outside of its stage and in it, with nothing to do."""
    watch = Stopwatch.__new__(Stopwatch)
    watch._stages = [REST]
    watch.begin()
    timed = watch.around("nothing", lambda: None)
    begun = time.thread_time()
    for _ in range(times):
        timed()
    return (time.thread_time() - begun) / times


def main() -> None:
    watch = Stopwatch()
    encoder = msgspec.json.Encoder

    class Encoder:
        """Times every encoder, whichever part has it."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.encode = watch.around("encode", encoder(*args, **kwargs).encode)

    # Before any part is imported.
    setattr(msgspec.json, "Encoder", Encoder)  # noqa: B010
    for stage, places in STAGES.items():
        for place in places:
            watch.wrap(stage, place)
    from stream.cli.run import run

    def begin(*_: Any) -> None:
        watch.begin()
        print("begun", flush=True)

    signal.signal(signal.SIGUSR1, begin)
    run()
    Path(sys.argv[1]).write_bytes(msgspec.json.encode(watch.profile()))


if __name__ == "__main__":
    main()
