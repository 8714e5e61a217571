"""Where the service that writes a log can be reached."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FILE = "endpoints.json"
DEFAULT_URL = "http://127.0.0.1:8080"


def service_url(path: str | os.PathLike[str]) -> str:
    """The HTTP address of the service whose shared-memory directory is ``path``; its default one where the
    directory does not tell."""
    try:
        addresses = _addresses(json.loads((Path(path) / FILE).read_bytes()))
    except (OSError, ValueError):
        return DEFAULT_URL
    # A wildcard address is one to bind to; to connect, it is this host.
    for address in addresses:
        host, _, port = address.rpartition(":")
        if port.isdigit() and host:
            host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
            return f"http://{host}:{port}"
    return DEFAULT_URL


def _addresses(told: Any) -> list[str]:
    listed = told.get("listen", []) if isinstance(told, dict) else []
    return [address for address in listed if isinstance(address, str) and not address.startswith("unix:")]
