"""The store: packed records, latest scores and fences; in memory for tests and replay, on Redis or Valkey to serve."""

from features.store.base import Fence, FenceConflict, FenceMove, Record, Store, StoreUnavailable, Write
from features.store.memory import MemoryStore

__all__ = [
    "Fence",
    "FenceConflict",
    "FenceMove",
    "MemoryStore",
    "Record",
    "Store",
    "StoreUnavailable",
    "Write",
]
