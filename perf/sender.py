"""Sends one body after the other over HTTP and waits for each answer."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from measure.consumer import written
from measure.process import CLIENT_CPU, one_body

PAUSE_SECONDS = 0.002
ID = re.compile(rb'"event_id":"([^"]{36})"')
# An event's own time is the only one with a fraction.
TIME = re.compile(rb'"timestamp":([0-9]+\.[0-9]+)')


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
    """Sends a body of a workload after the other and waits for each answer. One that spins never sleeps in between."""

    def __init__(self, address: str, workload: str = "small", spin: bool = False) -> None:
        host, _, port = address.rpartition(":")
        self.spin = spin
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = one_body(workload)
        path = "/api/v1/events/batch" if "events" in json.loads(body) else "/api/v1/events"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"User-Agent: perf-latency\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        self.request = bytearray(head + body)
        self.times = [match.span(1) for match in TIME.finditer(self.request)]
        self.ids = [match.span(1) for match in ID.finditer(self.request)]
        self.count = time.time_ns() % 10**12

    @property
    def events(self) -> int:
        """Events in each body."""
        return len(self.ids)

    def round_trip(self) -> int:
        """Nanoseconds from just before the sending until the answer."""
        request = self.request
        for start, end in self.ids:
            self.count += 1
            request[start:end] = b"%08d-0000-4000-8000-%012d" % (self.count % 10**8, self.count)
        before = time.monotonic_ns()
        for start, end in self.times:
            request[start:end] = written(before, end - start)
        self.socket.sendall(request)
        answer = self.socket.recv(4096)
        after = time.monotonic_ns()
        if not answer.startswith(b"HTTP/1.1 200"):
            sys.exit(f"error: the service answered {answer[:200]!r}")
        return after - before

    def pause(self) -> None:
        if not self.spin:
            time.sleep(PAUSE_SECONDS)
            return
        end = time.monotonic() + PAUSE_SECONDS
        while time.monotonic() < end:
            pass

    def series(self, count: int) -> np.ndarray[Any, Any]:
        found = []
        for _ in range(count):
            self.pause()
            found.append(self.round_trip())
        return np.array(found)
