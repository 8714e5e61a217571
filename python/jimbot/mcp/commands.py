"""Sends commands to a game, through the service's mailbox."""

from __future__ import annotations

import http.client
import json
import os
from typing import Any

from jimbot.mcp.endpoints import connect, service_url
from jimbot.mcp.reader import DEFAULT_DIRECTORY

TOKEN_VARIABLE = "JIMBOT_MCP_TOKEN"


class CommandRefused(Exception):
    """The service did not take the command.

    ``status`` is the HTTP status (409: several games are connected and none was named), ``answer`` the service's
    JSON answer, which says why and lists what there is, or its text.
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
    :param session: the game's session, as ``batch.index["session"]`` or an event has it; needed while several games
        are connected.
    :param url: of the service, ``http://HOST:PORT`` or ``unix:PATH``; else the one that serves the log in ``path``.
    :param token: bearer token, where the service asks for one; else the environment's ``JIMBOT_MCP_TOKEN``.
    :returns: the service's answer.

    Raises :class:`CommandRefused` and :class:`ServiceUnreachable`, each saying what to do.
    """
    address = service_url(path) if url is None else url
    body: dict[str, Any] = {"type": action, "payload": {**(params or {}), **more_params}}
    if session is not None:
        body["session"] = session if isinstance(session, str) else f"{int(session):016x}"
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    token = token if token is not None else os.environ.get(TOKEN_VARIABLE)
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection = connect(address, timeout)
    try:
        connection.request("POST", "/api/v1/commands", json.dumps(body), headers)
        response = connection.getresponse()
        status, answer = response.status, _decoded(response.read())
    except (OSError, http.client.HTTPException) as error:
        raise ServiceUnreachable(
            f"no service answers at {address} ({error!r}): start one with "
            "'python -m jimbot.mcp.server --port 8080', or name its address with url="
        ) from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise CommandRefused(f"the service refused {action!r} with status {status}: {_reason(answer)}", status, answer)
    return answer if isinstance(answer, dict) else {"answer": answer}


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError:
        return body.decode("utf-8", "replace")


def _reason(answer: Any) -> Any:
    """What people are to be told of an error's JSON body; all of it where it has no such part."""
    if not isinstance(answer, dict):
        return answer
    said = [answer[part] for part in ("field", "error", "reason", "remedy") if isinstance(answer.get(part), str)]
    return ": ".join(said) if said else json.dumps(answer)
