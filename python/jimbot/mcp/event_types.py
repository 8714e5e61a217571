"""Names of event types, as people write them."""

from __future__ import annotations

from typing import Union

from jimbot.proto.balatro_events_pb2 import EventType

EventTypeLike = Union[int, str]

_PREFIX = "EVENT_TYPE_"


def event_type_number(kind: EventTypeLike) -> int:
    """The number of an event type, which is what the log's index holds.

    Takes the number itself, the schema's name with or without ``EVENT_TYPE_``, in any case.
    Raises ``ValueError`` for a name that the schema does not have, and says which are near.
    """
    if isinstance(kind, str):
        name = kind.upper().replace("/", "_")
        name = name if name.startswith(_PREFIX) else _PREFIX + name
        values = EventType.DESCRIPTOR.values_by_name if hasattr(EventType, "DESCRIPTOR") else {}
        if name not in values:
            import difflib

            near = difflib.get_close_matches(name, values, n=3)
            hint = ", ".join(other.removeprefix(_PREFIX) for other in near)
            raise ValueError(f"{kind!r} is no event type" + (f": did you mean {hint}?" if hint else ""))
        return int(values[name].number)
    number = int(kind)
    if not 0 <= number <= 0xFFFF:
        raise ValueError(f"an event type is a number from 0 to 65535, not {number}")
    return number
