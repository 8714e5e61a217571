"""A subscription's own side of the protocol, without I/O: what to say, where to go on, what to hand out.

A durable goes on where the bus says it stands. Whatever its program has not finished comes again, and so may what it
has finished when the bus died before noting that; such copies are known by position and identity and not handed out.
Without a durable the subscription remembers the last event it was given and asks for it again, to see whether the bus
still is the one with that event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from enum import Enum

from jimbot.mcp.bus.errors import EventsMissed
from jimbot.mcp.bus.events import Delivery, Identity, ReceivedEvent, Settling, identity
from jimbot.proto.base_pb2 import Event
from jimbot.proto.event_bus_pb2 import (
    Ack,
    Credit,
    GapReason,
    Nack,
    StartPosition,
    Subscribed,
    SubscribeRequest,
    SubscribeResponse,
    SubscribeStart,
)

# Finished events that are remembered, to know copies of them.
SETTLED_MAX = 32_768
# Deliveries that wait to be handed out; while there are so many, nothing more is read from the network.
INBOX_MAX = 2


class StoreReplaced(Exception):
    """The bus has not got what it had: it was started on another store."""


class _Marker(Enum):
    CAUGHT_UP = 1


class Reading:
    """State of a subscription, over all its connections.

    ``begin``, ``feed``, ``disconnected`` and ``speech`` are for who talks to the bus, the others for the program.
    """

    def __init__(self, start: SubscribeStart, *, prefetch: int, auto_ack: bool, settling: Settling) -> None:
        self._start = start
        self._durable = start.HasField("durable")
        self._prefetch = prefetch
        self._auto_ack = auto_ack and self._durable
        self._settling = settling
        self._connections = 0
        self._standing = False
        self._inbox: deque[Delivery | EventsMissed | _Marker] = deque()
        self._head: Delivery | None = None
        self._at = 0
        self.caught_up = False
        # What the program has in hand, and what of that it has refused.
        self._hand: tuple[Sequence[Event], Sequence[int]] | None = None
        self._refused: set[int] = set()
        self._settled: dict[int, Identity] = {}
        # What has to be said.
        self._acks: list[int] = []
        self._nacks: dict[float, list[int]] = {}
        self._credit = 0
        # Where it began, and the newest event that came.
        self._from = 0
        self._newest = 0
        # Without a durable: where to go on.
        self._last: tuple[int, Identity] | None = None
        self._expected: tuple[int, Identity] | None = None
        self._replaced = False

    @property
    def has_stood(self) -> bool:
        """Whether the bus has accepted it, once at least."""
        return self._connections > 0

    @property
    def name(self) -> str:
        """What people know it by."""
        return self._start.durable.name if self._durable else ", ".join(self._start.filter.topics) or "everything"

    # To and from the bus.

    def begin(self) -> SubscribeRequest:
        """The first message of a new connection."""
        start = SubscribeStart()
        start.CopyFrom(self._start)
        if self._replaced:
            start.reset = self._durable
            start.start.CopyFrom(StartPosition(earliest=StartPosition.Earliest()))
        elif self._connections and self._durable:
            # The bus knows better, unless it lost the durable; and only the first connection may begin anew.
            start.reset = False
            start.start.CopyFrom(StartPosition(position=max(1, self._from)))
        elif self._connections:
            self._expected = self._last
            start.start.CopyFrom(StartPosition(position=self._last[0] if self._last else self._from))
        if self._prefetch:
            # 0 would mean no bound at all.
            start.initial_credit = max(1, self._prefetch - self._waiting())
            self._credit = 0
        return SubscribeRequest(start=start)

    def feed(self, response: SubscribeResponse) -> None:
        """Takes in what the bus says. Raises :class:`StoreReplaced` when it has to be asked anew."""
        kind = response.WhichOneof("response")
        if kind == "delivery":
            self._delivered(response)
        elif kind == "gap":
            self._newest = max(self._newest, response.gap.last_position)
            first = response.gap.first_position
            if self._expected is not None:
                first = max(first, self._expected[0] + 1)
            if first <= response.gap.last_position:
                self._inbox.append(EventsMissed(first, response.gap.last_position, _reason(response.gap.reason)))
        elif kind == "caught_up":
            self._inbox.append(_Marker.CAUGHT_UP)
        elif kind == "subscribed":
            self._subscribed(response.subscribed)

    def _subscribed(self, subscribed: Subscribed) -> None:
        if self._connections and not self._replaced:
            if self._durable:
                if not subscribed.resumed and subscribed.last_position < self._newest:
                    self._start_over()
                # The bus may have ended before it heard, or noted, these.
                self._acks = list(self._settled)
            elif subscribed.start_position < (self._last[0] if self._last else self._from):
                self._start_over()
        else:
            self._from = subscribed.start_position
            self._replaced = False
        self._standing = True
        self._connections += 1

    def _delivered(self, response: SubscribeResponse) -> None:
        delivery = response.delivery
        events: Sequence[Event] = delivery.batch.events
        positions: Sequence[int] = delivery.positions
        if not positions:
            return
        if self._expected is not None:
            position, known = self._expected
            if positions[0] == position:
                if identity(events[0]) != known:
                    self._start_over()
                events, positions = events[1:], positions[1:]
                self._credit += 1
            self._expected = None
        if not positions:
            return
        self._newest = max(self._newest, positions[-1])
        if not self._durable:
            self._last = (positions[-1], identity(events[-1]))
        self._inbox.append(Delivery(events, positions, delivery.attempt, self._settling))

    def _start_over(self) -> None:
        self._last = self._expected = None
        self._newest = 0
        self._replaced = True
        raise StoreReplaced

    def disconnected(self) -> None:
        """The connection is gone. What a durable was not handed yet comes again, so it is forgotten here."""
        self._standing = False
        self._nacks.clear()
        if self._durable:
            self._inbox.clear()
            self._head = None

    @property
    def has_room(self) -> bool:
        """Whether more shall be read from the network."""
        return len(self._inbox) < INBOX_MAX

    @property
    def has_speech(self) -> bool:
        """Whether there is something to say."""
        return self._standing and bool(self._acks or self._nacks or self._owes_credit)

    @property
    def _owes_credit(self) -> bool:
        # A quarter at a time; all of it is due when everything was handed out.
        return self._prefetch > 0 and 4 * self._credit >= self._prefetch

    def speech(self) -> list[SubscribeRequest]:
        """What has to be said now, and then is said."""
        said: list[SubscribeRequest] = []
        if not self._standing:
            return said
        if self._acks:
            said.append(SubscribeRequest(ack=Ack(positions=self._acks)))
            self._acks = []
        for delay, positions in self._nacks.items():
            nack = Nack(positions=positions)
            nack.delay.FromNanoseconds(int(delay * 1e9))
            said.append(SubscribeRequest(nack=nack))
        self._nacks.clear()
        if self._owes_credit:
            said.append(SubscribeRequest(credit=Credit(events=self._credit)))
            self._credit = 0
        return said

    # To and from the program.

    def take(self) -> ReceivedEvent | None:
        """The next event; ``None`` when none has come. What was in hand is done with, unless the program says so
        itself. Raises :class:`EventsMissed` for a gap."""
        self.finish()
        if not self._advance():
            return None
        head = self._head
        assert head is not None
        event, position = head.events[self._at], head.positions[self._at]
        self._at += 1
        self._handed((event,), (position,))
        return ReceivedEvent(event, position, head.attempt, self._settling)

    def take_delivery(self) -> Delivery | None:
        """As :meth:`take`, for all events that came together."""
        self.finish()
        if not self._advance():
            return None
        head = self._head
        assert head is not None
        if self._at:
            head = Delivery(head.events[self._at :], head.positions[self._at :], head.attempt, self._settling)
        self._head = None
        self._handed(head.events, head.positions)
        return head

    def finish(self) -> None:
        """The program is done with what it has in hand."""
        if self._hand is None:
            return
        (events, positions), self._hand = self._hand, None
        kept = [(event, at) for event, at in zip(events, positions) if at not in self._refused]
        self._refused.clear()
        self.settle([event for event, _ in kept], [at for _, at in kept])

    def settle(self, events: Sequence[Event], positions: Sequence[int]) -> None:
        """These are done with."""
        if not self._durable:
            return
        for event, position in zip(events, positions):
            known = identity(event)
            if self._settled.get(position) != known:
                self._settled[position] = known
                self._acks.append(position)
        for oldest in _first(self._settled, len(self._settled) - SETTLED_MAX):
            del self._settled[oldest]

    def refuse(self, positions: Sequence[int], delay: float) -> None:
        """These shall come again. What is settled stays so."""
        if not self._durable:
            return
        refused = [position for position in positions if position not in self._settled]
        if self._hand is not None:
            self._refused.update(refused)
        if refused and self._standing:
            self._nacks.setdefault(delay, []).extend(refused)

    def _handed(self, events: Sequence[Event], positions: Sequence[int]) -> None:
        self._credit += len(positions)
        if self._auto_ack:
            self._hand = (events, positions)

    def _advance(self) -> bool:
        """Makes the head a delivery with an event that was not handed out."""
        while self._head is None or self._at >= len(self._head):
            self._head, self._at = None, 0
            if not self._inbox:
                return False
            item = self._inbox.popleft()
            if isinstance(item, EventsMissed):
                raise item
            if isinstance(item, _Marker):
                self.caught_up = True
            else:
                self._head = self._without_copies(item)
        return True

    def _without_copies(self, delivery: Delivery) -> Delivery:
        if not self._settled or (self._connections == 1 and delivery.attempt == 1):
            return delivery
        events, positions = [], []
        for event, position in zip(delivery.events, delivery.positions):
            if self._settled.get(position) == identity(event):
                self._acks.append(position)
                self._credit += 1
            else:
                events.append(event)
                positions.append(position)
        return Delivery(events, positions, delivery.attempt, self._settling)

    def _waiting(self) -> int:
        waiting = sum(len(item) for item in self._inbox if isinstance(item, Delivery))
        return waiting + (len(self._head) - self._at if self._head is not None else 0)


def _reason(number: int) -> str:
    known = number in GapReason.values()
    return GapReason.Name(GapReason.ValueType(number)).removeprefix("GAP_REASON_") if known else str(number)


def _first(settled: dict[int, Identity], count: int) -> list[int]:
    oldest: Iterator[int] = iter(settled)
    return [next(oldest) for _ in range(count)]
