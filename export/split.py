"""The time split: train, validation and test by as-of time, with gaps as long as a label reaches."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.errors import UsageError
from features.aggregations.base import DAY_MS

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Split:
    """Boundaries in event time; each part holds rows with from ≤ as-of < until.

    A model is chosen on `train` against `validation`, then fitted again on everything before `fit_until_ms`. A label
    reaches at most `horizon_days` past its as-of time, so no label of train touches validation, and none of either
    touches the test.
    """

    first_ms: int
    train_until_ms: int
    validation_from_ms: int
    fit_until_ms: int
    test_from_ms: int
    test_until_ms: int
    horizon_days: int

    def starting(self, test_from_ms: int) -> Split:
        """The same parts, moved so that the test begins at another time and ends with the log's.

        Raises:
            UsageError: that leaves less than 30 days for training, or nothing to test.
        """
        moved = test_from_ms - self.test_from_ms
        if test_from_ms >= self.test_until_ms or self.train_until_ms + moved - self.first_ms < 30 * DAY_MS:
            earliest = date_of(self.test_from_ms - self.train_until_ms + self.first_ms + 31 * DAY_MS)
            raise UsageError(
                f"the test can't begin on {date_of(test_from_ms)}: this event log allows {earliest} to "
                f"{date_of(self.test_until_ms - 1)}"
            )
        return Split(
            self.first_ms,
            self.train_until_ms + moved,
            self.validation_from_ms + moved,
            self.fit_until_ms + moved,
            test_from_ms,
            self.test_until_ms,
            self.horizon_days,
        )

    def train(self, as_of_ms: NDArray[np.int64]) -> Mask:
        """Rows to choose the model on."""
        return np.asarray(as_of_ms < self.train_until_ms)

    def validation(self, as_of_ms: NDArray[np.int64]) -> Mask:
        """Rows to stop and to calibrate on."""
        return np.asarray((as_of_ms >= self.validation_from_ms) & (as_of_ms < self.fit_until_ms))

    def fit(self, as_of_ms: NDArray[np.int64]) -> Mask:
        """Rows of the final fit."""
        return np.asarray(as_of_ms < self.fit_until_ms)

    def test(self, as_of_ms: NDArray[np.int64]) -> Mask:
        """Rows that are looked at once, at the end."""
        return np.asarray((as_of_ms >= self.test_from_ms) & (as_of_ms < self.test_until_ms))


def date_of(time_ms: int) -> str:
    """The UTC date of an event time.

    >>> date_of(86_400_000)
    '1970-01-02'
    """
    return dt.datetime.fromtimestamp(time_ms / 1000, tz=dt.UTC).date().isoformat()


def split_of(first_ms: int, last_ms: int, horizon_days: int, test_days: int = 16, validation_days: int = 31) -> Split:
    """The split that uses a log up to its end.

    Args:
        first_ms, last_ms: event times of the first and last order of the log.
        horizon_days: how far a label reaches past its as-of time.
        test_days, validation_days: lengths of these parts.

    Raises:
        UsageError: the log is too short to leave 30 days for training.

    >>> day = 86_400_000
    >>> split = split_of(0, 365 * day - 1, horizon_days=30)
    >>> split.test_until_ms // day, split.test_from_ms // day, split.fit_until_ms // day, split.train_until_ms // day
    (335, 319, 289, 228)
    """
    end = (last_ms // DAY_MS + 1) * DAY_MS
    test_until = end - horizon_days * DAY_MS
    test_from = test_until - test_days * DAY_MS
    fit_until = test_from - horizon_days * DAY_MS
    validation_from = fit_until - validation_days * DAY_MS
    train_until = validation_from - horizon_days * DAY_MS
    if train_until - first_ms < 30 * DAY_MS:
        needed = 30 + 3 * horizon_days + test_days + validation_days
        raise UsageError(
            f"the event log spans {date_of(first_ms)} to {date_of(last_ms)}: too short for a time split; "
            f"this model needs at least {needed} days of orders"
        )
    return Split(first_ms, train_until, validation_from, fit_until, test_from, test_until, horizon_days)
