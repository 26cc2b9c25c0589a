"""Runs a command that ends when its parent does, however the parent ends: `python -m stream.leash GRACE_S CMD ARG…`.

Standard input is a pipe from the parent. When it closes (the parent exited, or was killed) the command is ended, so
that no embedded broker or store is left running. Needs only the standard library, so that it starts fast.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys


def main(grace_s: float, command: list[str]) -> int:
    """Runs `command` until it ends or standard input closes; returns its exit code.

    SIGTERM is passed on. When standard input closes, the command has `grace_s` to end by itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while child.poll() is None:
        ready, _, _ = select.select([0], [], [], 0.2)
        if ready and not os.read(0, 4096):
            break
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        return child.wait(grace_s)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
