"""Errors that commands show to people; a module of their own, since the others take a second to load."""

from __future__ import annotations


class ViewError(Exception):
    """A file that should declare a view does not. The message says which and what is wrong."""
