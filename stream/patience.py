"""Patience: calls that need the store are made again until it answers, and the worker stays in its group meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from features.store import StoreUnavailable
from stream.metrics import Metrics
from stream.source import Source

log = logging.getLogger(__name__)
T = TypeVar("T")

_RETRY_S = 0.2


class Stopped(Exception):
    """The worker was asked to stop while it waited for the store; the micro-batch was not taken in."""


class Patience:
    """Waits for the store. Knows whether the worker is to stop, and when its loop turned last.

    Args:
        metrics: where waits are counted.

    `source` is held back meanwhile, so memory does not grow; it is set once the worker has one.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.stop = threading.Event()
        self.source: Source | None = None
        self._metrics = metrics
        self._turned = time.monotonic()

    def turn(self) -> None:
        """The loop has turned: it does not hang."""
        self._turned = time.monotonic()

    @property
    def since_turned_s(self) -> float:
        """How long ago the loop turned; waiting for the store counts as turning."""
        return time.monotonic() - self._turned

    def __call__(self, call: Callable[[], T]) -> T:
        """Calls until the store answers.

        Raises:
            Stopped: the worker is to stop.
        """
        try:
            return call()
        except StoreUnavailable as error:
            log.warning("waiting for the store: %s", error)
        answer: list[T] = []

        def busy() -> bool:
            self.turn()
            if self.stop.is_set():
                raise Stopped
            try:
                answer.append(call())
            except StoreUnavailable as error:
                self._metrics.store_waits.inc()
                log.warning("waiting for the store: %s", error)
                time.sleep(_RETRY_S)
                return True
            return False

        if self.source is None:
            while busy():
                pass
        else:
            self.source.pause_while(busy)
        return answer[0]
