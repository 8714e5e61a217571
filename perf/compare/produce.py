"""Publishes the load generator's small event to what games can't speak to themselves: produce.py KIND ADDRESS

Reads `send RATE|flat SECONDS` on its standard input, answers with a line of JSON. At a rate an event carries the time at
which it was due, and what is due goes out in one write; flat out it goes as fast as the other side lets it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

CHUNK = 256
IN_FLIGHT = 4096


class Template:
    """The body, with a time and an id of its own for each sending."""

    def __init__(self, body: bytes) -> None:
        from measure.consumer import time_place, written  # only here: children of multiprocessing have another path

        self.written = written
        key = b'"event_id":"'
        (time_at, self.time_width), id_at = time_place(body), body.index(key) + len(key)
        cuts = sorted([(time_at, self.time_width, b"%(time)s"), (id_at, 36, b"%(id)s")])
        parts, copied = [], 0
        for at, length, mark in cuts:
            parts += [body[copied:at].replace(b"%", b"%%"), mark]
            copied = at + length
        self.pattern = b"".join([*parts, body[copied:].replace(b"%", b"%%")])
        self.length = len(body)
        self.count = 0

    def fill(self, due_ns: int) -> bytes:
        self.count += 1
        return self.pattern % {b"time": self.written(due_ns, self.time_width), b"id": b"%036d" % self.count}


def drive(template: Template, send: Callable[[list[bytes]], None], rate: str, seconds: float) -> dict[str, Any]:
    """Sends for so long; `send` returns when the bodies are handed over."""
    start = time.monotonic_ns()
    end = start + int(seconds * 1e9)
    sent = latest = 0
    if rate == "flat":
        while (now := time.monotonic_ns()) < end:
            send([template.fill(now) for _ in range(CHUNK)])
            sent += CHUNK
    else:
        step = 1e9 / float(rate)
        while (now := time.monotonic_ns()) < end:
            due = int((now - start) / step) + 1
            if due > sent:
                latest = max(latest, due - sent)
                count = min(due - sent, CHUNK)
                send([template.fill(start + int((sent + each) * step)) for each in range(count)])
                sent += count
            else:
                time.sleep(max(0.0, (start + sent * step - time.monotonic_ns()) / 1e9))
    took = (time.monotonic_ns() - start) / 1e9
    return {"events_sent": sent, "seconds": took, "behind_max": latest}


class Redis:
    """XADD in pipelines; each is answered."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, bodies: list[bytes]) -> None:
        command = b"*8\r\n$4\r\nXADD\r\n$6\r\nevents\r\n$6\r\nMAXLEN\r\n$1\r\n~\r\n$6\r\n400000\r\n$1\r\n*\r\n$1\r\ne\r\n$%d\r\n%s\r\n"
        self.socket.sendall(b"".join([command % (len(body), body) for body in bodies]))
        lines = 0
        # An answer is two lines: the length of the id, and the id.
        while lines < 2 * len(bodies):
            lines += self.socket.recv(65536).count(b"\r\n")


class Nats:
    """PUB; with JetStream each is acknowledged, and so many may be under way."""

    def __init__(self, address: str, acknowledged: bool) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB acks 1\r\nPING\r\n')
        self.acknowledged = acknowledged
        self.waiting = 0
        answer = b""
        while b"PONG\r\n" not in answer:
            answer += self.socket.recv(65536)

    def send(self, bodies: list[bytes]) -> None:
        if not self.acknowledged:
            self.socket.sendall(b"".join([b"PUB events %d\r\n%s\r\n" % (len(body), body) for body in bodies]))
            return
        self.socket.sendall(b"".join([b"PUB stored acks %d\r\n%s\r\n" % (len(body), body) for body in bodies]))
        self.waiting += len(bodies)
        while self.waiting > IN_FLIGHT:
            self.take()
        self.socket.setblocking(False)
        try:
            while self.waiting:
                self.take()
        except BlockingIOError:
            pass
        finally:
            self.socket.setblocking(True)

    def take(self) -> None:
        # A read may cut an answer in two; its first word is counted when it stands in one of them.
        self.waiting -= self.socket.recv(65536).count(b"MSG acks")


class ZeroMq:
    def __init__(self, address: str) -> None:
        import zmq

        self.socket = zmq.Context().socket(zmq.PUSH)
        self.socket.bind(address)

    def send(self, bodies: list[bytes]) -> None:
        for body in bodies:
            self.socket.send(body)


def main() -> None:
    from measure.process import binary

    kind, address = sys.argv[1:3]
    connect: dict[str, Callable[[], Any]] = {
        "redis": lambda: Redis(address),
        "nats": lambda: Nats(address, False),
        "jetstream": lambda: Nats(address, True),
        "zeromq": lambda: ZeroMq(address),
    }
    body = subprocess.run([binary("jimbot-load"), "--print", "1"], capture_output=True, check=True).stdout.strip()
    template, peer = Template(body), connect[kind]()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        match line.split():
            case ["send", rate, seconds]:
                print(json.dumps(drive(template, peer.send, rate, float(seconds))), flush=True)
            case _:
                sys.exit(f"unknown command: {line!r}")


if __name__ == "__main__":
    main()
