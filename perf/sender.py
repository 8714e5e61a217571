"""Sends one event after the other over HTTP and waits for each answer."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from measure.consumer import time_place, written
from measure.process import CLIENT_CPU, small_body

PAUSE_SECONDS = 0.002
ID = b'"event_id":"'


@contextmanager
def on_client_cpu() -> Iterator[None]:
    """Keeps this process off the server's CPU: beside a hot thread that spins it would wait for whole time slices."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CLIENT_CPU})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Sender:
    """Sends one event after the other and waits for each answer."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = small_body()
        head = (
            f"POST /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"User-Agent: perf-latency\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        self.request = bytearray(head + body)
        at, self.time_width = time_place(body)
        self.time_at = len(head) + at
        self.id_at = len(head) + body.index(ID) + len(ID)
        self.count = time.time_ns() % 10**12

    def round_trip(self) -> int:
        """Nanoseconds from just before the sending until the answer."""
        self.count += 1
        request = self.request
        request[self.id_at : self.id_at + 36] = b"%08d-0000-4000-8000-%012d" % (self.count % 10**8, self.count)
        before = time.monotonic_ns()
        request[self.time_at : self.time_at + self.time_width] = written(before, self.time_width)
        self.socket.sendall(request)
        answer = self.socket.recv(4096)
        after = time.monotonic_ns()
        if not answer.startswith(b"HTTP/1.1 200"):
            sys.exit(f"error: the service answered {answer[:200]!r}")
        return after - before

    def series(self, count: int) -> np.ndarray[Any, Any]:
        found = []
        for _ in range(count):
            time.sleep(PAUSE_SECONDS)
            found.append(self.round_trip())
        return np.array(found)
