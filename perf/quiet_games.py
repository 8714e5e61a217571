"""Games that are connected and quiet: each has sent one whole state over its WebSocket, or nothing at all, and answers pings
from then on."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT, PING = 0x81, 0x89
# Masked with zeros, and empty.
PONG = bytes([0x8A, 0x80, 0, 0, 0, 0])


def text_frame(body: bytes) -> bytes:
    """A whole text message, masked with zeros as a client may."""
    length = bytes([0x80 | len(body)]) if len(body) < 126 else b"\xfe" + len(body).to_bytes(2, "big")
    return bytes([TEXT]) + length + bytes(4) + body


class QuietGames:
    """Connects `count` games, one after the other. Each sends the next of the bodies, if there are any."""

    def __init__(self, address: str, count: int, bodies: Iterator[bytes] | None = None) -> None:
        host, _, port = address.rpartition(":")
        self.pings = 0
        self._selector = selectors.DefaultSelector()
        for _ in range(count):
            game = socket.create_connection((host, int(port)))
            self._selector.register(game, selectors.EVENT_READ)
            game.sendall(UPGRADE)
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                part = game.recv(4096)
                if not part:
                    raise ConnectionError(f"the service ended a connection: {answer!r}")
                answer += part
            if not answer.startswith(b"HTTP/1.1 101"):
                raise ConnectionError(f"the service answered {answer!r}")
            if bodies is not None:
                game.sendall(text_frame(next(bodies)))
            self.answer_pings(0)

    def answer_pings(self, seconds: float) -> None:
        """Answers the service's pings for so long, and does nothing else."""
        end = time.monotonic() + seconds
        while True:
            for key, _ in self._selector.select(max(0.0, end - time.monotonic())):
                game = key.fileobj
                assert isinstance(game, socket.socket)
                told = game.recv(4096)
                # The service sends such a game nothing else, and a ping of two bytes is never cut.
                if not told or told != bytes([PING, 0]) * (len(told) // 2):
                    raise ConnectionError(f"the service sent {told!r}")
                for _ in range(len(told) // 2):
                    self.pings += 1
                    game.sendall(PONG)
            if time.monotonic() >= end:
                return

    def close(self) -> None:
        """Disconnects all of them."""
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
