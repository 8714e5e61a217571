"""Sends commands to a game, through the service's mailbox."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from jimbot.mcp.endpoints import service_url
from jimbot.mcp.reader import DEFAULT_DIRECTORY


class CommandRefused(Exception):
    """The service did not take the command.

    ``status`` is the HTTP status (409: several games are connected and none was named; ``answer`` lists them),
    ``answer`` the service's JSON answer, or its text.
    """

    def __init__(self, message: str, status: int, answer: Any) -> None:
        super().__init__(message)
        self.status = status
        self.answer = answer


class ServiceUnreachable(ConnectionError):
    """No service answers at the address."""


def send_command(
    action: str,
    params: dict[str, Any] | None = None,
    /,
    *,
    session: int | str | None = None,
    url: str | None = None,
    path: str | os.PathLike[str] = DEFAULT_DIRECTORY,
    token: str | None = None,
    timeout: float = 5.0,
    **more_params: Any,
) -> dict[str, Any]:
    """Puts a command into the mailbox of a game, which fetches it at its next poll.

    ``send_command("play_hand")``, ``send_command("select_card", position=3)``.

    :param action: what the game shall do, as the mod names it.
    :param params: its parameters; keyword arguments are added to them.
    :param session: the session of the game (``session`` in ``batch.index``); needed while several are connected.
    :param url: of the service, such as ``http://127.0.0.1:8080``; else the one that serves the log in ``path``.
    :param token: bearer token, where the service asks for one; else the environment's ``JIMBOT_MCP_TOKEN``.
    :returns: the service's answer.

    Raises :class:`CommandRefused` and :class:`ServiceUnreachable`, each saying what to do.
    """
    base = service_url(path) if url is None else url
    target = urllib.parse.urlsplit(base)
    if target.scheme not in ("http", "https") or not target.netloc:
        raise ValueError(f"url is like http://127.0.0.1:8080, not {base!r}")
    body: dict[str, Any] = {"type": action, "payload": {**(params or {}), **more_params}}
    if session is not None:
        body["session"] = session
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    token = token if token is not None else os.environ.get("JIMBOT_MCP_TOKEN")
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(
        base.rstrip("/") + "/api/v1/commands", data=json.dumps(body).encode(), headers=headers, method="POST"
    )
    # Straight to the service: a proxy of the environment has no business between two programs of one host.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as response:
            answer = _decoded(response.read())
            return answer if isinstance(answer, dict) else {"answer": answer}
    except urllib.error.HTTPError as error:
        with error:
            answer = _decoded(error.read())
        raise CommandRefused(_reason(action, error.code, answer), error.code, answer) from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ServiceUnreachable(
            f"no service answers at {base} ({reason}): start one with "
            "'python -m jimbot.mcp.server --port 8080', or name its address with url="
        ) from error


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError:
        return body.decode("utf-8", "replace")


def _reason(action: str, status: int, answer: Any) -> str:
    said: Any = answer
    if isinstance(answer, dict):
        said = answer.get("error", answer)
        if isinstance(said, dict):
            said = said.get("reason") or said.get("message") or said
    return f"the service refused {action!r} with status {status}: {said}"
