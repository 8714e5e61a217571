"""The client of an Event Bus for threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Literal, TypeVar

import grpc

from jimbot.mcp.bus._connection import Address, Metadata, Patience, address, open_channel
from jimbot.mcp.bus._history import Look
from jimbot.mcp.bus._requests import (
    Level,
    Numbers,
    Start,
    ack_level,
    event_filter,
    events_of,
    join,
    subscribe_start,
)
from jimbot.mcp.bus.errors import DurableInUse, EventsRejected, LevelNotOffered, is_transient, translated, unreachable
from jimbot.mcp.bus.events import StoredEvent
from jimbot.mcp.bus.publisher import Publisher
from jimbot.mcp.bus.subscription import Subscription
from jimbot.mcp.endpoints import bus_url
from jimbot.mcp.event_types import EventTypeLike
from jimbot.mcp.reader import DEFAULT_DIRECTORY
from jimbot.proto.base_pb2 import Event, EventBatch
from jimbot.proto.event_bus_pb2 import (
    DeleteDurableRequest,
    DurableState,
    LastSequenceRequest,
    ListDurablesRequest,
    PublishBatchRequest,
    PublishResult,
)
from jimbot.proto.event_bus_pb2_grpc import EventBusStub

_T = TypeVar("_T")


def wait_before_next_call(at: Address, patience: Patience, error: grpc.RpcError) -> float:
    """Seconds to wait before a call is made again. Raises what the program is to be told when it shall not be."""
    if not is_transient(error):
        raise translated(error, at.url) from None
    wait = patience.next_wait()
    if wait is None:
        raise unreachable(at.url, error, patience.seconds) from None
    return wait


class EventBusClient:
    """A client of an Event Bus; threads may share it. ``AsyncEventBusClient`` is the same for asyncio.

    :param url: of the bus, ``http://HOST:PORT``, or ``https://HOST:PORT`` for TLS; else of the one inside the service
        that writes the log in ``path`` (``serve --bus embedded``), else ``http://127.0.0.1:50051``.
    :param token: bearer token, where the bus asks for one; ``token_file`` names a file that holds it.
    :param ca_file: authorities (PEM) that the bus's certificate is trusted by; else the system's.
    :param producer: name under which events without an identity are numbered. One living client a name: the bus takes
        the same number of the same name for the same event. Without a name one is made up.
    :param timeout: seconds that a call goes on trying, over broken connections too, before
        :class:`BusUnreachable`; ``None`` for ever.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        path: str | os.PathLike[str] = DEFAULT_DIRECTORY,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        producer: str | None = None,
        timeout: float | None = 10.0,
    ) -> None:
        self._at = address(bus_url(path) if url is None else url, token, token_file, ca_file)
        self._numbers = Numbers(producer)
        self._numbering = threading.Lock()
        self._timeout = timeout
        self._channel = open_channel(self._at)
        self._stub = EventBusStub(self._channel)

    @property
    def producer(self) -> str:
        """The name under which events without an identity are numbered."""
        return self._numbers.producer

    def publish(self, events: Event | Iterable[Event], *, ack: Level | None = None) -> PublishResult:
        """Stores one event, or a list of them in their order, and returns when the bus has them.

        An event that has neither ``log_epoch`` and ``sequence`` nor ``producer`` and ``producer_sequence`` is numbered
        under this client's name; yours is not changed. A call whose answer was lost is repeated, and the bus stores
        each event once.

        :param ack: what the answer has to mean at least: ``"memory"``, ``"written"`` (survives the bus's process),
            ``"fsynced"`` (a power cut) or ``"replicated"`` (a node); the bus's own default otherwise.

        Raises :class:`EventsRejected` when some of them were not stored, and other kinds of :class:`BusError`.
        """
        level = ack_level(ack)
        batches = self._batches(events_of(events))
        results = []
        for batch in batches:
            request = PublishBatchRequest(batch=batch, ack_level=level)
            answer = self._call(lambda seconds, metadata: self._stub.PublishBatch(request, timeout=seconds, metadata=metadata))
            results.append(answer.result)
        result = join(results, [len(batch.events) for batch in batches])
        if result.rejections:
            raise EventsRejected(result)
        return result

    def publisher(self, *, ack: Level | None = None) -> Publisher:
        """A stream for many events: ``send`` does not wait for the answer. Use it with ``with``.

        :param ack: as that of :meth:`publish`.
        """
        return Publisher(self._at, self._stub, self._batches, ack_level(ack), self._timeout)

    def subscribe(
        self,
        *topics: str,
        start: Start | None = None,
        durable: str | None = None,
        ack: Literal["auto", "explicit"] = "auto",
        games: Iterable[int] | None = None,
        sources: Iterable[str] | None = None,
        sessions: Iterable[int] | None = None,
        types: Iterable[EventTypeLike] | None = None,
        timeout: float | None = None,
        reset: bool = False,
        ack_wait: float | None = None,
        max_deliveries: int | None = None,
        dead_letter_topic: str | None = None,
        max_unacked: int | None = None,
        max_batch_events: int | None = None,
        max_batch_bytes: int | None = None,
        prefetch: int = 0,
        reconnect_timeout: float | None = None,
    ) -> Subscription:
        """Subscribes, and returns when the subscription stands: nothing stored from then on is missed.

        :param topics: patterns: ``"game.hand.played"``, ``"game.*.changed"``, ``"game.>"``; none wants everything.
        :param start: ``"latest"``, ``"earliest"``, a position, ``LogSequence(log_epoch=..., sequence=...)``, a
            ``datetime``, or ``"resume"``: where the durable stands, the oldest event for a new one. Without it a
            durable resumes, and others begin at the latest. A durable that exists resumes whatever is asked here.
        :param durable: name under which the bus keeps the place: what is not acknowledged comes again, over the end of
            this program and the bus's. One subscriber at a time. Without a name events come once.
        :param ack: ``"auto"``: an event is done with when the loop asks for the next one, or ``with`` ends without an
            exception; ``"explicit"``: when the program says so (``received.ack()``).
        :param games: game keys; ``sources``, ``sessions`` and ``types`` narrow likewise.
        :param timeout: seconds after which iteration ends without an event; ``None`` never. Iterating again goes on.
        :param reset: begin a durable that exists anew at ``start``.
        :param ack_wait: seconds after which an event that is not acknowledged comes again (the bus: 30).
        :param max_deliveries: times that an event comes before it is a dead letter (the bus: 5); -1 for ever.
        :param dead_letter_topic: where those go (the bus: ``dead_letter.<name>``).
        :param max_unacked: events delivered and not acknowledged, at most (the bus: 4,096).
        :param max_batch_events: events that come together, at most; ``max_batch_bytes`` bounds their bytes.
        :param prefetch: events that may wait on this side; 0 leaves it to the connection's flow control.
        :param reconnect_timeout: seconds for which a subscription that stood tries to stand again, with waits that
            double from 100 ms to 10 s and are drawn at random; ``None`` for ever.

        Without a durable it goes on behind the last event that came, with one where the bus knows it stands.
        """
        begin = subscribe_start(
            event_filter(topics, games, sources, sessions, types),
            start=start,
            durable=durable,
            reset=reset,
            ack_wait=ack_wait,
            max_deliveries=max_deliveries,
            dead_letter_topic=dead_letter_topic,
            max_unacked=max_unacked,
            max_batch_events=max_batch_events,
            max_batch_bytes=max_batch_bytes,
        )
        return Subscription(
            self._at,
            self._stub,
            begin,
            prefetch=prefetch,
            auto_ack=ack == "auto",
            timeout=timeout,
            connect_timeout=self._timeout,
            reconnect_timeout=reconnect_timeout,
        )

    def history(
        self,
        *topics: str,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        games: Iterable[int] | None = None,
        sources: Iterable[str] | None = None,
        sessions: Iterable[int] | None = None,
        types: Iterable[EventTypeLike] | None = None,
    ) -> Iterator[StoredEvent]:
        """What is stored, oldest first, and then ends.

        :param since: stored at this time or later; the oldest otherwise.
        :param until: stored before this time; now otherwise.
        :param limit: events, at most; all otherwise.
        """
        return self._look(Look(event_filter(topics, games, sources, sessions, types), since, until, limit))

    def _look(self, look: Look) -> Iterator[StoredEvent]:
        while (request := look.next_request()) is not None:
            patience = Patience(self._timeout)
            while True:
                call = self._stub.GetHistory(request, metadata=self._at.metadata)
                try:
                    for response in call:
                        yield from look.taken(response)
                    break
                except grpc.RpcError as error:
                    time.sleep(wait_before_next_call(self._at, patience, error))
                finally:
                    call.cancel()

    def last_sequence(self, *, producer: str | None = None, log_epoch: int | None = None) -> int | None:
        """The greatest number that the bus has of a producer (this client's unless told) or a log; ``None`` when it
        has nothing of it."""
        if log_epoch is not None:
            request = LastSequenceRequest(log_epoch=log_epoch)
        else:
            request = LastSequenceRequest(producer=self.producer if producer is None else producer)
        answer = self._call(lambda seconds, metadata: self._stub.LastSequence(request, timeout=seconds, metadata=metadata))
        return answer.last_sequence if answer.found else None

    def durables(self) -> list[DurableState]:
        """The durables that the bus has, by name: how far behind each is, and whether it has a subscriber."""
        request = ListDurablesRequest()
        answer = self._call(lambda seconds, metadata: self._stub.ListDurables(request, timeout=seconds, metadata=metadata))
        return list(answer.durables)

    def delete_durable(self, name: str) -> None:
        """Has the bus forget a durable and its place.

        Raises :class:`DurableNotFound` when there is none of that name, and :class:`DurableInUse` while it has a
        subscriber.
        """
        request = DeleteDurableRequest(name=name)
        try:
            self._call(lambda seconds, metadata: self._stub.DeleteDurable(request, timeout=seconds, metadata=metadata))
        except LevelNotOffered as error:
            # FAILED_PRECONDITION has this other meaning here.
            raise DurableInUse(str(error), error.code) from None

    def close(self) -> None:
        """Closes the connection. Subscriptions and publishers are closed before it."""
        self._channel.close()

    def __enter__(self) -> EventBusClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<EventBusClient of {self._at.url}, producer {self.producer!r}>"

    def _batches(self, events: list[Event]) -> list[EventBatch]:
        with self._numbering:
            if self._numbers.are_needed(events):
                self._numbers.go_on_after(self.last_sequence() or 0)
            return self._numbers.batches(events)

    def _call(self, call: Callable[[float | None, Metadata], _T]) -> _T:
        """Calls until there is an answer, or no time left."""
        patience = Patience(self._timeout)
        while True:
            try:
                return call(patience.left(), self._at.metadata)
            except grpc.RpcError as error:
                time.sleep(wait_before_next_call(self._at, patience, error))
