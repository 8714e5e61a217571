"""How an index entry lies in the log, as a NumPy type. ``python/tests`` hold it against the native module."""

import numpy as np

INDEX_DTYPE = np.dtype(
    [
        ("sequence", "<u8"),
        ("offset", "<u4"),
        ("length", "<u4"),
        ("event_type", "<u2"),
        ("flags", "<u2"),
        ("priority", "u1"),
        ("dialect", "u1"),
        ("reserved", "<u2"),
        ("game_key", "<u8"),
        ("session", "<u8"),
        ("id_hash", "<u8"),
        ("producer_time", "<f8"),
        ("receive_time_unix_ns", "<u8"),
    ]
)
"""One index entry, 64 bytes. ``offset`` and ``length`` cut the event out of ``batch.payload``."""

if INDEX_DTYPE.itemsize != 64:  # pragma: no cover - a fact about this file
    raise ImportError("an index entry has 64 bytes")
