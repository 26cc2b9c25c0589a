"""What a forked process does to be a worker: the command line's `tidecast run`, with what a test wants to see of it."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
import traceback
from typing import NoReturn

import features.store.redis
import stream.admin
import stream.metrics
import stream.score
import stream.worker
from stream import failpoints
from stream.cli import main
from stream.warmup import warm_up
from tests.faults import mutations
from tests.faults.messages import Fork

#: `tidecast run` imports them when it runs; here they are there before the fork.
_PRELOADED = (features.store.redis, stream.admin, stream.metrics, stream.score, stream.worker)


def prepare() -> None:
    """All that a worker does before it needs a broker, a store or a model."""
    assert all(_PRELOADED)
    warm_up()  # a worker does it again, and finds it done


def run(request: Fork) -> NoReturn:
    """Becomes the worker; ends with the exit code of the command.

    It ends as a process does that has flushed its output: interpreter clean-up would wait for threads that the zygote
    never had.
    """
    os.environ.clear()
    os.environ.update(request.environment)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    _let_the_clock_jump(request.clock_shift_s)
    if request.mutation:
        mutations.apply(request.mutation)
    failpoints.read_again()
    sys.argv = ["tidecast", "run", "--verbose"]
    code = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _let_the_clock_jump(shift_s: float) -> None:
    """SIGUSR2 shifts the wall clock that Python sees, as an administrator or NTP would; the monotonic one stays."""
    real, shifted = time.time, [0.0]

    def jump(*_: object) -> None:
        shifted[0] += shift_s

    if shift_s:
        signal.signal(signal.SIGUSR2, jump)
        time.time = lambda: real() + shifted[0]
