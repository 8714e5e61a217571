"""Events for what is Python on both ends, a queue and an actor, made before they are due: sending is what counts there.

The brokers get theirs from `jimbot-peer-produce`; the bodies are the load generator's in both cases, each with an id of
its own and the time at which it is due.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

# Flat out so many are put together before they are handed over.
CHUNK = 256
KINDS = 64


class Template:
    """A body, cut where its time and its id stand."""

    def __init__(self, body: bytes) -> None:
        from measure.consumer import time_place, written  # only here: children of multiprocessing have another path

        self.written = written
        key = b'"event_id":"'
        self.time_at, self.time_width = time_place(body)
        self.id_at, self.body = body.index(key) + len(key), body

    def due(self, due_ns: int) -> tuple[bytes, bytes]:
        """What stands before its id and behind it, when it is due then."""
        time_end = self.time_at + self.time_width
        whole = self.body[: self.time_at] + self.written(due_ns, self.time_width) + self.body[time_end:]
        return whole[: self.id_at], whole[self.id_at + 36 :]


class Bodies:
    """The load generator's small events in turn."""

    def __init__(self) -> None:
        self.kept: list[Template] = []
        self.made = 0

    def templates(self) -> list[Template]:
        if not self.kept:
            from measure.process import binary

            printed = subprocess.run([binary("jimbot-load"), "--print", str(KINDS)], capture_output=True, check=True)
            self.kept = [Template(body) for body in printed.stdout.splitlines()]
        return self.kept

    def on_schedule(self, start_ns: int, step_ns: float, count: int) -> list[bytes]:
        """So many, one each step from that time on."""
        templates = self.templates()
        made = []
        for at in range(count):
            before, behind = templates[at % len(templates)].due(start_ns + int(at * step_ns))
            made.append(before + b"%036d" % (self.made + at) + behind)
        self.made += count
        return made

    def at_once(self, now_ns: int) -> list[bytes]:
        """A chunk that is due now, at the price of joining its parts."""
        parts = [template.due(now_ns) for template in self.templates()]
        first, self.made = self.made, self.made + CHUNK
        return [b"%b%036d%b" % (before, first + turn + at, behind) for turn in range(0, CHUNK, KINDS) for at, (before, behind) in enumerate(parts)]


def drive(bodies: Bodies, send: Callable[[list[bytes]], None], rate: str, seconds: float) -> dict[str, Any]:
    """Sends for so long; `send` returns when the bodies are handed over."""
    if rate == "flat":
        bodies.at_once(0)
        start = time.monotonic_ns()
        end = start + int(seconds * 1e9)
        sent = 0
        while (now := time.monotonic_ns()) < end:
            send(bodies.at_once(now))
            sent += CHUNK
        return {"events_sent": sent, "seconds": (time.monotonic_ns() - start) / 1e9, "behind_max": 0}
    step = 1e9 / float(rate)
    count = max(int(seconds * 1e9 / step), 1)
    # Made before the first is due; when that took longer than was thought, for a later start.
    ahead_ns = 5_000_000 + 5_000 * count
    while True:
        start = time.monotonic_ns() + ahead_ns
        made = bodies.on_schedule(start, step, count)
        if time.monotonic_ns() < start:
            break
        ahead_ns *= 2
    began = time.process_time()
    sent = latest = 0
    while sent < count:
        now = time.monotonic_ns()
        due = min(int((now - start) / step) + 1, count) if now >= start else 0
        if due > sent:
            latest = max(latest, due - sent)
            due = min(due, sent + CHUNK)
            send(made[sent:due])
            sent = due
        else:
            time.sleep(max(0.0, (start + sent * step - time.monotonic_ns()) / 1e9))
    took = max((time.monotonic_ns() - start) / 1e9, seconds)
    # What making them beforehand took is no part of the run.
    return {"events_sent": sent, "seconds": took, "behind_max": latest, "client_cpu_seconds": time.process_time() - began}
