"""A publishing stream's own side of the protocol, without I/O: what is under way, and what has to be sent again."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from jimbot.proto.base_pb2 import EventBatch
from jimbot.proto.event_bus_pb2 import AckLevel, PublishRequest, PublishResponse, PublishResult

# As many as the bus looks at; more would only wait there.
REQUESTS_MAX = 32
BYTES_MAX = 8 << 20

_Future = TypeVar("_Future")


class Sending(Generic[_Future]):
    """Batches in their order, each with the future of its answer, until the bus has it. Over a new connection they go
    in the same order again, and the bus knows by the events' identities what it has."""

    def __init__(self, level: AckLevel.ValueType) -> None:
        self._level = level
        self._waiting: deque[tuple[PublishRequest, int, _Future]] = deque()
        self._sent = 0
        self._bytes = 0
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether another batch may be added."""
        return len(self._waiting) < REQUESTS_MAX and self._bytes < BYTES_MAX

    @property
    def has_unsent(self) -> bool:
        """Whether something has to go over this connection."""
        return self._sent < len(self._waiting)

    def add(self, batch: EventBatch, future: _Future) -> None:
        """Another batch."""
        self._last_id += 1
        request = PublishRequest(batch=batch, ack_level=self._level, request_id=self._last_id)
        size = request.ByteSize()
        self._bytes += size
        self._waiting.append((request, size, future))

    def next(self) -> PublishRequest:
        """What goes next over this connection."""
        request = self._waiting[self._sent][0]
        self._sent += 1
        return request

    def answered(self, response: PublishResponse) -> tuple[_Future, PublishResult]:
        """The bus has the oldest batch. Raises ``ValueError`` when it speaks of another one."""
        request, size, future = self._waiting[0] if self._waiting else (PublishRequest(), 0, None)
        if future is None or request.request_id != response.request_id or self._sent == 0:
            raise ValueError(f"the bus answers request {response.request_id}, which is not the oldest one")
        self._waiting.popleft()
        self._sent -= 1
        self._bytes -= size
        return future, response.result

    def disconnected(self) -> None:
        """All that is not answered has to be sent again."""
        self._sent = 0

    def give_up(self) -> list[_Future]:
        """Forgets everything; whose answers do not come."""
        futures = [future for _, _, future in self._waiting]
        self._waiting.clear()
        self._sent = self._bytes = 0
        return futures
