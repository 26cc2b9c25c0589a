"""The store and the views that a command looks at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stream.errors import UsageError

if TYPE_CHECKING:
    from features.store import Store
    from features.view import View
    from stream.settings import StoreSettings


@contextmanager
def opened(stored: StoreSettings) -> Iterator[Store]:
    """The store of the settings, closed at the end.

    Raises:
        UsageError: no server answers there, or the address is none.
    """
    from features.store import StoreUnavailable
    from features.store.redis import RedisStore

    try:
        store = RedisStore(stored.url, stored.namespace, stored.buckets, stored.timeout_s)
    except (StoreUnavailable, ValueError) as error:
        raise _unreachable(stored, error) from error
    try:
        try:
            store.check_buckets()
        except ValueError as error:
            raise UsageError(str(error)) from error
        yield store
    except StoreUnavailable as error:
        raise _unreachable(stored, error) from error
    finally:
        store.close()


def _unreachable(stored: StoreSettings, error: Exception) -> UsageError:
    return UsageError(f"no Redis or Valkey server answers at {shown(stored)} ({error}); set store.url")


def shown(stored: StoreSettings) -> str:
    """The address without its password."""
    from features.store.redis import without_password

    return without_password(stored.url)


def known_views() -> Mapping[str, View]:
    """The views by name.

    Raises:
        UsageError: a file that should declare a view does not.
    """
    from features.discovery import discover
    from features.errors import ViewError

    try:
        return discover()
    except ViewError as error:
        raise UsageError(str(error)) from error
