"""Errors that are for the person who called, not for a stack trace."""

from __future__ import annotations


class UsageError(Exception):
    """Something the person who called must put right; the command line prints it and exits with 2.

    The message says what was wrong, where (file, key, line), and what to do.

    >>> raise UsageError("orders.toml: [time] has no column; name the column that holds the time")
    Traceback (most recent call last):
        ...
    stream.errors.UsageError: orders.toml: [time] has no column; name the column that holds the time
    """
