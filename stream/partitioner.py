"""The partition of a key, as Kafka's own clients choose it: murmur2.

Source: org.apache.kafka.common.utils.Utils.murmur2 (the algorithm: A. Appleby, MurmurHash2).
"""

from __future__ import annotations

import functools

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Murmur2 with Kafka's seed, as an unsigned 32-bit number.

    >>> murmur2(b"21"), murmur2(b"foobar")
    (3321034988, 3504634814)
    """
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


@functools.lru_cache(maxsize=1 << 20)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key on a topic of so many.

    >>> partition_of(b"17850", 1)
    0
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions
