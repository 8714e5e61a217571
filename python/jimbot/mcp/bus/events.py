"""Events as a bus hands them out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from jimbot.proto.base_pb2 import Event

Identity = tuple[int, int, str, int]


def identity(event: Event) -> Identity:
    """What makes an event the same one however often it comes."""
    return (event.log_epoch, event.sequence, event.producer, event.producer_sequence)


def has_identity(event: Event) -> bool:
    """Whether the bus can tell it from every other event."""
    return bool(event.log_epoch and event.sequence) or bool(event.producer and event.HasField("producer_sequence"))


class Settling(Protocol):
    """Who is told what became of events."""

    def settle(self, events: Sequence[Event], positions: Sequence[int]) -> None:
        """They are done with."""

    def refuse(self, positions: Sequence[int], delay: float) -> None:
        """They shall come again."""


class StoredEvent:
    """An event of the past, and its position on the bus."""

    __slots__ = ("event", "position")

    def __init__(self, event: Event, position: int) -> None:
        self.event = event
        self.position = position

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.position}>"


class ReceivedEvent(StoredEvent):
    """An event that a subscription delivered.

    ``event`` is the message, ``position`` its place on the bus, ``attempt`` how often the bus has delivered it, this
    time included.
    """

    __slots__ = ("attempt", "_settling")

    def __init__(self, event: Event, position: int, attempt: int, settling: Settling) -> None:
        super().__init__(event, position)
        self.attempt = attempt
        self._settling = settling

    def ack(self) -> None:
        """Done with it: it does not come again. Does nothing without a durable."""
        self._settling.settle((self.event,), (self.position,))

    def nack(self, delay: float = 0.0) -> None:
        """Not done with it: it comes again after ``delay`` seconds, or becomes a dead letter when it has come often
        enough. Does nothing without a durable."""
        self._settling.refuse((self.position,), delay)


class Delivery:
    """Events that came together: ``events``, the ``positions`` of each, and ``attempt``."""

    __slots__ = ("events", "positions", "attempt", "_settling")

    def __init__(self, events: Sequence[Event], positions: Sequence[int], attempt: int, settling: Settling) -> None:
        self.events = events
        self.positions = positions
        self.attempt = attempt
        self._settling = settling

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[ReceivedEvent]:
        for event, position in zip(self.events, self.positions):
            yield ReceivedEvent(event, position, self.attempt, self._settling)

    def ack(self) -> None:
        """Done with all of them."""
        self._settling.settle(self.events, self.positions)

    def nack(self, delay: float = 0.0) -> None:
        """Done with none of them."""
        self._settling.refuse(self.positions, delay)

    def __repr__(self) -> str:
        return f"<Delivery of {len(self)} events from {self.positions[0] if self.positions else 'nowhere'}>"
