"""Finds the service's binary, which travels in the wheel, and becomes it."""

import os
import shutil
import sys
import sysconfig
from typing import NoReturn

NAME = "jimbot-mcp"
VARIABLE = "JIMBOT_MCP_BINARY"


class BinaryNotFound(RuntimeError):
    """There is no ``jimbot-mcp`` to run."""


def find() -> str:
    """The path of ``jimbot-mcp``: what ``JIMBOT_MCP_BINARY`` names, else the one installed with this package, else
    one on ``PATH``. Raises :class:`BinaryNotFound` with a remedy."""
    named = os.environ.get(VARIABLE)
    if named:
        if os.access(named, os.X_OK) and os.path.isfile(named):
            return named
        raise BinaryNotFound(f"{VARIABLE} is {named!r}, which is no program: correct it, or unset it")
    schemes = [sysconfig.get_path("scripts"), os.path.dirname(sys.executable)]
    user_scheme = sysconfig.get_preferred_scheme("user")
    schemes.append(sysconfig.get_path("scripts", user_scheme))
    for directory in schemes:
        candidate = os.path.join(directory, NAME)
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    on_path = shutil.which(NAME)
    if on_path:
        return on_path
    raise BinaryNotFound(
        f"{NAME} was found neither in {schemes[0]} nor on PATH: install the wheel that scripts/build-wheel makes, "
        f"or build it (cargo build --release) and name it in {VARIABLE}"
    )


def become(arguments: list[str]) -> NoReturn:
    """Replaces this process by ``jimbot-mcp`` with these arguments: signals and the exit code are then its own."""
    try:
        path = find()
    except BinaryNotFound as error:
        sys.exit(f"error: {error}")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(path, [path, *arguments])
