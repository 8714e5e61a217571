"""Publishing streams for asyncio, over ``grpc.aio``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

import grpc

from jimbot.mcp.bus._connection import Address, Patience
from jimbot.mcp.bus._requests import events_of
from jimbot.mcp.bus._sending import Sending
from jimbot.mcp.bus.errors import BusError, EventsRejected
from jimbot.mcp.bus.publisher import next_try
from jimbot.proto.base_pb2 import Event, EventBatch
from jimbot.proto.event_bus_pb2 import AckLevel, PublishRequest, PublishResponse, PublishResult

if TYPE_CHECKING:
    from jimbot.proto.event_bus_pb2_grpc import EventBusAsyncStub

    _Call = grpc.aio.StreamStreamCall[PublishRequest, PublishResponse]

_log = logging.getLogger("jimbot.mcp.bus")


class AsyncPublisher:
    """A stream of batches to the bus, many under way; made by :meth:`AsyncEventBusClient.publisher`.

    A task of its own takes the answers. When the connection breaks it sends again what was not answered; the bus
    stores each event once.
    """

    def __init__(
        self,
        at: Address,
        stub: EventBusAsyncStub,
        batches: Callable[[list[Event]], Awaitable[list[EventBatch]]],
        level: AckLevel.ValueType,
        timeout: float | None,
    ) -> None:
        self._at = at
        self._stub = stub
        self._batches = batches
        self._seconds = timeout
        self._patience = Patience(timeout)
        self._sending: Sending[asyncio.Future[PublishResult]] = Sending(level)
        self._changed = asyncio.Condition()
        self._order = asyncio.Lock()
        self._closing = False
        self._error: BusError | None = None
        self._failed: BusError | None = None
        self._task: asyncio.Task[None] | None = None

    async def send(self, events: Event | Iterable[Event]) -> asyncio.Future[PublishResult]:
        """Sends one event or a list of them, and returns without waiting for the answer, which comes in the future.

        Waits while 32 batches, or 8 MiB, are under way. The future fails as that of :meth:`Publisher.send`.
        """
        # Numbers are given in the order in which batches go.
        async with self._order:
            batches = await self._batches(events_of(events))
            if len(batches) != 1:
                raise ValueError(
                    "an empty list has no answer" if not batches else "this list is larger than a message may be: send parts of it"
                )
            async with self._changed:
                self._check()
                if self._task is None:
                    self._patience.renew(self._seconds)
                    self._task = asyncio.create_task(self._run(), name="jimbot-bus-publisher")
                await self._changed.wait_for(lambda: self._sending.has_room or self._error is not None or self._closing)
                self._check()
                future: asyncio.Future[PublishResult] = asyncio.get_running_loop().create_future()
                # flush() tells of what failed, also when nobody looks at this future.
                future.add_done_callback(_looked_at)
                self._sending.add(batches[0], future)
                self._changed.notify_all()
                return future

    async def flush(self) -> None:
        """Waits until all that was sent is answered. Raises the first failure since the last flush."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._sending)
            failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    async def close(self) -> None:
        """Ends the stream at once: what is not answered fails. Leaving ``async with`` flushes first."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _check(self) -> None:
        if self._closing:
            raise ValueError("the publisher is closed")
        if self._error is not None:
            raise self._error

    async def __aenter__(self) -> AsyncPublisher:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Flushes, unless an exception is on its way."""
        try:
            if error is None:
                await self.flush()
        finally:
            await self.close()

    # The task.

    async def _run(self) -> None:
        ended = BusError("the publisher was closed before the bus answered: the events may be stored or not")
        try:
            while True:
                await self._connect()
        except BusError as error:
            ended = error
        except asyncio.CancelledError:
            pass  # close() asked for it
        except Exception as error:  # a mistake of ours must not leave the program waiting
            _log.exception("a publisher to the bus at %s ended by a fault", self._at.url)
            ended = BusError(f"the publisher ended by a fault of this package: {error!r}")
        self._error = ended
        left = self._sending.give_up()
        if left and self._failed is None:
            self._failed = ended
        for future in left:
            if not future.done():
                future.set_exception(ended)
        async with self._changed:
            self._changed.notify_all()

    async def _connect(self) -> None:
        """One connection, and the wait for the next one."""
        failed: grpc.RpcError | None = None
        answered = False
        async with self._changed:
            if not self._sending:
                await self._changed.wait_for(lambda: len(self._sending) > 0)
                self._patience.renew(self._seconds)
        call = self._stub.Publish(metadata=self._at.metadata)
        writer = asyncio.create_task(self._write(call))
        try:
            while (response := await call.read()) is not grpc.aio.EOF:
                assert isinstance(response, PublishResponse)
                answered = True
                await self._take_in(response)
        except grpc.RpcError as error:
            failed = error
        finally:
            writer.cancel()
            call.cancel()
            await asyncio.wait([writer])
            self._sending.disconnected()
        if answered:
            self._patience.renew(self._seconds)
        await asyncio.sleep(next_try(self._at, self._patience, failed))

    async def _take_in(self, response: PublishResponse) -> None:
        future, result = self._sending.answered(response)
        refused = EventsRejected(result) if result.rejections else None
        self._failed = self._failed or refused
        if not future.done():
            if refused is not None:
                future.set_exception(refused)
            else:
                future.set_result(result)
        async with self._changed:
            self._changed.notify_all()

    async def _write(self, call: _Call) -> None:
        """The stream up."""
        # A stream that has ended says why to who reads from it.
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: self._sending.has_unsent)
                    request = self._sending.next()
                await call.write(request)


def _looked_at(future: asyncio.Future[PublishResult]) -> None:
    if not future.cancelled():
        future.exception()
