"""What programs ask for, as messages of the schema."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, TypeVar, Union

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jimbot.mcp.bus._connection import SEND_BYTES_MAX
from jimbot.mcp.bus.events import has_identity
from jimbot.mcp.event_types import EventTypeLike, event_type_number
from jimbot.proto.base_pb2 import Event, EventBatch, EventType
from jimbot.proto.event_bus_pb2 import (
    AckLevel,
    Durable,
    EventFilter,
    LogSequence,
    PublishResult,
    StartPosition,
    SubscribeStart,
)

Start = Union[Literal["latest", "earliest", "resume"], int, datetime, LogSequence]
Level = Literal["memory", "written", "fsynced", "replicated"]

# Room for the envelope of a batch that is as large as a message may be.
_BATCH_BYTES_MAX = SEND_BYTES_MAX - (64 << 10)

_T = TypeVar("_T")


def ack_level(level: Level | None) -> AckLevel.ValueType:
    """Raises ``ValueError`` for a level that there is not."""
    if level is None:
        return AckLevel.ACK_LEVEL_UNSPECIFIED
    levels: dict[str, AckLevel.ValueType] = {
        "memory": AckLevel.ACK_LEVEL_MEMORY,
        "written": AckLevel.ACK_LEVEL_WRITTEN,
        "fsynced": AckLevel.ACK_LEVEL_FSYNCED,
        "replicated": AckLevel.ACK_LEVEL_REPLICATED,
    }
    if level not in levels:
        raise ValueError(f"ack_level is one of {', '.join(levels)}, not {level!r}")
    return levels[level]


def event_filter(
    topics: Iterable[str],
    games: Iterable[int] | None,
    sources: Iterable[str] | None,
    sessions: Iterable[int] | None,
    types: Iterable[EventTypeLike] | None,
) -> EventFilter:
    """Raises ``TypeError`` and ``ValueError`` for what can't be a filter; patterns are the bus's to judge."""
    wanted = EventFilter(
        topics=_several(topics, "topics"),
        game_keys=[_key(game, "games") for game in _several(games, "games")],
        sources=_several(sources, "sources"),
        sessions=[_key(session, "sessions") for session in _several(sessions, "sessions")],
    )
    for kind in _several(types, "types"):
        wanted.types.append(EventType.ValueType(event_type_number(kind)))
    return wanted


def start_position(start: Start) -> StartPosition:
    """Raises ``ValueError`` for what is no place to start at."""
    if start == "latest":
        return StartPosition(latest=StartPosition.Latest())
    if start == "earliest":
        return StartPosition(earliest=StartPosition.Earliest())
    if start == "resume":
        return StartPosition(resume=StartPosition.Resume())
    if isinstance(start, datetime):
        return StartPosition(time=timestamp(start, "start"))
    if isinstance(start, LogSequence):
        return StartPosition(sequence=start)
    if isinstance(start, int) and not isinstance(start, bool) and start > 0:
        return StartPosition(position=start)
    raise ValueError(
        "start is 'latest', 'earliest', 'resume', a position from 1, a datetime, "
        f"or a LogSequence(log_epoch=..., sequence=...), not {start!r}"
    )


def subscribe_start(
    wanted: EventFilter,
    *,
    start: Start | None,
    durable: str | None,
    reset: bool,
    ack_wait: float | None,
    max_deliveries: int | None,
    dead_letter_topic: str | None,
    max_unacked: int | None,
    max_batch_events: int | None,
    max_batch_bytes: int | None,
) -> SubscribeStart:
    """Raises ``ValueError`` for what does not go together."""
    if start is None:
        start = "latest" if durable is None else "resume"
    begin = SubscribeStart(
        filter=wanted,
        start=start_position(start),
        reset=reset,
        max_unacked_events=max_unacked or 0,
        max_batch_events=max_batch_events or 0,
        max_batch_bytes=max_batch_bytes or 0,
    )
    if durable is None:
        given = {
            "reset": reset or None,
            "ack_wait": ack_wait,
            "max_deliveries": max_deliveries,
            "dead_letter_topic": dead_letter_topic,
            "max_unacked": max_unacked,
            'start="resume"': start == "resume" or None,
        }
        alone = [name for name, value in given.items() if value is not None]
        if alone:
            raise ValueError(f"{', '.join(alone)} needs durable=: without a name there is nothing to acknowledge or resume")
        return begin
    terms = Durable(name=durable, max_deliveries=max_deliveries or 0, dead_letter_topic=dead_letter_topic or "")
    if ack_wait is not None:
        terms.ack_wait.CopyFrom(duration(ack_wait, "ack_wait"))
    begin.durable.CopyFrom(terms)
    return begin


def duration(seconds: float, what: str) -> Duration:
    """Raises ``ValueError`` for what is no time to wait."""
    if not seconds > 0.0:
        raise ValueError(f"{what} is a number of seconds above 0, not {seconds!r}")
    result = Duration()
    result.FromNanoseconds(round(seconds * 1e9))
    return result


def timestamp(time: datetime, what: str) -> Timestamp:
    """Raises ``ValueError`` for a time that may be meant in any zone."""
    if time.tzinfo is None:
        raise ValueError(f"{what} has no time zone: datetime.now(timezone.utc), or datetime.astimezone()")
    result = Timestamp()
    result.FromDatetime(time)
    return result


class Numbers:
    """Numbers of the events of one producer: the identity that the bus knows them by."""

    def __init__(self, producer: str | None) -> None:
        if producer is not None and not (0 < len(producer) <= 64 and producer.isascii() and producer.isprintable()):
            raise ValueError("producer is 1 to 64 printable ASCII characters")
        if producer is not None and " " in producer:
            raise ValueError("producer has no blanks")
        self.producer = producer or f"python-{secrets.token_hex(8)}"
        # A name made up just now has no events on any bus.
        self._next = None if producer else 1

    def are_needed(self, events: Sequence[Event]) -> bool:
        """Whether the bus has to be asked for the last number first."""
        return self._next is None and not all(map(has_identity, events))

    def go_on_after(self, last: int) -> None:
        """The bus has events up to this number."""
        self._next = max(last + 1, self._next or 1)

    def batches(self, events: Sequence[Event]) -> list[EventBatch]:
        """Copies of the events, each with an identity, in batches that the bus takes. Raises ``ValueError`` for an event
        that none of them could hold."""
        batches: list[EventBatch] = []
        size = 0
        for event in events:
            more = event.ByteSize() + 128
            if more > _BATCH_BYTES_MAX:
                raise ValueError(f"an event of {more} bytes is larger than a message to the bus may be ({_BATCH_BYTES_MAX})")
            if not batches or size + more > _BATCH_BYTES_MAX:
                batches.append(EventBatch())
                size = 0
            size += more
            copy = batches[-1].events.add()
            copy.CopyFrom(event)
            if not has_identity(copy):
                assert self._next is not None
                copy.producer, copy.producer_sequence = self.producer, self._next
                self._next += 1
        return batches


def events_of(events: Event | Iterable[Event]) -> list[Event]:
    """One event, or several. Raises ``TypeError`` for anything else."""
    several = [events] if isinstance(events, Event) else list(events)
    for event in several:
        if not isinstance(event, Event):
            raise TypeError(f"events are jimbot.proto.base_pb2.Event, not {type(event).__name__}")
    return several


def join(results: Sequence[PublishResult], counts: Sequence[int]) -> PublishResult:
    """The answers to the parts of a batch, as one; ``counts`` are the events of each part."""
    if len(results) == 1:
        return results[0]
    whole = PublishResult(ack_level=min((result.ack_level for result in results), default=AckLevel.ACK_LEVEL_UNSPECIFIED))
    before = 0
    for result, count in zip(results, counts):
        whole.stored += result.stored
        whole.duplicates += result.duplicates
        whole.first_position = whole.first_position or result.first_position
        whole.last_position = result.last_position or whole.last_position
        for rejection in result.rejections:
            added = whole.rejections.add()
            added.CopyFrom(rejection)
            added.index += before
        before += count
    return whole


def _key(key: int, what: str) -> int:
    if isinstance(key, bool) or not isinstance(key, int) or not 0 <= key < 1 << 64:
        raise ValueError(f"{what} are keys as events have them (event.game_key, event.session): 64-bit numbers, not {key!r}")
    return key


def _several(values: Iterable[_T] | None, what: str) -> list[_T]:
    # A lone string is iterable too, and would become a filter on its letters.
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{what} is a list, such as {what}=[{values!r}]")
    return [] if values is None else list(values)
