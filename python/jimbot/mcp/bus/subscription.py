"""Subscriptions for threads."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TypeVar

import grpc

from jimbot.mcp.bus import _reading
from jimbot.mcp.bus._connection import Address, Patience
from jimbot.mcp.bus._reading import Reading
from jimbot.mcp.bus.errors import BusError, is_transient, status_of, translated, unreachable
from jimbot.mcp.bus.events import Delivery, ReceivedEvent
from jimbot.proto.base_pb2 import Event
from jimbot.proto.event_bus_pb2 import SubscribeRequest, SubscribeResponse, SubscribeStart
from jimbot.proto.event_bus_pb2_grpc import EventBusStub

_log = logging.getLogger("jimbot.mcp.bus")

# What is said within this time is said together.
LINGER_SECONDS = 0.005
# How long the bus has to note what was acknowledged, when a subscription ends.
GOODBYE_SECONDS = 5.0

_T = TypeVar("_T")


def next_try(at: Address, reading: Reading, patience: Patience, failed: grpc.RpcError | None) -> float:
    """Seconds to wait before the next connection. Raises what the program is to be told when there shall be none."""
    stood = reading.has_stood
    # Once it stood, the bus may not know yet that the connection before is gone, or be full for a while.
    passing = (grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.RESOURCE_EXHAUSTED)
    if failed is not None and not is_transient(failed) and not (stood and status_of(failed)[0] in passing):
        raise translated(failed, at.url)
    wait = patience.next_wait()
    if wait is None:
        raise unreachable(at.url, failed, patience.seconds)
    if stood:
        why = "it ended the stream" if failed is None else status_of(failed)[1]
        _log.warning("the bus at %s is away (%s); next try in %.1f s", at.url, why, wait)
    return wait


class Subscription:
    """Events as the bus delivers them: iterate over it to get a :class:`ReceivedEvent` at a time.

    Made by :meth:`EventBusClient.subscribe`. A thread of its own reads from the bus, and connects anew when the
    connection breaks. Threads may share it; each event then goes to one of them, and ``ack="explicit"`` is needed.
    """

    def __init__(
        self,
        at: Address,
        stub: EventBusStub,
        start: SubscribeStart,
        *,
        prefetch: int,
        auto_ack: bool,
        timeout: float | None,
        connect_timeout: float | None,
        reconnect_timeout: float | None,
    ) -> None:
        self._timeout = timeout
        self._link: _Link | None = None
        link = _Link(at, stub, start, prefetch=prefetch, auto_ack=auto_ack, patience=reconnect_timeout)
        link.open(connect_timeout)
        self._link = link

    def read(self, timeout: float | None = None) -> ReceivedEvent | None:
        """The next event, or ``None`` when none came for ``timeout`` seconds (``None``: wait for ever).

        Raises :class:`EventsMissed` for events that are gone (the next call goes on behind them), another
        :class:`BusError` when the subscription has ended, and ``ValueError`` when it was closed.
        """
        return self._open().take(timeout)

    def read_delivery(self, timeout: float | None = None) -> Delivery | None:
        """As :meth:`read`, for all events that came together."""
        return self._open().take_delivery(timeout)

    def __iter__(self) -> Iterator[ReceivedEvent]:
        return self

    def __next__(self) -> ReceivedEvent:
        received = self.read(self._timeout)
        if received is None:
            raise StopIteration
        return received

    def deliveries(self) -> Iterator[Delivery]:
        """Iterates over events by what came together: less work for each."""
        while (delivery := self.read_delivery(self._timeout)) is not None:
            yield delivery

    @property
    def caught_up(self) -> bool:
        """Whether all that was stored when the subscription began has been handed out."""
        return self._link is not None and self._link.reading.caught_up

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._link is None

    def close(self) -> None:
        """Ends it. What was acknowledged is noted first; the event in hand is not acknowledged."""
        if self._link is not None:
            link, self._link = self._link, None
            link.close()

    def _open(self) -> _Link:
        if self._link is None:
            raise ValueError("the subscription is closed")
        return self._link

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The event in hand is done with, unless an exception is on its way."""
        if self._link is not None and error is None:
            self._link.finish()
        self.close()

    def __del__(self) -> None:
        # At the interpreter's end the link was closed, and a thread that was stopped there may hold any lock.
        if self._link is not None and not sys.is_finalizing():
            warnings.warn("unclosed subscription of an Event Bus", ResourceWarning, source=self, stacklevel=2)
            self._link.abandon()


