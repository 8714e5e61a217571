"""Subscriptions for asyncio, over ``grpc.aio``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import grpc

from jimbot.mcp.bus._connection import Address, Patience
from jimbot.mcp.bus._reading import Reading, StoreReplaced
from jimbot.mcp.bus.errors import BusError, unreachable
from jimbot.mcp.bus.events import Delivery, ReceivedEvent
from jimbot.mcp.bus.subscription import GOODBYE_SECONDS, LINGER_SECONDS, next_try
from jimbot.proto.base_pb2 import Event
from jimbot.proto.event_bus_pb2 import SubscribeRequest, SubscribeResponse, SubscribeStart

if TYPE_CHECKING:
    from jimbot.proto.event_bus_pb2_grpc import EventBusAsyncStub

    _Call = grpc.aio.StreamStreamCall[SubscribeRequest, SubscribeResponse]

_log = logging.getLogger("jimbot.mcp.bus")

_T = TypeVar("_T")


class AsyncSubscription:
    """Events as the bus delivers them: ``async for`` gives a :class:`ReceivedEvent` at a time.

    Made by :meth:`AsyncEventBusClient.subscribe`. It begins at ``async with``, or when it is first read. A task of its
    own reads from the bus, and connects anew when the connection breaks. It belongs to one event loop.
    """

    def __init__(
        self,
        at: Address,
        stub: EventBusAsyncStub,
        start: SubscribeStart,
        *,
        prefetch: int,
        auto_ack: bool,
        timeout: float | None,
        connect_timeout: float | None,
        reconnect_timeout: float | None,
    ) -> None:
        self._reading = Reading(start, prefetch=prefetch, auto_ack=auto_ack, settling=self)
        self._at = at
        self._stub = stub
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._reconnect_seconds = reconnect_timeout
        self._patience = Patience(connect_timeout)
        # The program waits for events; the writer for something to say; the task for room, or for its next try.
        self._arrived = asyncio.Event()
        self._speak = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._call: _Call | None = None
        self._closing = False
        self._error: BusError | None = None
        self._failed: grpc.RpcError | None = None

    async def open(self) -> AsyncSubscription:
        """Begins it: returns when the bus has accepted it, so that nothing stored from then on is missed."""
        self._check_open()
        if self._task is None:
            self._patience.renew(self._connect_timeout)
            self._task = asyncio.create_task(self._run(), name="jimbot-bus-subscription")
            try:
                async with asyncio.timeout(self._connect_timeout):
                    while not self._reading.has_stood and self._error is None:
                        await self._wait_for(self._arrived)
            except TimeoutError:
                self._error = unreachable(self._at.url, self._failed, self._connect_timeout)
            except asyncio.CancelledError:
                self._closing = True
                self._task.cancel()
                raise
            if self._error is not None:
                error = self._error
                await self.close()
                raise error
        return self

    async def read(self, timeout: float | None = None) -> ReceivedEvent | None:
        """The next event, or ``None`` when none came for ``timeout`` seconds (``None``: wait for ever).

        Raises :class:`EventsMissed` for events that are gone (the next call goes on behind them), another
        :class:`BusError` when the subscription has ended, and ``ValueError`` when it was closed. Cancelling it loses
        nothing.
        """
        return await self._take(self._reading.take, timeout)

    async def read_delivery(self, timeout: float | None = None) -> Delivery | None:
        """As :meth:`read`, for all events that came together."""
        return await self._take(self._reading.take_delivery, timeout)

    async def _take(self, take: Callable[[], _T | None], timeout: float | None) -> _T | None:
        await self.open()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while True:
                    self._check_open()
                    try:
                        taken = take()
                    finally:
                        self._changed()
                    if taken is not None:
                        return taken
                    if self._error is not None:
                        raise self._error
                    await self._wait_for(self._arrived)
        return None

    def __aiter__(self) -> AsyncIterator[ReceivedEvent]:
        return self

    async def __anext__(self) -> ReceivedEvent:
        received = await self.read(self._timeout)
        if received is None:
            raise StopAsyncIteration
        return received

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Iterates over events by what came together: less work for each."""
        while (delivery := await self.read_delivery(self._timeout)) is not None:
            yield delivery

    @property
    def caught_up(self) -> bool:
        """Whether all that was stored when the subscription began has been handed out."""
        return self._reading.caught_up

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closing

    async def close(self) -> None:
        """Ends it. What was acknowledged is noted first; the event in hand is not acknowledged."""
        if self._closing:
            return
        self._closing = True
        for event in (self._speak, self._room, self._arrived):
            event.set()
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=GOODBYE_SECONDS)
            if not done:
                self._task.cancel()
                await asyncio.wait([self._task])

    async def __aenter__(self) -> AsyncSubscription:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The event in hand is done with, unless an exception is on its way."""
        if not self._closing and error is None:
            self._reading.finish()
        await self.close()

    def __del__(self) -> None:
        if self._task is not None and not self._closing:
            warnings.warn("unclosed subscription of an Event Bus", ResourceWarning, source=self, stacklevel=2)

    def settle(self, events: Sequence[Event], positions: Sequence[int]) -> None:
        """:meth:`ReceivedEvent.ack` says so."""
        self._reading.settle(events, positions)
        self._changed()

    def refuse(self, positions: Sequence[int], delay: float) -> None:
        """:meth:`ReceivedEvent.nack` says so."""
        self._reading.refuse(positions, delay)
        self._changed()

    def _changed(self) -> None:
        if self._reading.has_room:
            self._room.set()
        if self._reading.has_speech:
            self._speak.set()

    def _check_open(self) -> None:
        if self._closing:
            raise ValueError("the subscription is closed")

    @staticmethod
    async def _wait_for(event: asyncio.Event) -> None:
        event.clear()
        await event.wait()

    # The task.

    async def _run(self) -> None:
        try:
            while await self._connect():
                pass
        except BusError as error:
            self._error = error
        except asyncio.CancelledError:
            self._error = self._error or BusError("the subscription's task was cancelled")
            raise
        except Exception as error:  # a mistake of ours must not leave the program waiting
            _log.exception("a subscription of the bus at %s ended by a fault", self._at.url)
            self._error = BusError(f"the subscription ended by a fault of this package: {error!r}")
        finally:
            self._arrived.set()

    async def _connect(self) -> bool:
        """One connection, from its first message to its end; whether another one is wanted."""
        failed: grpc.RpcError | None = None
        stood = replaced = False
        call = self._stub.Subscribe(metadata=self._at.metadata)
        writer = asyncio.create_task(self._write(call))
        try:
            while (response := await call.read()) is not grpc.aio.EOF:
                assert isinstance(response, SubscribeResponse)
                stood = await self._take_in(response) or stood
        except grpc.RpcError as error:
            failed = self._failed = error
        except StoreReplaced:
            replaced = True
        finally:
            writer.cancel()
            call.cancel()
            await asyncio.wait([writer])
            self._reading.disconnected()
        if self._closing:
            return False
        if stood:
            self._patience.renew(self._reconnect_seconds)
        if replaced:
            _log.warning("the bus at %s has another store now: %s goes on with all it has", self._at.url, self._reading.name)
            return True
        wait = next_try(self._at, self._reading, self._patience, failed)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while not self._closing:
                    await self._wait_for(self._room)
        return True

    async def _take_in(self, response: SubscribeResponse) -> bool:
        """Takes in what the bus says; whether that was that the subscription stands."""
        if self._closing:
            return False
        again = self._reading.has_stood
        self._reading.feed(response)
        stands = response.HasField("subscribed")
        if stands and again:
            _log.warning("the bus at %s is back, subscription to %s goes on", self._at.url, self._reading.name)
        self._arrived.set()
        self._speak.set()
        while not self._reading.has_room and not self._closing:
            await self._wait_for(self._room)
        return stands

    async def _write(self, call: _Call) -> None:
        """The stream up."""
        # A stream that has ended says why to who reads from it.
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            await call.write(self._reading.begin())
            while True:
                if not self._closing:
                    await self._speak.wait()
                    await asyncio.sleep(LINGER_SECONDS)
                self._speak.clear()
                closing = self._closing
                for request in self._reading.speech():
                    await call.write(request)
                if closing:
                    await call.done_writing()
                    return
