"""The event path between live Balatro games and trainers, seen from Python: read events, send commands.

``Reader`` reads the service's shared-memory log on the same host, ``send_command`` acts on a game, and
``jimbot.mcp.bus`` reaches the Event Bus from any host.
"""

from jimbot.mcp._layout import INDEX_DTYPE
from jimbot.mcp.batch import Batch
from jimbot.mcp.commands import CommandRefused, ServiceUnreachable, send_command
from jimbot.mcp.errors import (
    Detached,
    LogFormatError,
    LogNotFound,
    Overrun,
    OverrunWarning,
    ReaderError,
    ReaderNameInUse,
    WrongProcess,
)
from jimbot.mcp.reader import DEFAULT_DIRECTORY, Reader

__all__ = [
    "DEFAULT_DIRECTORY",
    "INDEX_DTYPE",
    "Batch",
    "CommandRefused",
    "Detached",
    "LogFormatError",
    "LogNotFound",
    "Overrun",
    "OverrunWarning",
    "Reader",
    "ReaderError",
    "ReaderNameInUse",
    "ServiceUnreachable",
    "WrongProcess",
    "send_command",
]
