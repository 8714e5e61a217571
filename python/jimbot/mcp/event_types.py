"""Names of event types, as people write them."""

from __future__ import annotations

import difflib
from typing import Union

from jimbot.proto.base_pb2 import EventType

EventTypeLike = Union[int, str]

_PREFIX = "EVENT_TYPE_"
_NUMBERS = {name.removeprefix(_PREFIX): int(number) for name, number in EventType.items()}


def event_type_number(kind: EventTypeLike) -> int:
    """The number of an event type, which is what the log's index holds.

    Takes the number itself, and the schema's name with or without ``EVENT_TYPE_``, in any case.
    Raises ``ValueError`` for a name that the schema does not have, and says which are near.
    """
    if not isinstance(kind, str):
        number = int(kind)
        if not 0 <= number <= 0xFFFF:
            raise ValueError(f"an event type is a number from 0 to 65535, not {number}")
        return number
    name = kind.upper().replace("/", "_").removeprefix(_PREFIX)
    if name not in _NUMBERS:
        near = ", ".join(difflib.get_close_matches(name, _NUMBERS, n=3))
        raise ValueError(f"{kind!r} is no event type" + (f": did you mean {near}?" if near else ""))
    return _NUMBERS[name]
