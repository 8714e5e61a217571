"""``python -m jimbot.mcp.client --mock-events``: plays made-up games against a service, ``jimbot-mcp simulate``."""

from __future__ import annotations

import argparse
import sys

from jimbot.mcp import _binary


def arguments(given: list[str]) -> list[str]:
    """The arguments of ``jimbot-mcp`` that do what these ask for; what is not known here is its own."""
    parser = argparse.ArgumentParser(
        prog="python -m jimbot.mcp.client",
        description="Plays made-up games against a running service.",
        epilog="Everything else goes to 'jimbot-mcp simulate' as it is: see 'jimbot-mcp simulate --help'.",
        allow_abbrev=False,
    )
    parser.add_argument("--mock-events", action="store_true", required=True, help="send made-up events")
    parser.add_argument("--rate", type=float, metavar="R", help="events a second (default: the rhythm of play)")
    parser.add_argument("--duration", type=float, metavar="S", help="seconds to send (default: until Ctrl-C)")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="with --port (default %(default)s)")
    parser.add_argument("--port", type=int, metavar="P", help="of the service (default: what runs on this host)")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="send the bearer token in this file (default: the environment's JIMBOT_MCP_TOKEN, if it is set)",
    )
    known, others = parser.parse_known_args(given)
    own = ["simulate"]
    if known.port is not None:
        host = f"[{known.host}]" if ":" in known.host and not known.host.startswith("[") else known.host
        own += ["--to", f"http://{host}:{known.port}"]
    if known.token_file is not None:
        own += ["--token-file", known.token_file]
    if known.rate is not None:
        own += ["--rate", f"{known.rate:g}"]
    if known.duration is not None:
        own += ["--seconds", f"{known.duration:g}"]
    return own + others


if __name__ == "__main__":
    _binary.become(arguments(sys.argv[1:]))
