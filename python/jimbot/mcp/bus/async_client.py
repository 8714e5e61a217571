"""The client of an Event Bus for asyncio, over ``grpc.aio``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar

import grpc

from jimbot.mcp.bus._connection import Metadata, Patience, address, open_aio_channel
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
from jimbot.mcp.bus.async_publisher import AsyncPublisher
from jimbot.mcp.bus.async_subscription import AsyncSubscription
from jimbot.mcp.bus.client import wait_before_next_call
from jimbot.mcp.bus.errors import DurableInUse, EventsRejected, LevelNotOffered
from jimbot.mcp.bus.events import StoredEvent
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

if TYPE_CHECKING:
    from jimbot.proto.event_bus_pb2_grpc import EventBusAsyncStub

_T = TypeVar("_T")


class AsyncEventBusClient:
    """:class:`EventBusClient` for asyncio: the same arguments and methods. It belongs to the event loop in which it is
    first used."""

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
        self._numbering = asyncio.Lock()
        self._timeout = timeout
        self._channel: grpc.aio.Channel | None = None
        self._made: EventBusAsyncStub | None = None

    @property
    def _stub(self) -> EventBusAsyncStub:
        # A channel belongs to the loop that runs when it is made.
        if self._made is None:
            self._channel = open_aio_channel(self._at)
            self._made = EventBusStub(self._channel)  # type: ignore[assignment]
        assert self._made is not None
        return self._made

    @property
    def producer(self) -> str:
        """The name under which events without an identity are numbered."""
        return self._numbers.producer

    async def publish(self, events: Event | Iterable[Event], *, ack: Level | None = None) -> PublishResult:
        """As :meth:`EventBusClient.publish`."""
        level = ack_level(ack)
        batches = await self._batches(events_of(events))
        results = []
        for batch in batches:
            request = PublishBatchRequest(batch=batch, ack_level=level)
            answer = await self._call(
                lambda seconds, metadata: self._stub.PublishBatch(request, timeout=seconds, metadata=metadata)
            )
            results.append(answer.result)
        result = join(results, [len(batch.events) for batch in batches])
        if result.rejections:
            raise EventsRejected(result)
        return result

    def publisher(self, *, ack: Level | None = None) -> AsyncPublisher:
        """As :meth:`EventBusClient.publisher`; use it with ``async with``."""
        return AsyncPublisher(self._at, self._stub, self._batches, ack_level(ack), self._timeout)

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
    ) -> AsyncSubscription:
        """As :meth:`EventBusClient.subscribe`. The subscription stands when ``async with`` has been entered."""
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
        return AsyncSubscription(
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
    ) -> AsyncIterator[StoredEvent]:
        """As :meth:`EventBusClient.history`."""
        return self._look(Look(event_filter(topics, games, sources, sessions, types), since, until, limit))

    async def _look(self, look: Look) -> AsyncIterator[StoredEvent]:
        while (request := look.next_request()) is not None:
            patience = Patience(self._timeout)
            while True:
                call = self._stub.GetHistory(request, metadata=self._at.metadata)
                try:
                    async for response in call:
                        for stored in look.taken(response):
                            yield stored
                    break
                except grpc.RpcError as error:
                    await asyncio.sleep(wait_before_next_call(self._at, patience, error))
                finally:
                    call.cancel()

    async def last_sequence(self, *, producer: str | None = None, log_epoch: int | None = None) -> int | None:
        """As :meth:`EventBusClient.last_sequence`."""
        if log_epoch is not None:
            request = LastSequenceRequest(log_epoch=log_epoch)
        else:
            request = LastSequenceRequest(producer=self.producer if producer is None else producer)
        answer = await self._call(
            lambda seconds, metadata: self._stub.LastSequence(request, timeout=seconds, metadata=metadata)
        )
        return answer.last_sequence if answer.found else None

    async def durables(self) -> list[DurableState]:
        """As :meth:`EventBusClient.durables`."""
        request = ListDurablesRequest()
        answer = await self._call(lambda seconds, metadata: self._stub.ListDurables(request, timeout=seconds, metadata=metadata))
        return list(answer.durables)

    async def delete_durable(self, name: str) -> None:
        """As :meth:`EventBusClient.delete_durable`."""
        request = DeleteDurableRequest(name=name)
        try:
            await self._call(lambda seconds, metadata: self._stub.DeleteDurable(request, timeout=seconds, metadata=metadata))
        except LevelNotOffered as error:
            # FAILED_PRECONDITION has this other meaning here.
            raise DurableInUse(str(error), error.code) from None

    async def close(self) -> None:
        """Closes the connection. Subscriptions and publishers are closed before it."""
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> AsyncEventBusClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncEventBusClient of {self._at.url}, producer {self.producer!r}>"

    async def _batches(self, events: list[Event]) -> list[EventBatch]:
        async with self._numbering:
            if self._numbers.are_needed(events):
                self._numbers.go_on_after(await self.last_sequence() or 0)
            return self._numbers.batches(events)

    async def _call(self, call: Callable[[float | None, Metadata], Awaitable[_T]]) -> _T:
        """Calls until there is an answer, or no time left."""
        patience = Patience(self._timeout)
        while True:
            try:
                return await call(patience.left(), self._at.metadata)
            except grpc.RpcError as error:
                await asyncio.sleep(wait_before_next_call(self._at, patience, error))
