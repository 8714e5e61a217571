"""A look into the past, without I/O: which page is next, and which of its events are new."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from jimbot.mcp.bus._requests import timestamp
from jimbot.mcp.bus.events import StoredEvent
from jimbot.proto.event_bus_pb2 import EventFilter, GetHistoryRequest, GetHistoryResponse

# Events of one page. What breaks in the middle of a page is read again from its beginning.
PAGE_EVENTS = 10_000


class Look:
    """Goes through the pages of a look into the past."""

    def __init__(self, wanted: EventFilter, since: datetime | None, until: datetime | None, limit: int | None) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"limit is a number from 0, or None for all, not {limit}")
        self._request = GetHistoryRequest(filter=wanted)
        if since is not None:
            getattr(self._request, "from").CopyFrom(timestamp(since, "since"))
        if until is not None:
            self._request.to.CopyFrom(timestamp(until, "until"))
        self._left = limit
        self._last = 0
        self._begun = False
        self._cursor = ""

    def next_request(self) -> GetHistoryRequest | None:
        """What to ask for the next page; ``None`` when there is none."""
        if self._left == 0 or (self._begun and not self._cursor):
            return None
        self._begun = True
        self._request.cursor, self._cursor = self._cursor, ""
        self._request.limit = PAGE_EVENTS if self._left is None else min(PAGE_EVENTS, self._left)
        return self._request

    def taken(self, response: GetHistoryResponse) -> Iterator[StoredEvent]:
        """The events of a piece of a page that were not taken before."""
        self._cursor = response.next_cursor
        for event, position in zip(response.batch.events, response.positions):
            if position > self._last:
                self._last = position
                if self._left is not None:
                    self._left -= 1
                yield StoredEvent(event, position)