class _Link:
    """The thread of a subscription, and what it shares with the program's threads."""

    def __init__(
        self,
        at: Address,
        stub: EventBusStub,
        start: SubscribeStart,
        *,
        prefetch: int,
        auto_ack: bool,
        patience: float | None,
    ) -> None:
        self.reading = Reading(start, prefetch=prefetch, auto_ack=auto_ack, settling=self)
        self._at = at
        self._stub = stub
        self._reconnect_seconds = patience
        self._patience = Patience(patience)
        # The garbage collector may end a subscription in any thread, also in one that holds its lock.
        lock = threading.RLock()
        # The program waits for events; the stream up for something to say; the thread for room, or for its next try.
        self._arrived = threading.Condition(lock)
        self._speak = threading.Condition(lock)
        self._room = threading.Condition(lock)
        self._call: grpc.Call | None = None
        self._closing = False
        self._error: BusError | None = None
        self._failed: grpc.RpcError | None = None
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="jimbot-bus-subscription", daemon=True)

    # For the program.

    def open(self, timeout: float | None) -> None:
        """Waits until the bus has accepted the subscription."""
        self._patience.renew(timeout)
        # A program that ends without closing it: its threads stop where they are after this.
        atexit.register(self.close)
        self._thread.start()
        try:
            with self._arrived:
                self._arrived.wait_for(lambda: self.reading.has_stood or self._error is not None, timeout)
                if self._error is not None:
                    raise self._error
                if not self.reading.has_stood:
                    raise unreachable(self._at.url, self._failed, timeout)
        except BaseException:
            self.abandon()
            raise

    def take(self, timeout: float | None) -> ReceivedEvent | None:
        return self._wait(self.reading.take, timeout)

    def take_delivery(self, timeout: float | None) -> Delivery | None:
        return self._wait(self.reading.take_delivery, timeout)

    def _wait(self, take: Callable[[], _T | None], timeout: float | None) -> _T | None:
        if os.getpid() != self._process:
            raise BusError("the subscription was made in another process: after a fork, make one in the child")
        ends = None if timeout is None else time.monotonic() + timeout
        with self._arrived:
            while True:
                try:
                    taken = take()
                finally:
                    self._changed()
                if taken is not None:
                    return taken
                if self._closing:
                    raise ValueError("the subscription is closed")
                if self._error is not None:
                    raise self._error
                left = None if ends is None else ends - time.monotonic()
                if left is not None and left <= 0.0:
                    return None
                self._arrived.wait(left)

    def settle(self, events: Sequence[Event], positions: Sequence[int]) -> None:
        with self._speak:
            self.reading.settle(events, positions)
            self._changed()

    def refuse(self, positions: Sequence[int], delay: float) -> None:
        with self._speak:
            self.reading.refuse(positions, delay)
            self._changed()

    def finish(self) -> None:
        with self._speak:
            self.reading.finish()
            self._changed()

    def close(self) -> None:
        """Says what is left to say, and waits until the bus has noted it."""
        self.abandon(cancel=False)
        if os.getpid() != self._process:
            return
        self._thread.join(GOODBYE_SECONDS)
        self.abandon()
        self._thread.join(GOODBYE_SECONDS)

    def abandon(self, *, cancel: bool = True) -> None:
        """Ends it without waiting."""
        atexit.unregister(self.close)
        # A child made by a fork has a copy of the locks, but not the threads that would open them.
        if os.getpid() != self._process:
            return
        with self._speak:
            self._closing = True
            for condition in (self._speak, self._arrived, self._room):
                condition.notify_all()
            call = self._call
        if cancel and call is not None:
            call.cancel()

    def _changed(self) -> None:
        """With the lock held: something was taken, or there is something to say."""
        if self.reading.has_room:
            self._room.notify()
        if self.reading.has_speech:
            self._speak.notify()

    # The thread.

    def _run(self) -> None:
        try:
            while self._connect():
                pass
        except BusError as error:
            self._end(error)
        except Exception as error:  # a mistake of ours must not leave the program waiting
            _log.exception("a subscription of the bus at %s ended by a fault", self._at.url)
            self._end(BusError(f"the subscription ended by a fault of this package: {error!r}"))

    def _end(self, error: BusError) -> None:
        with self._arrived:
            self._error = error
            self._arrived.notify_all()

    def _connect(self) -> bool:
        """One connection, from its first message to its end; whether another one is wanted."""
        failed: grpc.RpcError | None = None
        over = threading.Event()
        stood = replaced = False
        call = self._stub.Subscribe(self._requests(over), metadata=self._at.metadata)
        with self._arrived:
            self._call = call
            if self._closing:
                call.cancel()
        try:
            for response in call:
                stood = self._take_in(response) or stood
        except grpc.RpcError as error:
            failed = self._failed = error
        except _reading.StoreReplaced:
            replaced = True
        finally:
            over.set()
            call.cancel()
            with self._arrived:
                self.reading.disconnected()
                self._speak.notify_all()
                closing = self._closing
        if closing:
            return False
        if stood:
            self._patience.renew(self._reconnect_seconds)
        if replaced:
            _log.warning("the bus at %s has another store now: %s goes on with all it has", self._at.url, self.reading.name)
            return True
        wait = next_try(self._at, self.reading, self._patience, failed)
        with self._room:
            self._room.wait_for(lambda: self._closing, wait)
        return True

    def _take_in(self, response: SubscribeResponse) -> bool:
        """Takes in what the bus says; whether that was that the subscription stands."""
        with self._arrived:
            if self._closing:
                return False
            again = self.reading.has_stood
            self.reading.feed(response)
            stands = response.HasField("subscribed")
            if stands and again:
                _log.warning("the bus at %s is back, subscription to %s goes on", self._at.url, self.reading.name)
            self._arrived.notify()
            self._speak.notify()
            self._room.wait_for(lambda: self.reading.has_room or self._closing)
            return stands

    def _requests(self, over: threading.Event) -> Iterator[SubscribeRequest]:
        """The stream up, on a thread of gRPC's."""
        with self._speak:
            first = self.reading.begin()
        yield first
        while True:
            with self._speak:
                self._speak.wait_for(lambda: over.is_set() or self._closing or self.reading.has_speech)
                if not self._closing:
                    self._speak.wait_for(lambda: over.is_set() or self._closing, LINGER_SECONDS)
                if over.is_set():
                    return
                said = self.reading.speech()
                closing = self._closing
            yield from said
            if closing:
                return
