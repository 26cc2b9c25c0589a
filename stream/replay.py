"""Replay: an event log onto the input topics, at a given speed-up of event time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.errors import UsageError
from stream.eventlog import REFERENCE_TOPICS, LogRecord, read_records, topic_path, topics_in
from stream.settings import KafkaSettings
from stream.sink import Sink

Progress = Callable[[int, int], None]

_CHECK_EVERY = 64


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did."""

    records: dict[str, int]
    seconds: float


class Pace:
    """Maps event time to wall time.

    Args:
        speed: event seconds a wall second; 0 is as fast as it goes.

    A replay that falls behind catches up; it never skips.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._start_ms: int | None = None
        self._begun = 0.0

    def delay_s(self, event_time_ms: int, now: float) -> float:
        """How long to wait before the event, in seconds; 0 or less: it is due.

        >>> pace = Pace(60)
        >>> pace.delay_s(0, now=0.0), pace.delay_s(60_000, now=0.25)
        (0.0, 0.75)
        """
        if self._speed <= 0:
            return 0.0
        if self._start_ms is None:
            self._start_ms, self._begun = event_time_ms, now
        return (event_time_ms - self._start_ms) / 1000 / self._speed - (now - self._begun)


def replay(
    directory: Path,
    kafka: KafkaSettings,
    speed: float = 0.0,
    topics: Sequence[str] | None = None,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
    before_events: Callable[[], None] | None = None,
) -> Replayed:
    """Publishes an event log: reference topics whole, then events at their pace.

    Args:
        directory: an event log.
        kafka: the broker.
        speed: event seconds a wall second, such as 86,400 for a day a second; 0 is as fast as it goes.
        topics: only these.
        stop: ends the replay early when it is set.
        progress: told the records so far and the event time in ms, a few times a second.
        before_events: called when the reference topics are there and before the first event, such as to wait for
            workers.

    Returns:
        Records by topic, and the seconds that the events took.

    Raises:
        UsageError: the directory is no event log.
        SinkFailed: the broker refused a record.
    """
    wanted = list(topics) if topics is not None else topics_in(directory)
    if not wanted:
        raise UsageError(f"{directory} is no event log: it has no topic; make one with `tidecast import`")
    for topic in wanted:
        topic_path(directory, topic)  # all are there before the first record is sent
    sink, pace = Sink(kafka), Pace(speed)
    reference = [t for t in wanted if t in REFERENCE_TOPICS]
    counts: dict[str, int] = {}
    for record in read_records(directory, reference) if reference else ():
        _produce(sink, record, counts)
    sink.flush()
    if before_events is not None:
        before_events()
    told = begun = time.monotonic()
    events = [t for t in wanted if t not in REFERENCE_TOPICS]
    for total, record in enumerate(read_records(directory, events) if events else ()):
        if total % _CHECK_EVERY == 0 or speed > 0:
            now = time.monotonic()
            if stop is not None and stop.is_set():
                break
            delay = pace.delay_s(record.event_time_ms, now)
            if delay > 0.002:
                sink.poll()
                (stop.wait if stop is not None else time.sleep)(delay)
            if progress is not None and now - told > 0.2:
                progress(total, record.event_time_ms)
                told = now
        _produce(sink, record, counts)
    sink.flush()
    return Replayed(counts, time.monotonic() - begun)


def _produce(sink: Sink, record: LogRecord, counts: dict[str, int]) -> None:
    sink.produce(record.topic, record.key, record.value)
    counts[record.topic] = counts.get(record.topic, 0) + 1
