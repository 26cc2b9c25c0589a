"""Clock: how far event time has come in a partition, and the ticks that it brought. Kept beside the fence, by bucket.

A **tick** at T is due at the first record whose event time moves the partition's watermark to T, a multiple of the
period, or beyond; of several multiples at once, at the last. A **step** is a record at which entities are scored as of
the tick: the tick's own record, and as many of those that follow it in the partition as there are entities left. Where
ticks and steps are is decided by the log alone. Pure.
"""

from __future__ import annotations

import msgspec

from stream.ageing import STEPS


class Step(msgspec.Struct, frozen=True, array_like=True):
    """A record at which entities are scored as of a tick: its offset, the tick, its number among those of the tick."""

    offset: int
    tick_ms: int
    number: int


class Clock(msgspec.Struct, frozen=True, array_like=True):
    """Of one partition in one bucket, as of the fence.

    Args:
        newest_ms: the watermark; 0: none yet.
        tick_ms: the newest tick.
        following: the number of its next step; 0: nothing is left of it.
        steps: those at or past K that scored something: a restart publishes them again.
    """

    newest_ms: int = 0
    tick_ms: int = 0
    following: int = 0
    steps: tuple[Step, ...] = ()

    def step_at(self, offset: int, event_time_ms: int, newest_ms: int, period_ms: int) -> Step | None:
        """The step at a record past the fence.

        Args:
            offset, event_time_ms: of the record.
            newest_ms: the watermark before it.

        >>> clock = Clock(newest_ms=19)
        >>> clock.step_at(7, 42, 19, period_ms=10), clock.step_at(7, 18, 19, period_ms=10)
        (Step(offset=7, tick_ms=40, number=0), None)
        """
        tick_ms = event_time_ms // period_ms * period_ms
        if 0 < newest_ms < tick_ms:
            return Step(offset, tick_ms, 0)
        return Step(offset, self.tick_ms, self.following) if self.following else None

    def again(self, offset: int) -> Step | None:
        """The step at a record before the fence, if it scored something."""
        return next((step for step in self.steps if step.offset == offset), None)

    def moved(self, newest_ms: int) -> Clock:
        """After records without a step."""
        return msgspec.structs.replace(self, newest_ms=max(self.newest_ms, newest_ms))

    def stepped(self, step: Step, scored: bool, left: bool) -> Clock:
        """After a step.

        Args:
            scored: it scored something.
            left: there may be more of the tick. Beyond the steps that can be told apart it is left to the next tick.
        """
        following = step.number + 1 if left and step.number + 1 < STEPS else 0
        steps = (*self.steps, step) if scored else self.steps
        return Clock(self.newest_ms, step.tick_ms, following, steps)

    def since(self, published_to: int) -> Clock:
        """Without the steps before K.

        >>> Clock(steps=(Step(4, 10, 0), Step(5, 10, 1))).since(5).steps
        (Step(offset=5, tick_ms=10, number=1),)
        """
        if self.steps and self.steps[0].offset < published_to:
            kept = tuple(step for step in self.steps if step.offset >= published_to)
            return msgspec.structs.replace(self, steps=kept)
        return self


pack = msgspec.json.Encoder().encode
_DECODER = msgspec.json.Decoder(Clock)


def unpack(packed: bytes) -> Clock:
    """A clock as a fence has it; a new one where it has none.

    >>> unpack(pack(Clock(5, 4))), unpack(b"").newest_ms
    (Clock(newest_ms=5, tick_ms=4, following=0, steps=()), 0)
    """
    return _DECODER.decode(packed) if packed else Clock()
