"""The store: packed records, latest scores and fences; in memory for tests and replay, on Redis or Valkey to serve."""

from features.store.base import (
    Entry,
    Fence,
    FenceConflict,
    FenceMove,
    Guard,
    Patch,
    Record,
    Span,
    Store,
    StoreUnavailable,
    Tick,
    Usage,
    Wanted,
    Write,
)
from features.store.memory import MemoryStore

__all__ = [
    "Entry",
    "Fence",
    "FenceConflict",
    "FenceMove",
    "Guard",
    "MemoryStore",
    "Patch",
    "Record",
    "Span",
    "Store",
    "StoreUnavailable",
    "Tick",
    "Usage",
    "Wanted",
    "Write",
]
