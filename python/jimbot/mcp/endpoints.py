"""Where the service that writes a log can be reached."""

from __future__ import annotations

import http.client
import json
import os
import socket
import urllib.parse
from pathlib import Path
from typing import Any

FILE = "endpoints.json"
DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_BUS_URL = "http://127.0.0.1:50051"

# A wildcard address is one to bind to; to connect, it is this host.
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


def service_url(path: str | os.PathLike[str]) -> str:
    """The first address of the service whose shared-memory directory is ``path``, as ``http://HOST:PORT`` or
    ``unix:PATH``; the default one where the directory does not tell."""
    try:
        address = _told(path)["listen"][0]
    except (OSError, ValueError, LookupError, TypeError):
        return DEFAULT_URL
    if str(address).startswith("unix:"):
        return str(address)
    host, _, port = str(address).rpartition(":")
    return f"http://{_WILDCARDS.get(host, host)}:{port}"


def bus_url(path: str | os.PathLike[str]) -> str:
    """The address of the Event Bus inside the service whose shared-memory directory is ``path``; that of
    ``jimbot-mcp bus`` where the directory does not tell."""
    try:
        url = _told(path)["bus"]
    except (OSError, ValueError, LookupError, TypeError):
        return DEFAULT_BUS_URL
    return url if isinstance(url, str) and url else DEFAULT_BUS_URL


def _told(path: str | os.PathLike[str]) -> Any:
    return json.loads((Path(path) / FILE).read_bytes())


def connect(url: str, timeout: float) -> http.client.HTTPConnection:
    """A connection to ``http://HOST:PORT``, ``https://HOST:PORT`` or ``unix:PATH``, made when it is used; no proxy of
    the environment comes between two programs of one host. Raises ``ValueError`` for anything else."""
    if url.startswith("unix:"):
        return _UnixConnection(url.removeprefix("unix:"), timeout)
    target = urllib.parse.urlsplit(url)
    if target.hostname is None or target.scheme not in ("http", "https") or target.path not in ("", "/"):
        raise ValueError(f"url is like http://127.0.0.1:8080 or unix:/run/jimbot-mcp.sock, not {url!r}")
    kind = http.client.HTTPConnection if target.scheme == "http" else http.client.HTTPSConnection
    return kind(target.hostname, target.port, timeout=timeout)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
