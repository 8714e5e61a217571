"""The end of every path that is measured: a Python process that has the events in hand, and says when.

A consumer gives `Samples` the events, or the times at which they were meant to be sent, when it has them. It is told on its standard input
what to do, one line a command, and answers with a line of JSON:

    begin               forget what came before
    settle N SECONDS    wait until N events came, SECONDS at most
    report N SECONDS    likewise; then tell how many and with what latency
    off | on            leave the events alone, take them again (only where somebody keeps them meanwhile)
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import stats

TIMESTAMP = b'"timestamp":'


def time_place(body: bytes) -> tuple[int, int]:
    """Where an event's time stands, and how many bytes it has. Those of one run all have as many."""
    at = body.index(TIMESTAMP) + len(TIMESTAMP)
    ends = [end for end in (body.find(mark, at) for mark in (b",", b"}")) if end >= 0]
    return at, min(ends) - at


def sent_ns(body: bytes) -> int:
    """When a JSON event was meant to be sent, nanoseconds of the monotonic clock."""
    at, width = time_place(body)
    return int(float(body[at : at + width]) * 1e6)


def written(mono_ns: int, width: int) -> bytes:
    """A time as it stands in an event: milliseconds, and as much of the fraction as has room."""
    return (b"%d.%06d" % divmod(mono_ns, 10**6)).ljust(width, b"0")[:width]


class Samples:
    """Latencies since `begin`. One thread adds, another one asks.

    While events come in, what was in hand and when is only kept: telling from it when each was sent waits until somebody
    asks, so that no row pays for the measuring, whatever its events look like.
    """

    def __init__(self) -> None:
        self.count = 0
        self.active = True
        self.over = False
        # Whether the main thread takes events, and has what it takes them from; none where there is no such thread.
        self._taking: bool | None = None
        # Called with what `active` becomes, where a row has more to do then.
        self.switched: Callable[[bool], None] | None = None
        self._raw: list[tuple[int, Any]] = []
        self._loose: list[int] = []
        self._since_ns = 0

    def add(self, sent: np.ndarray[Any, Any], seen_ns: int | None = None) -> None:
        """Events that were in hand at `seen_ns` (just now), by the nanoseconds at which they were to be sent."""
        self._raw.append((time.monotonic_ns() if seen_ns is None else seen_ns, sent))
        self.count += len(sent)

    def add_ms(self, sent_ms: Sequence[float] | np.ndarray[Any, Any], seen_ns: int | None = None) -> None:
        """Likewise in milliseconds, as they stand in an event or a log's index; the array has to stay as it is."""
        self._raw.append((time.monotonic_ns() if seen_ns is None else seen_ns, sent_ms))
        self.count += len(sent_ms)

    def add_bodies(self, bodies: list[bytes]) -> None:
        """Events that are in hand as JSON just now."""
        self._raw.append((time.monotonic_ns(), bodies))
        self.count += len(bodies)

    def add_one(self, sent: int) -> None:
        """One that is in hand just now."""
        if sent >= self._since_ns:
            self._loose.append(time.monotonic_ns() - sent)
            self.count += 1

    def begin(self) -> None:
        self._since_ns = time.monotonic_ns()
        self._raw, self._loose, self.count = [], [], 0

    def all_ns(self) -> np.ndarray[Any, Any]:
        """The latencies of all that were sent since `begin`."""
        parts = [np.array(self._loose, dtype=np.int64)]
        # By position: the other thread may append meanwhile.
        for at in range(len(self._raw)):
            seen_ns, what = self._raw[at]
            sent = times_ns(what)
            parts.append(seen_ns - sent[sent >= self._since_ns])
        return np.concatenate(parts)

    def wait(self, count: int, seconds: float) -> None:
        """Returns when so many have come, or after that time."""
        end = time.monotonic() + seconds
        while self.count < count and time.monotonic() < end:
            time.sleep(0.01)

    def report(self, count: int, seconds: float) -> dict[str, Any]:
        """The latencies when so many have come that were sent since `begin`, or after that time."""
        end, stragglers = time.monotonic() + seconds, 0
        while True:
            self.wait(count + stragglers, end - time.monotonic())
            found = self.all_ns()
            if len(found) >= count or time.monotonic() >= end:
                return self.told(found)
            # Events of the run before came late, and were counted.
            stragglers = self.count - len(found)

    def told(self, found: np.ndarray[Any, Any]) -> dict[str, Any]:
        """Latencies, and when the last event came."""
        last_seen_ns = max((seen_ns for seen_ns, _ in self._raw), default=0)
        return stats.latency(found) | {"last_seen_ns": last_seen_ns}

    def switch(self, active: bool) -> None:
        """Returns when it is so: what is sent next is taken, or left alone, from its first event on."""
        self.active = active
        if self.switched is not None:
            self.switched(active)
        while self._taking is (not active):
            time.sleep(0.001)

    def obey(self) -> None:
        """Does what standard input says until it ends, which ends the process."""
        for line in sys.stdin:
            told: dict[str, Any] = {}
            match line.split():
                case ["begin"]:
                    self.begin()
                case ["on"]:
                    self.switch(True)
                case ["off"]:
                    self.switch(False)
                case ["settle", count, seconds]:
                    self.wait(int(count), float(seconds))
                case ["report", count, seconds]:
                    told = self.report(int(count), float(seconds))
                case _:
                    sys.exit(f"unknown command: {line!r}")
            print(json.dumps(told), flush=True)

    def run(
        self,
        take: Callable[[], None],
        ready: dict[str, Any] | None = None,
        *,
        begin: Callable[[], None] = lambda: None,
        leave: Callable[[], None] = lambda: None,
        end: Callable[[], None] = lambda: None,
    ) -> None:
        """Takes events in the main thread for as long as standard input is open.

        `begin` is called before events are taken, at the start and after a while without, and `leave` before they are
        left alone. `end` gets the thread out of a `take` that waits without a limit.
        """

        def commands() -> None:
            try:
                self.obey()
            finally:
                self.over = True
                end()

        begin()
        self._taking = True
        print(json.dumps({"ready": True} | (ready or {})), flush=True)
        threading.Thread(target=commands, daemon=True).start()
        while not self.over:
            if self.active is not self._taking:
                (begin if self.active else leave)()
                self._taking = self.active
            if self._taking:
                take()
            else:
                time.sleep(0.001)


def times_ns(what: Any) -> np.ndarray[Any, Any]:
    """When events were to be sent, of JSON bodies, milliseconds or nanoseconds."""
    if isinstance(what, list) and what and isinstance(what[0], bytes):
        return np.array([sent_ns(body) for body in what], dtype=np.int64)
    times = np.asarray(what)
    return times if times.dtype == np.int64 else (times.astype(np.float64) * 1e6).astype(np.int64)


class Consumer:
    """A consumer seen from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdin is not None and process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        # What it says when it is ready.
        self.greeting = self.answer()

    def answer(self) -> dict[str, Any]:
        line = self._stdout.readline()
        if not line:
            raise RuntimeError(f"the consumer {self.process.args} ended with code {self.process.wait()}")
        told: dict[str, Any] = json.loads(line)
        return told

    def ask(self, command: str) -> dict[str, Any]:
        self._stdin.write(command + "\n")
        self._stdin.flush()
        return self.answer()
