"""The end of every path that is measured: a Python process that has the events in hand, and says when.

A consumer calls `Samples.add` with the times at which events were meant to be sent. It is told on its standard input
what to do, one line a command, and answers with a line of JSON:

    begin               forget what came before
    report N SECONDS    wait until N events came, SECONDS at most; then tell how many and with what latency
    off | on            leave the events alone, take them again (only where somebody keeps them meanwhile)
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
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
    """Latencies since `begin`. One thread adds, another one asks."""

    def __init__(self) -> None:
        self.count = 0
        self.active = True
        self._parts: list[np.ndarray[Any, Any]] = []
        self._loose: list[int] = []
        self._since_ns = 0

    def add(self, sent: np.ndarray[Any, Any], seen_ns: int | None = None) -> None:
        """Events that were in hand at `seen_ns`: just now, where telling when they were sent takes no time."""
        now = time.monotonic_ns() if seen_ns is None else seen_ns
        if len(sent) and sent[0] < self._since_ns:
            sent = sent[sent >= self._since_ns]
        self._parts.append(now - sent)
        self.count += len(sent)

    def add_one(self, sent: int) -> None:
        """Likewise, a single one."""
        if sent >= self._since_ns:
            self._loose.append(time.monotonic_ns() - sent)
            self.count += 1

    def begin(self) -> None:
        self._since_ns = time.monotonic_ns()
        self._parts, self._loose, self.count = [], [], 0

    def all_ns(self) -> np.ndarray[Any, Any]:
        parts = [*self._parts, np.array(self._loose, dtype=np.int64)]
        return np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])

    def obey(self) -> None:
        """Does what standard input says until it ends, which ends the process."""
        for line in sys.stdin:
            told: dict[str, Any] = {}
            match line.split():
                case ["begin"]:
                    self.begin()
                case ["on"]:
                    self.active = True
                case ["off"]:
                    self.active = False
                case ["report", count, seconds]:
                    end = time.monotonic() + float(seconds)
                    while self.count < int(count) and time.monotonic() < end:
                        time.sleep(0.01)
                    told = stats.latency(self.all_ns())
                case _:
                    sys.exit(f"unknown command: {line!r}")
            print(json.dumps(told), flush=True)

    def run(self, take: Callable[[], None], ready: dict[str, Any] | None = None) -> None:
        """Takes events in the main thread for as long as standard input is open."""
        commands = threading.Thread(target=self.obey, daemon=True)
        print(json.dumps({"ready": True} | (ready or {})), flush=True)
        commands.start()
        while commands.is_alive():
            if self.active:
                take()
            else:
                time.sleep(0.01)


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
