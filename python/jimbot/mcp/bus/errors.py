"""What can go wrong with an Event Bus. Every exception here is a :class:`BusError`."""

from __future__ import annotations

import grpc

from jimbot.proto.event_bus_pb2 import PublishResult, RejectReason

__all__ = [
    "BadRequest",
    "BusError",
    "BusFull",
    "BusUnreachable",
    "DurableInUse",
    "DurableNotFound",
    "EventsMissed",
    "EventsRejected",
    "LevelNotOffered",
    "NotAllowed",
]


class BusError(Exception):
    """The bus can't do what was asked; subclasses say why.

    ``code`` is the name of the gRPC status, such as ``"UNAVAILABLE"``; empty when there was none.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class BusUnreachable(BusError, ConnectionError):
    """No bus answered in the time that was given."""


class NotAllowed(BusError, PermissionError):
    """The bus asks for a bearer token, or for another one."""


class BadRequest(BusError, ValueError):
    """What was asked can't be asked: a pattern that is none, a batch that is too large. The message names it."""


class DurableNotFound(BusError, LookupError):
    """The bus has no durable of this name."""


class DurableInUse(BusError):
    """The durable has a subscriber: one at a time holds it."""


class BusFull(BusError):
    """The bus has no room: its disk is full, or it has as many subscriptions as it takes."""


class LevelNotOffered(BusError):
    """The bus's store can't make an acknowledgement mean that much."""


class EventsRejected(BusError):
    """Events of a batch were not stored; the others were.

    ``result`` is the bus's answer, ``result.rejections`` has the index, the reason and a message for each.
    """

    def __init__(self, result: PublishResult) -> None:
        first = result.rejections[0]
        reason = RejectReason.Name(first.reason) if first.reason in RejectReason.values() else str(first.reason)
        more = len(result.rejections) - 1
        super().__init__(
            f"event {first.index} of the batch was not stored: {reason}: {first.message}"
            + (f" (and {more} more, see result.rejections)" if more else "")
        )
        self.result = result


class EventsMissed(BusError):
    """Events are gone from the bus before they could be delivered.

    They had the positions from ``first_position`` to ``last_position``; how many of them the filter wanted is not
    known any more. ``reason`` is ``"RETENTION"``, ``"DAMAGED"``, ``"DELETED"``, or ``"UNSPECIFIED"`` from an older bus.
    The next read goes on behind them.
    """

    def __init__(self, first_position: int, last_position: int, reason: str = "UNSPECIFIED") -> None:
        remedy = {
            "RETENTION": ": read faster, or have it keep more (jimbot-mcp bus --max-bytes, --max-age)",
            "DAMAGED": ", since its disk damaged them: its messages name the file",
            "DELETED": ": they were deleted by other means than the bus",
        }.get(reason, "")
        super().__init__(
            f"events at the positions {first_position} to {last_position} are not on the bus any more{remedy}; "
            "reading goes on behind them"
        )
        self.first_position = first_position
        self.last_position = last_position
        self.reason = reason


_KINDS: dict[grpc.StatusCode, type[BusError]] = {
    grpc.StatusCode.UNAUTHENTICATED: NotAllowed,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowed,
    grpc.StatusCode.INVALID_ARGUMENT: BadRequest,
    grpc.StatusCode.OUT_OF_RANGE: BadRequest,
    grpc.StatusCode.ALREADY_EXISTS: DurableInUse,
    grpc.StatusCode.NOT_FOUND: DurableNotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: BusFull,
    grpc.StatusCode.FAILED_PRECONDITION: LevelNotOffered,
}
# What a connection that breaks looks like, by the place where it broke.
_TRANSIENT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)
# The same with the code INTERNAL: the last two are what grpc.aio says of a write that was under way.
_BROKEN = ("RST_STREAM", "Internal error from Core", "Failed")


def status_of(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Code and details of what gRPC raises, in both of its faces."""
    if isinstance(error, (grpc.Call, grpc.aio.AioRpcError)):
        return error.code() or grpc.StatusCode.UNKNOWN, error.details() or ""
    return grpc.StatusCode.UNKNOWN, str(error)


def is_transient(error: grpc.RpcError) -> bool:
    """Whether the same call may succeed later."""
    code, details = status_of(error)
    if details.startswith("Exception "):  # "Exception deserializing response!": raised on this side
        return False
    return code in _TRANSIENT or (code is grpc.StatusCode.INTERNAL and any(sign in details for sign in _BROKEN))


def translated(error: grpc.RpcError, url: str) -> BusError:
    """What a program is told of a call that failed for good."""
    code, details = status_of(error)
    kind = _KINDS.get(code, BusError)
    message = f"the bus at {url} says {code.name}: {details}"
    if kind is NotAllowed:
        message += " (give token= or token_file=, as the bus's --token-file has it)"
    return kind(message, code.name)


def unreachable(url: str, last: grpc.RpcError | None, seconds: float | None) -> BusUnreachable:
    """What a program is told when it has waited long enough."""
    code, details = status_of(last) if last is not None else (grpc.StatusCode.UNAVAILABLE, "the stream ended")
    waited = "" if seconds is None else f" for {seconds:g} s"
    return BusUnreachable(
        f"no bus answers at {url}{waited} ({code.name}: {details}): start one with 'jimbot-mcp bus', "
        "or name its address with url=",
        code.name,
    )
