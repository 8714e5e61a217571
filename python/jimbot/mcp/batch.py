"""One batch of events, as it lies in the log."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np
import numpy.typing as npt

from jimbot.mcp import _native
from jimbot.mcp._layout import INDEX_DTYPE
from jimbot.proto.base_pb2 import Event

if TYPE_CHECKING:
    import pyarrow


class Batch:
    """Events that became visible together.

    ``index`` and ``payload`` are read-only views of the log itself: nothing is copied, and a view that is alive pins
    the batch. Of a *reliable* reader it holds the writer; of a *lossy* one it may be overwritten while it is looked
    at, which :meth:`check` tells and the view can't. :meth:`copy` gives a batch that is yours.

    With filters set, ``index``, ``len()``, :meth:`events` and :meth:`copy` have the chosen events only; ``payload``
    has them all, so that the index's offsets hold.
    """

    __slots__ = ("_native",)

    def __init__(self, native: _native.Batch) -> None:
        self._native = native

    def __len__(self) -> int:
        return self._native.count

    @property
    def log_epoch(self) -> int:
        """The log's instance epoch: (``log_epoch``, sequence) is an event's identity, for ever."""
        return self._native.log_epoch

    @property
    def first_sequence(self) -> int:
        """The sequence of the frame's first event."""
        return self._native.first_sequence

    @property
    def next_sequence(self) -> int:
        """The sequence behind the frame's last event."""
        return self._native.next_sequence

    @property
    def missed_before(self) -> int:
        """How many events were lost to this reader directly before this batch; 0 but for lossy readers."""
        return self._native.missed_before

    @property
    def committed_unix_ns(self) -> int:
        """When the batch became visible, in nanoseconds since 1970 by the service's clock."""
        return self._native.commit_unix_ns

    @property
    def recovered(self) -> bool:
        """The service was killed while this batch was open, and committed it when it started again."""
        return self._native.recovered

    @property
    def index(self) -> npt.NDArray[np.void]:
        """One entry of 64 bytes an event (:data:`jimbot.mcp.INDEX_DTYPE`), read-only.

        A view of the log; a copy where filters left events out. Raises ``ValueError`` on a released batch.
        """
        native = self._native
        chosen = native.chosen_index()
        if chosen is not None:
            return np.frombuffer(chosen, dtype=INDEX_DTYPE)
        view = memoryview(native.buffer())
        return np.frombuffer(view, dtype=INDEX_DTYPE, count=native.entries, offset=native.index_offset)

    @property
    def payload(self) -> memoryview:
        """The bytes of the batch's ``jimbot.events.v1.EventBatch``, read-only: a view of the log."""
        native = self._native
        return memoryview(native.buffer())[: native.payload_bytes]

    def events(self) -> Iterator[Event]:
        """The events as protobuf messages, each parsed when it is asked for.

        The batch is copied, and found intact, when the first one is asked for: raises :class:`Overrun` when the
        writer was faster, and never yields a torn event. What it yields is yours, and it pins nothing.
        """
        own = self._native.copy()
        parse = Event.FromString
        for position in range(own.count):
            yield parse(own.event(position))

    def copy(self) -> Batch:
        """The same batch (of the chosen events) in memory of its own, which pins nothing and stays valid.

        Raises :class:`Overrun` when the writer was faster.
        """
        return Batch(self._native.copy())

    def check(self) -> None:
        """Raises :class:`Overrun` when the writer has overwritten the batch: then what its views showed since the
        last check can't be trusted. Never raises for a copy, and not for a reliable reader that is attached."""
        self._native.check()

    def to_arrow(self) -> pyarrow.RecordBatch:
        """The chosen events as an Arrow record batch: the index's columns, and ``event``, the serialised
        ``jimbot.events.v1.Event``. Its memory is its own. Needs pyarrow (``pip install 'jimbot[arrow]'``)."""
        from jimbot.mcp import _arrow

        return _arrow.record_batch(self)

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Checks once more, unless an exception is on its way already."""
        if error is None:
            self.check()

    def __repr__(self) -> str:
        return f"<Batch of {len(self)} events, sequences {self.first_sequence} to {self.next_sequence - 1}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickling a batch, as Ray and multiprocessing do, takes a copy along."""
        return _from_parts, (self._native.copy().parts(),)


def _from_parts(parts: _native._Parts) -> Batch:
    return Batch(_native.Batch.from_parts(parts))
