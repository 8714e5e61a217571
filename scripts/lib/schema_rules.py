"""The schema's own rules, which buf does not know: python schema_rules.py IMAGE [RELEASED_IMAGE]

With one image (what `buf build` writes) it says where the schema breaks them; with a second one also where the options,
which buf does not compare, no longer say what programs rely on. Nothing printed and exit code 0: all is well.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "python"))

from google.protobuf import descriptor_pb2
from jimbot.proto import options_pb2

PACKAGE = ".jimbot.events.v1."
FIELD = descriptor_pb2.FieldDescriptorProto
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Z][A-Z0-9_]*)?")
TOPIC = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
CHOICES = {"_number": FIELD.TYPE_DOUBLE, "_text": FIELD.TYPE_STRING, "_flag": FIELD.TYPE_BOOL, "_object": FIELD.TYPE_MESSAGE}
# Numbers that programs count with; all others are a game's, and doubles.
COUNTING = (FIELD.TYPE_UINT64, FIELD.TYPE_FIXED64)
EXTRA = 15


class Schema:
    """The package jimbot.events.v1 of an image."""

    def __init__(self, path: str) -> None:
        files = descriptor_pb2.FileDescriptorSet.FromString(Path(path).read_bytes()).file
        self.messages = {PACKAGE + each.name: each for file in files if file.package == PACKAGE.strip(".") for each in file.message_type}
        enums = {each.name: each for file in files if file.package == PACKAGE.strip(".") for each in file.enum_type}
        self.event_types = {value.name: value for value in enums["EventType"].value}
        self.event = self.messages[PACKAGE + "Event"]

    def spec(self, name: str) -> Any:
        return self.event_types[name].options.Extensions[options_pb2.event]

    def payload_fields(self) -> dict[str, Any]:
        index = next(index for index, oneof in enumerate(self.event.oneof_decl) if oneof.name == "payload")
        return {field.name: field for field in self.event.field if field.HasField("oneof_index") and field.oneof_index == index}

    def payload_messages(self) -> Iterator[tuple[str, Any, bool]]:
        """Every message that a payload consists of, and whether its keys stand in the object around it."""
        pending = [(field.type_name, False) for field in self.payload_fields().values()]
        seen: set[str] = set()
        while pending:
            name, flattened = pending.pop()
            message = self.messages.get(name)
            if name in seen or message is None:
                continue
            seen.add(name)
            yield name.removeprefix(PACKAGE), message, flattened
            for field in message.field:
                pending.append((field.type_name, field.options.Extensions[options_pb2.flatten]))
            for entry in message.nested_type:
                pending.extend((field.type_name, False) for field in entry.field)


def own_rules(schema: Schema) -> Iterator[str]:
    """What makes the converter's work possible, and nothing a game sends get lost."""
    names: dict[str, str] = {}
    topics: dict[str, str] = {}
    payloads = schema.payload_fields()
    for name, value in schema.event_types.items():
        if value.number == 0:
            continue
        if value.number > 127:
            yield f"{name}: its number takes two bytes; take one below 128"
        if not value.options.HasExtension(options_pb2.event):
            yield f"{name}: has no (event) option: nobody would know its name and topic"
            continue
        spec = schema.spec(name)
        if not TOPIC.fullmatch(spec.topic):
            yield f"{name}: topic {spec.topic!r} is not lower-case words joined by dots"
        if topics.setdefault(spec.topic, name) != name:
            yield f"{name}: topic {spec.topic!r} is that of {topics[spec.topic]}"
        if spec.payload and spec.payload not in payloads:
            yield f"{name}: Event.payload has no field {spec.payload!r}"
        for sent in spec.names:
            if not NAME.fullmatch(sent):
                yield f"{name}: {sent!r} is not TYPE or TYPE/SUBTYPE"
            if names.setdefault(sent, name) != name:
                yield f"{name}: {sent!r} is a name of {names[sent]}"
    used = {schema.spec(name).payload for name in schema.event_types}
    for field in payloads.keys() - used:
        yield f"Event.{field}: no event type carries it"
    for name, message, flattened in schema.payload_messages():
        yield from message_rules(name, message, flattened)


def message_rules(name: str, message: Any, flattened: bool) -> Iterator[str]:
    extra = [field for field in message.field if field.name == "extra"]
    maps = {entry.name for entry in message.nested_type if entry.options.map_entry}
    if not flattened and (not extra or extra[0].number != EXTRA or extra[0].type_name.rpartition(".")[2] not in maps):
        yield f"{name}: has no `map<string, string> extra = {EXTRA}`: keys without a field would be lost"
    for field in message.field:
        where = f"{name}.{field.name}"
        if field.type not in (FIELD.TYPE_DOUBLE, FIELD.TYPE_BOOL, FIELD.TYPE_STRING, FIELD.TYPE_MESSAGE, FIELD.TYPE_ENUM, FIELD.TYPE_BYTES, *COUNTING):
            yield f"{where}: a number that a game computes is a double (one that programs count with is uint64 or fixed64)"
        scalar = field.type not in (FIELD.TYPE_MESSAGE, FIELD.TYPE_BYTES)
        if scalar and field.label != FIELD.LABEL_REPEATED and not field.HasField("oneof_index"):
            yield f"{where}: is not `optional`: not sent could not be told from zero"
        if field.HasField("oneof_index") and not field.proto3_optional:
            key = message.oneof_decl[field.oneof_index].name
            if CHOICES.get(field.name.removeprefix(key)) != field.type or not field.name.startswith(key):
                yield f"{where}: in a choice of JSON types the fields are {key}_number, {key}_text, {key}_flag, {key}_object, of these types"


def broken_options(schema: Schema, released: Schema) -> Iterator[str]:
    """Names and topics are part of what programs rely on."""
    for name in released.event_types.keys() & schema.event_types.keys():
        old, new = released.spec(name), schema.spec(name)
        for sent in set(old.names) - set(new.names):
            yield f"{name}: is no longer known as {sent!r}; games in the field send it"
        for what in ("topic", "payload"):
            if getattr(old, what) != getattr(new, what):
                yield f"{name}: its {what} was {getattr(old, what)!r}; subscribers rely on it"


def main() -> int:
    schema = Schema(sys.argv[1])
    problems = list(own_rules(schema)) if len(sys.argv) == 2 else list(broken_options(schema, Schema(sys.argv[2])))
    for problem in sorted(problems):
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
