"""``python -m jimbot.mcp.server --port P``: runs the service, ``jimbot-mcp serve``."""

from __future__ import annotations

import argparse
import sys

from jimbot.mcp import _binary


def arguments(given: list[str]) -> list[str]:
    """The arguments of ``jimbot-mcp`` that do what these ask for; what is not known here is its own."""
    parser = argparse.ArgumentParser(
        prog="python -m jimbot.mcp.server",
        description="Runs the service: games send events to it over HTTP and WebSocket, readers on this host read "
        "them from shared memory.",
        epilog="Everything else goes to 'jimbot-mcp serve' as it is: see 'jimbot-mcp serve --help'.",
        allow_abbrev=False,
    )
    parser.add_argument("--port", type=_port, metavar="P", help="listen on this port only (0: any free one)")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="with --port: the address (default %(default)s)"
    )
    known, others = parser.parse_known_args(given)
    own = ["serve"]
    if known.port is not None:
        host = f"[{known.host}]" if ":" in known.host and not known.host.startswith("[") else known.host
        own += ["--listen", f"{host}:{known.port}"]
    return own + others


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text}")
    return port


if __name__ == "__main__":
    _binary.become(arguments(sys.argv[1:]))
