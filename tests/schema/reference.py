"""The reference converter: JSON as games send it to ``jimbot.events.v1.Event``, by the schema's own words.

It is what ``docs/schema.md`` says, written down once more without a thought for speed, and driven by the descriptor and
its options alone. The golden vectors come from it, and the service's converter must agree with them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from game_json import Value, read
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from jimbot.proto import base_pb2, options_pb2

EVENT = base_pb2.Event.DESCRIPTOR
FORMATS = {
    options_pb2.FORMAT_TOKEN: re.compile(r"[!-~]+"),
    options_pb2.FORMAT_WORD: re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    options_pb2.FORMAT_TRACEPARENT: re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"),
    options_pb2.FORMAT_HEX: re.compile(r"[0-9a-f]+"),
}
# Epoch milliseconds have passed this in 2001; a game's monotonic clock gets there after 31 years.
SURELY_UNIX_MS = 1e12
UTC_TO_THE_MILLISECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z")


class Refused(ValueError):
    """A rule with the severity REJECT is broken."""


@dataclass
class Key:
    """What a JSON key of a message means."""

    kind: str  # field, choice, type, subtype, timestamp, payload
    fields: list[FieldDescriptor]
    inside: FieldDescriptor | None = None  # the flattened message that the field belongs to


def option(field: FieldDescriptor, name: str) -> Any:
    return field.GetOptions().Extensions[getattr(options_pb2, name)]


def keys_of(message: Descriptor) -> dict[str, Key]:
    """JSON key to its meaning, as ``base.proto`` explains."""
    keys: dict[str, Key] = {}
    for field in message.fields:
        oneof = field.containing_oneof
        if oneof is not None and len(oneof.fields) > 1:
            if message is EVENT:
                continue
            keys.setdefault(oneof.name, Key("choice", [])).fields.append(field)
        elif option(field, "flatten"):
            for name, key in keys_of(field.message_type).items():
                keys[name] = Key(key.kind, key.fields, field)
        elif not option(field, "internal") and field.name != "extra":
            for name in [field.name, *option(field, "also")]:
                keys[name] = Key("field", [field])
    if message is EVENT:
        keys.update({name: Key("type", []) for name in ("type", "event_type")})
        keys.update({name: Key("payload", []) for name in ("payload", "data", "game_state")})
        keys["timestamp"] = Key("timestamp", [])
        keys["subtype"] = Key("subtype", [])
    return keys


def event_types() -> dict[str, tuple[int, Any]]:
    """Name as sent (``TYPE`` or ``TYPE/SUBTYPE``) to number and option."""
    names = {}
    for value in base_pb2.EventType.DESCRIPTOR.values:
        spec = value.GetOptions().Extensions[options_pb2.event]
        if not spec.internal:
            names.update({name: (value.number, spec) for name in spec.names})
    return names


TYPES = event_types()


class Converter:
    """Converts one event; ``lenient`` is the treatment of senders that are never refused."""

    def __init__(self, lenient: bool) -> None:
        self.lenient = lenient
        self.raw_text: list[Any] = []
        self.findings: list[Any] = []

    def event(self, value: Value) -> Any:
        event = base_pb2.Event()
        self.envelope(value, event, "")
        for found in self.findings:
            if found.severity == options_pb2.SEVERITY_REJECT and not self.lenient:
                raise Refused(f"{found.field}: {found.reason}")
        event.raw_text.extend(self.raw_text)
        event.findings.extend(self.findings)
        return event

    def envelope(self, value: Value, event: Any, path: str) -> None:
        """An event's own keys. The type may come after what depends on it, so it is looked up first."""
        members = {key.decode("utf-8", "replace"): found for key, found in value.members}
        keys = keys_of(EVENT)
        named = next((members[name] for name in ("type", "event_type") if name in members), None)
        subtype = members.get("subtype")
        type_text = named.text.decode() if named is not None and named.kind == "text" else None
        subtype_text = subtype.text.decode() if subtype is not None and subtype.kind == "text" else None
        event.type, spec, implied = base_pb2.EVENT_TYPE_UNKNOWN, None, (None, None)
        for name in (f"{type_text}/{subtype_text}", type_text):
            if name in TYPES:
                event.type, spec = TYPES[name]
                canonical = spec.names[0].split("/")
                implied = (canonical[0], canonical[1] if len(canonical) > 1 else None)
                break
        if type_text is not None and type_text != implied[0]:
            event.type_name = type_text
        if subtype_text is not None and subtype_text != implied[1]:
            event.subtype = subtype_text
        if not path:
            self.required(members, type_text, event.type)
        for name, found, again in repeats_named(value):
            here = f"{path}{name}"
            key = keys.get(name)
            if again:
                self.carry(event, again, found, here)
            elif key is not None and key.kind == "payload" and spec is not None and found.kind == "object":
                self.message(found, getattr(event, spec.payload), f"{here}.")
                getattr(event, spec.payload).SetInParent()
            elif key is not None and key.kind in ("type", "subtype") and found.kind == "text":
                pass
            elif key is not None and key.kind == "timestamp" and self.timestamp(found, event, members, type_text):
                if found.kind == "text" and not UTC_TO_THE_MILLISECOND.fullmatch(found.text.decode()):
                    self.carry(event, name, found, here)
            elif key is None or key.kind != "field":
                self.carry(event, name, found, here)
            else:
                self.place(key, name, found, event, event, here)

    def timestamp(self, found: Value, event: Any, members: dict[str, Value], type_text: str | None) -> bool:
        script = "event_type" in members or "game_state" in members
        if found.kind == "number":
            event.producer_time = found.number
            if event.type == base_pb2.EVENT_TYPE_CONNECTION_TEST or found.number >= SURELY_UNIX_MS:
                event.producer_clock = base_pb2.PRODUCER_CLOCK_UNIX_MS
            elif script or (type_text or "").islower():
                event.producer_clock = base_pb2.PRODUCER_CLOCK_UNIX_SECONDS
            else:
                event.producer_clock = base_pb2.PRODUCER_CLOCK_MONOTONIC_MS
            return True
        if found.kind != "text":
            return False
        try:
            time = datetime.fromisoformat(found.text.decode())
        except ValueError:
            return False
        time = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
        since = time - datetime(1970, 1, 1, tzinfo=timezone.utc)
        event.producer_time = (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds / 1_000
        event.producer_clock = base_pb2.PRODUCER_CLOCK_UNIX_MS
        return True

    def required(self, members: dict[str, Value], type_text: str | None, number: int) -> None:
        """What the dialect demands. Who is never refused may leave out what it likes."""
        if self.lenient:
            return
        missing = ["type"] if type_text is None else []
        script = "event_type" in members or "game_state" in members
        older = (type_text or "").islower() and not script and number != base_pb2.EVENT_TYPE_CONNECTION_TEST
        if older:
            missing += [name for name in ("timestamp", "game_id") if name not in members]
        for name in missing:
            self.findings.append(base_pb2.Finding(field=name, severity=options_pb2.SEVERITY_REJECT, reason="missing"))

    def message(self, value: Value, message: Any, path: str) -> None:
        keys = keys_of(message.DESCRIPTOR)
        for name, found, again in repeats_named(value):
            key = keys.get(name)
            if key is None or again:
                self.carry(message, again or name, found, path + name)
                continue
            target = message
            if key.inside is not None:
                # It is there as soon as one of its keys is.
                target = getattr(message, key.inside.name)
                target.SetInParent()
            self.place(key, name, found, target, message, path + name)

    def place(self, key: Key, name: str, found: Value, target: Any, around: Any, path: str) -> None:
        """Reads a value into its field of ``target``; what the field can't hold, or not all of it, goes to ``extra``."""
        before = (len(self.raw_text), len(self.findings))
        if not self.member(key, found, target, path):
            del self.raw_text[before[0] :], self.findings[before[1] :]
            self.carry(around, name, found, path)
        elif not survives(found) or whole_map_needed(key, found):
            self.carry(around, name, found, path)

    def member(self, key: Key, found: Value, message: Any, path: str) -> bool:
        """Reads a value into its field; false when the field can't hold it."""
        if key.kind == "choice":
            wanted = {"number": "_number", "text": "_text", "flag": "_flag", "object": "_object"}.get(found.kind, "?")
            for field in key.fields:
                if field.name.endswith(wanted):
                    return self.single(field, found, message, path)
            return False
        field = key.fields[0]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return self.map(field, found, message, path)
        if field.label == FieldDescriptor.LABEL_REPEATED:
            return self.list(field, found, message, path)
        return self.single(field, found, message, path)

    def single(self, field: FieldDescriptor, found: Value, message: Any, path: str) -> bool:
        if field.message_type is not None:
            if found.kind != "object":
                return False
            getattr(message, field.name).SetInParent()
            self.message(found, getattr(message, field.name), f"{path}.")
            return True
        read_as = self.scalar(field, found, path)
        if read_as is None:
            return False
        setattr(message, field.name, read_as)
        self.check(field, read_as, path)
        return True

    def scalar(self, field: FieldDescriptor, found: Value, path: str) -> Any:
        if field.enum_type is not None:
            prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
            word = prefix + found.text.decode("utf-8", "replace").upper()
            known = field.enum_type.values_by_name.get(word)
            return known.number if known and found.kind == "text" and found.text.islower() else None
        if field.type == FieldDescriptor.TYPE_DOUBLE:
            return found.number if found.kind == "number" else None
        if field.type == FieldDescriptor.TYPE_UINT64:
            whole = re.fullmatch(rb"\d+", found.raw) and int(found.raw)
            return whole if whole is not None and whole < 1 << 64 else None
        if field.type == FieldDescriptor.TYPE_BOOL:
            return found.flag if found.kind == "flag" else None
        assert field.type == FieldDescriptor.TYPE_STRING, field.full_name
        return self.text(found.text, path) if found.kind == "text" else None

    def list(self, field: FieldDescriptor, found: Value, message: Any, path: str) -> bool:
        elements = found.elements
        if found.kind == "object":
            by_number = dict(found.members)
            elements = [by_number.get(str(index + 1).encode()) for index in range(len(by_number))]
            if None in elements:
                return False
        elif found.kind != "list":
            return False
        target = getattr(message, field.name)
        for index, element in enumerate(elements):
            here = f"{path}[{index}]"
            if field.message_type is base_pb2.Event.DESCRIPTOR and element.kind == "object":
                self.envelope(element, target.add(), f"{here}.")
            elif field.message_type is not None and element.kind == "object":
                self.message(element, target.add(), f"{here}.")
            elif field.message_type is None and (read_as := self.scalar(field, element, here)) is not None:
                target.append(read_as)
                self.check(field, read_as, here)
            else:
                message.ClearField(field.name)
                return False
        self.check_items(field, len(elements), path)
        return True

    def map(self, field: FieldDescriptor, found: Value, message: Any, path: str) -> bool:
        if found.kind == "list" and not found.elements:
            return True
        if found.kind != "object":
            return False
        target = getattr(message, field.name)
        value_field = field.message_type.fields_by_name["value"]
        for name_bytes, element in found.members:
            name = name_bytes.decode("utf-8", "replace")
            here = f"{path}.{name}"
            if value_field.message_type is not None:
                if element.kind != "object":
                    message.ClearField(field.name)
                    return False
                target[name].SetInParent()
                self.message(element, target[name], f"{here}.")
            elif element.kind == "text" and not option(field, "json_values"):
                target[name] = self.text(element.text, here)
            else:
                target[name] = self.text(element.raw, here)
        self.check_items(field, len(found.members), path)
        return True

    def carry(self, message: Any, name: str, found: Value, path: str) -> None:
        message.extra[name] = self.text(found.raw, path)

    def text(self, raw: bytes, path: str) -> str:
        repaired = raw.decode("utf-8", "replace")
        if repaired.encode() != raw:
            self.raw_text.append(base_pb2.RawText(field=path, raw=raw))
        return repaired

    def check(self, field: FieldDescriptor, value: Any, path: str) -> None:
        rule = option(field, "rule")
        reason = ""
        if isinstance(value, float):
            if rule.HasField("min") and not value >= rule.min:
                reason = "less than the least value allowed"
            elif rule.HasField("max") and not value <= rule.max:
                reason = "more than the greatest value allowed"
            elif rule.finite and not math.isfinite(value):
                reason = "not finite"
            elif rule.integer and value != int(value):
                reason = "not a whole number"
        elif isinstance(value, str):
            if rule.HasField("max_bytes") and len(value.encode()) > rule.max_bytes:
                reason = "longer than allowed"
            elif rule.one_of and not any(
                value.startswith(word[:-1]) if word.endswith("*") else value == word for word in rule.one_of
            ):
                reason = "not one of the known values"
            elif rule.format and not FORMATS[rule.format].fullmatch(value):
                reason = "not of the expected form"
        self.find(rule, path, reason)

    def check_items(self, field: FieldDescriptor, count: int, path: str) -> None:
        rule = option(field, "rule")
        if rule.HasField("max_items") and count > rule.max_items:
            self.find(rule, path, "more elements than allowed")

    def find(self, rule: Any, path: str, reason: str) -> None:
        severity = rule.severity or options_pb2.SEVERITY_FLAG
        if reason and severity != options_pb2.SEVERITY_NOTE:
            self.findings.append(base_pb2.Finding(field=path, severity=severity, reason=reason))


def repeats_named(value: Value) -> Iterator[tuple[str, Value, str]]:
    """An object's members; those that a later one of the same key supersedes with the name they go by then."""
    names = [key.decode("utf-8", "replace") for key, _ in value.members]
    for index, (name, (_, found)) in enumerate(zip(names, value.members)):
        superseded = name in names[index + 1 :]
        yield name, found, f"{name}#{names[: index + 1].count(name)}" if superseded else ""


def survives(found: Value) -> bool:
    """Whether a double says all that the number's text says."""
    if found.kind != "number" or not re.fullmatch(rb"-?[0-9.eE+-]+", found.raw):
        return True
    if math.isinf(found.number):
        return False
    digits = Decimal(found.raw.decode())
    count = len(digits.as_tuple().digits)
    return Decimal(f"{found.number:.{count - 1}e}") == digits


def whole_map_needed(key: Key, found: Value) -> bool:
    """Whether a map of texts holds something else, which only its JSON text tells from a text."""
    field = key.fields[0]
    if key.kind != "field" or field.message_type is None or not field.message_type.GetOptions().map_entry:
        return False
    plain = field.message_type.fields_by_name["value"].type == FieldDescriptor.TYPE_STRING
    return plain and not option(field, "json_values") and any(each.kind != "text" for _, each in found.members)


def convert(body: bytes, lenient: bool) -> list[Any]:
    """The events of a body: one event, a list of them, or a batch."""
    value = read(body)
    members = dict(value.members)
    if value.kind == "list":
        return [Converter(lenient).event(each) for each in value.elements]
    if b"events" not in members or b"type" in members:
        return [Converter(lenient).event(value)]
    events = [Converter(lenient).event(each) for each in members.pop(b"events").elements]
    info = events[-1].batch
    info.SetInParent()
    rest = Value("object", members=list(members.items()))
    Converter(lenient).message(rest, info, "")
    return events
