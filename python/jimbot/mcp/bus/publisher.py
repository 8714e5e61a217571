"""Publishing streams for threads."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from types import TracebackType

import grpc

from jimbot.mcp.bus._connection import Address, Patience
from jimbot.mcp.bus._requests import events_of
from jimbot.mcp.bus._sending import Sending
from jimbot.mcp.bus.errors import BusError, EventsRejected, is_transient, status_of, translated, unreachable
from jimbot.proto.base_pb2 import Event, EventBatch
from jimbot.proto.event_bus_pb2 import AckLevel, PublishRequest, PublishResponse, PublishResult
from jimbot.proto.event_bus_pb2_grpc import EventBusStub

_log = logging.getLogger("jimbot.mcp.bus")


def next_try(at: Address, patience: Patience, failed: grpc.RpcError | None) -> float:
    """Seconds to wait before the stream is opened again. Raises what the program is to be told when it shall not be."""
    if failed is not None and not is_transient(failed):
        raise translated(failed, at.url)
    wait = patience.next_wait()
    if wait is None:
        raise unreachable(at.url, failed, patience.seconds)
    why = "it ended the stream" if failed is None else status_of(failed)[1]
    _log.warning("the bus at %s is away (%s); published events wait, next try in %.1f s", at.url, why, wait)
    return wait


class Publisher:
    """A stream of batches to the bus, many under way; made by :meth:`EventBusClient.publisher`.

    A thread of its own takes the answers. When the connection breaks it sends again what was not answered; the bus
    stores each event once. Threads may share it.
    """

    def __init__(
        self,
        at: Address,
        stub: EventBusStub,
        batches: Callable[[list[Event]], list[EventBatch]],
        level: AckLevel.ValueType,
        timeout: float | None,
    ) -> None:
        self._at = at
        self._stub = stub
        self._batches = batches
        self._seconds = timeout
        self._patience = Patience(timeout)
        self._sending: Sending[Future[PublishResult]] = Sending(level)
        # Programs wait for room or for the end; the stream up for batches; the thread for its next try.
        self._changed = threading.Condition()
        self._order = threading.Lock()
        self._closing = False
        self._error: BusError | None = None
        self._failed: BusError | None = None
        self._process = os.getpid()
        self._call: grpc.Call | None = None
        self._thread: threading.Thread | None = None

    def send(self, events: Event | Iterable[Event]) -> Future[PublishResult]:
        """Sends one event or a list of them, and returns at once: the answer comes in the future.

        Waits while 32 batches, or 8 MiB, are under way. Lists are much less work than events one by one. The future
        fails with :class:`EventsRejected` when some of the events were not stored, and with another :class:`BusError`
        when the bus could not be reached for ``timeout`` seconds; what was sent later fails with it.
        """
        if os.getpid() != self._process:
            raise BusError("the publisher was made in another process: after a fork, make one in the child")
        # Numbers are given in the order in which batches go.
        with self._order:
            batches = self._batches(events_of(events))
            if len(batches) != 1:
                raise ValueError(
                    "an empty list has no answer" if not batches else "this list is larger than a message may be: send parts of it"
                )
            with self._changed:
                self._check()
                if self._thread is None:
                    self._patience.renew(self._seconds)
                    self._thread = threading.Thread(target=self._run, name="jimbot-bus-publisher", daemon=True)
                    self._thread.start()
                self._changed.wait_for(lambda: self._sending.has_room or self._error is not None or self._closing)
                self._check()
                future: Future[PublishResult] = Future()
                future.set_running_or_notify_cancel()
                self._sending.add(batches[0], future)
                self._changed.notify_all()
                return future

    def flush(self) -> None:
        """Waits until all that was sent is answered. Raises the first failure since the last flush."""
        with self._changed:
            self._changed.wait_for(lambda: not self._sending)
            failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Ends the stream at once: what is not answered fails. Leaving ``with`` flushes first."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            call = self._call
        if call is not None:
            call.cancel()
        if self._thread is not None:
            self._thread.join()

    def _check(self) -> None:
        if self._closing:
            raise ValueError("the publisher is closed")
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Flushes, unless an exception is on its way."""
        try:
            if error is None:
                self.flush()
        finally:
            self.close()

    # The thread.

    def _run(self) -> None:
        ended = BusError("the publisher was closed before the bus answered: the events may be stored or not")
        try:
            while self._connect():
                pass
        except BusError as error:
            ended = error
        except Exception as error:  # a mistake of ours must not leave the program waiting
            _log.exception("a publisher to the bus at %s ended by a fault", self._at.url)
            ended = BusError(f"the publisher ended by a fault of this package: {error!r}")
        with self._changed:
            self._error = ended
            left = self._sending.give_up()
            if left and self._failed is None:
                self._failed = ended
            self._changed.notify_all()
        for future in left:
            future.set_exception(ended)

    def _connect(self) -> bool:
        """One connection; whether another one is wanted."""
        failed: grpc.RpcError | None = None
        answered = False
        with self._changed:
            if not self._sending:
                self._changed.wait_for(lambda: self._closing or len(self._sending) > 0)
                self._patience.renew(self._seconds)
            if self._closing:
                return False
        over = threading.Event()
        call = self._stub.Publish(self._requests(over), metadata=self._at.metadata)
        with self._changed:
            self._call = call
            if self._closing:
                call.cancel()
        try:
            for response in call:
                answered = True
                self._take_in(response)
        except grpc.RpcError as error:
            failed = error
        finally:
            over.set()
            call.cancel()
            with self._changed:
                self._sending.disconnected()
                self._changed.notify_all()
                closing = self._closing
        if closing:
            return False
        if answered:
            self._patience.renew(self._seconds)
        wait = next_try(self._at, self._patience, failed)
        with self._changed:
            self._changed.wait_for(lambda: self._closing, wait)
        return True

    def _take_in(self, response: PublishResponse) -> None:
        with self._changed:
            future, result = self._sending.answered(response)
            refused = EventsRejected(result) if result.rejections else None
            self._failed = self._failed or refused
            self._changed.notify_all()
        if refused is not None:
            future.set_exception(refused)
        else:
            future.set_result(result)

    def _requests(self, over: threading.Event) -> Iterator[PublishRequest]:
        """The stream up, on a thread of gRPC's."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: over.is_set() or self._closing or self._sending.has_unsent)
                if over.is_set() or self._closing:
                    return
                request = self._sending.next()
            yield request
