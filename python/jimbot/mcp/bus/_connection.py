"""Where a bus is, how to get there, and when to try again."""

from __future__ import annotations

import os
import random
import ssl
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from jimbot.mcp.endpoints import DEFAULT_BUS_URL

# What the bus takes, and twice that: a delivery holds events of the size of a message, and their positions.
SEND_BYTES_MAX = 4 << 20
RECEIVE_BYTES_MAX = 2 * SEND_BYTES_MAX

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Address:
    """A bus's URL, checked, with what its calls carry."""

    url: str
    target: str
    credentials: grpc.ChannelCredentials | None
    metadata: Metadata
    options: tuple[tuple[str, int], ...]


def address(
    url: str,
    token: str | None,
    token_file: str | os.PathLike[str] | None,
    ca_file: str | os.PathLike[str] | None,
) -> Address:
    """Checks where a bus is said to be. Raises ``ValueError`` for what is no URL of one, ``OSError`` for a file that
    can't be read."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(f"url is like {DEFAULT_BUS_URL} or https://bus.example:50051, not {url!r}")
    if parts.port is None:
        raise ValueError(f"url names a port, like {DEFAULT_BUS_URL}, and {url!r} has none")
    if token is not None and token_file is not None:
        raise ValueError("token or token_file, not both")
    if token_file is not None:
        token = Path(token_file).read_text().strip()
    metadata: Metadata = ()
    if token is not None:
        if not token or not token.isascii() or not token.isprintable():
            raise ValueError("a token is one line of printable characters, as in the bus's --token-file")
        metadata = (("authorization", f"Bearer {token}"),)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    options = {
        "grpc.max_send_message_length": SEND_BYTES_MAX,
        "grpc.max_receive_message_length": RECEIVE_BYTES_MAX,
        # A host that is gone says nothing: it is asked.
        "grpc.keepalive_time_ms": 20_000,
        "grpc.keepalive_timeout_ms": 10_000,
        # How soon to try again is decided here, and a connection broken for one client is not so for another.
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.min_reconnect_backoff_ms": 5_000,
        "grpc.max_reconnect_backoff_ms": 2_000,
        "grpc.use_local_subchannel_pool": 1,
    }
    if parts.hostname in ("localhost", "127.0.0.1", "::1"):
        # No proxy of the environment comes between two programs of one host.
        options["grpc.enable_http_proxy"] = 0
    return Address(
        url=url,
        target=f"dns:///{host}:{parts.port}",
        credentials=_credentials(ca_file) if parts.scheme == "https" else None,
        metadata=metadata,
        options=tuple(options.items()),
    )


def _credentials(ca_file: str | os.PathLike[str] | None) -> grpc.ChannelCredentials:
    """Trusts the authorities in ``ca_file``, else those of the system, else those that gRPC brings."""
    trusted = os.fspath(ca_file) if ca_file is not None else ssl.get_default_verify_paths().cafile
    return grpc.ssl_channel_credentials(Path(trusted).read_bytes() if trusted else None)


def open_channel(at: Address) -> grpc.Channel:
    """A channel for threads; connects with the first call."""
    if at.credentials is None:
        return grpc.insecure_channel(at.target, at.options)
    return grpc.secure_channel(at.target, at.credentials, at.options)


def open_aio_channel(at: Address) -> grpc.aio.Channel:
    """A channel for the running event loop; connects with the first call."""
    if at.credentials is None:
        return grpc.aio.insecure_channel(at.target, at.options)
    return grpc.aio.secure_channel(at.target, at.credentials, at.options)


class Patience:
    """How long to go on trying, and how long to wait in between: doubling from 100 ms to 10 s, drawn at random below
    that (full jitter), so that many clients of a bus that comes back do not come at once."""

    FIRST_SECONDS = 0.1
    MOST_SECONDS = 10.0

    def __init__(
        self,
        seconds: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._draw = draw
        self.renew(seconds)

    def renew(self, seconds: float | None) -> None:
        """Begins anew, since something worked."""
        self.seconds = seconds
        self._ends = None if seconds is None else self._clock() + seconds
        self._ceiling = self.FIRST_SECONDS

    def left(self) -> float | None:
        """Seconds left; ``None`` when there is no end."""
        return None if self._ends is None else max(0.0, self._ends - self._clock())

    def next_wait(self) -> float | None:
        """Seconds to wait before the next try; ``None`` when there shall be none."""
        wait = self._draw(0.0, self._ceiling)
        self._ceiling = min(self.MOST_SECONDS, 2 * self._ceiling)
        left = self.left()
        if left is None:
            return wait
        return None if left <= 0.0 else min(wait, left)
