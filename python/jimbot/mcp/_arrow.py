"""Batches as Arrow record batches, where pyarrow is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jimbot.mcp._layout import INDEX_DTYPE

if TYPE_CHECKING:
    import pyarrow

    from jimbot.mcp.batch import Batch

# Where an event lies in the payload means nothing once its bytes stand in a column.
_COLUMNS = tuple(name for name in INDEX_DTYPE.names or () if name not in ("offset", "length", "reserved"))


def record_batch(batch: Batch) -> pyarrow.RecordBatch:
    """The batch's chosen events: a column for each field of the index, and ``event`` with their bytes."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ImportError("to_arrow() needs pyarrow: pip install 'jimbot[arrow]'") from error
    owned = batch.copy()
    index, payload = owned.index, owned.payload
    arrays = [pa.array(np.ascontiguousarray(index[name])) for name in _COLUMNS]
    begins = index["offset"].tolist()
    lengths = index["length"].tolist()
    events = [payload[begin : begin + length] for begin, length in zip(begins, lengths)]
    arrays.append(pa.array(events, type=pa.binary()))
    return pa.RecordBatch.from_arrays(arrays, names=[*_COLUMNS, "event"])
