"""Writes the tables of docs/schema.md from the schema: python schema_tables.py DOCUMENT > NEW_DOCUMENT

Expects the generated Python code on PYTHONPATH. A table stands between `<!-- NAME: ... -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor
from jimbot.proto import base_pb2, options_pb2


def short(enum: Any, number: int, prefix: str) -> str:
    return enum.Name(number).removeprefix(prefix).lower()


def event_types() -> Iterator[str]:
    yield "| `EventType` | sent as | payload | topic | priority |"
    yield "|---|---|---|---|---|"
    for value in base_pb2.EventType.DESCRIPTOR.values:
        spec = value.GetOptions().Extensions[options_pb2.event]
        if not value.number:
            continue
        names = "made by the service" if spec.internal else ", ".join(f"`{name}`" for name in spec.names) or "anything else"
        field = base_pb2.Event.DESCRIPTOR.fields_by_name.get(spec.payload)
        payload = f"`{field.message_type.name}`" if field else "in `extra`"
        priority = short(options_pb2.Priority, spec.priority or options_pb2.PRIORITY_NORMAL, "PRIORITY_")
        yield f"| {value.name.removeprefix('EVENT_TYPE_')} ({value.number}) | {names} | {payload} | `{spec.topic}` | {priority} |"


def messages(message: Descriptor, seen: set[str]) -> Iterator[Descriptor]:
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    if not message.GetOptions().map_entry:
        yield message
    for field in message.fields:
        if field.message_type is not None:
            yield from messages(field.message_type, seen)


def number(value: float) -> str:
    return f"{value:g}"


def expectation(rule: Any) -> str:
    parts = []
    if rule.HasField("min") and rule.HasField("max"):
        parts.append(f"{number(rule.min)} to {number(rule.max)}")
    elif rule.HasField("min"):
        parts.append(f"at least {number(rule.min)}")
    elif rule.HasField("max"):
        parts.append(f"at most {number(rule.max)}")
    parts += ["finite"] * rule.finite + ["whole"] * rule.integer
    if rule.one_of:
        parts.append("one of " + " ".join(f"`{word}`" for word in rule.one_of))
    if rule.format:
        parts.append(f"a {short(options_pb2.Format, rule.format, 'FORMAT_')}")
    if rule.HasField("max_items"):
        parts.append(f"at most {rule.max_items} elements")
    if rule.HasField("max_bytes"):
        parts.append(f"at most {rule.max_bytes} bytes")
    if rule.required_in:
        dialects = " and ".join(short(options_pb2.Dialect, each, "DIALECT_") for each in rule.required_in)
        parts.append(f"must be there ({dialects} dialect)")
    return ", ".join(parts)


def rules() -> Iterator[str]:
    yield "| field | expected | else |"
    yield "|---|---|---|"
    for message in sorted(messages(base_pb2.Event.DESCRIPTOR, set()), key=lambda message: message.name):
        for field in message.fields:
            options = field.GetOptions()
            if options.HasExtension(options_pb2.rule):
                rule = options.Extensions[options_pb2.rule]
                severity = short(options_pb2.Severity, rule.severity or options_pb2.SEVERITY_FLAG, "SEVERITY_")
                yield f"| `{message.name}.{field.name}` | {expectation(rule)} | {severity} |"


def main() -> None:
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    for name, lines in (("event types", event_types()), ("rules", rules())):
        pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda match: match[1] + "\n" + "\n".join(lines) + "\n\n" + match[2], text)
        if count != 1:
            sys.exit(f"error: {sys.argv[1]} has no place for the table of {name}")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
