"""Reads JSON as games send it: not always strict, and every value with its own text.

Games write ``inf`` and ``nan`` bare, leave control characters raw in strings, and send text that is not UTF-8.
Slow and plain on purpose: the service's converter is checked against what is built on this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|-?(?:inf|nan)")
ESCAPES = {b'"': b'"', b"\\": b"\\", b"/": b"/", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


@dataclass
class Value:
    """One JSON value. ``raw`` is its text as it came."""

    kind: str  # object, list, text, number, flag, null
    raw: bytes = b""
    text: bytes = b""  # of a text: escapes undone, perhaps not UTF-8
    number: float = 0.0
    flag: bool = False
    members: list[tuple[bytes, Value]] = field(default_factory=list)
    elements: list[Value] = field(default_factory=list)


class Unreadable(ValueError):
    """The text is not JSON even by a game's standards."""


class Reader:
    """Reads one value from a text."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.at = 0

    def space(self) -> None:
        while self.text[self.at : self.at + 1] in (b" ", b"\t", b"\n", b"\r") and self.at < len(self.text):
            self.at += 1

    def take(self, token: bytes) -> bool:
        self.space()
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def need(self, token: bytes) -> None:
        if not self.take(token):
            raise Unreadable(f"expected {token!r} at byte {self.at}")

    def value(self) -> Value:
        self.space()
        start = self.at
        found = self.value_here()
        found.raw = self.text[start : self.at]
        return found

    def value_here(self) -> Value:
        if self.take(b"{"):
            found = Value("object")
            while not self.take(b"}"):
                if found.members:
                    self.need(b",")
                self.space()
                key = self.string()
                self.need(b":")
                found.members.append((key, self.value()))
            return found
        if self.take(b"["):
            found = Value("list")
            while not self.take(b"]"):
                if found.elements:
                    self.need(b",")
                found.elements.append(self.value())
            return found
        if self.text.startswith(b'"', self.at):
            return Value("text", text=self.string())
        for word, made in ((b"true", Value("flag", flag=True)), (b"false", Value("flag")), (b"null", Value("null"))):
            if self.take(word):
                return made
        match = NUMBER.match(self.text, self.at)
        if not match:
            raise Unreadable(f"expected a value at byte {self.at}")
        self.at = match.end()
        return Value("number", number=float(match.group()))

    def string(self) -> bytes:
        self.need(b'"')
        found = bytearray()
        while True:
            byte = self.text[self.at : self.at + 1]
            if not byte:
                raise Unreadable("a string without its end")
            self.at += 1
            if byte == b'"':
                return bytes(found)
            if byte != b"\\":
                found += byte
                continue
            escape = self.text[self.at : self.at + 1]
            self.at += 1
            if escape == b"u":
                found += self.unicode_escape().encode("utf-8")
            elif escape in ESCAPES:
                found += ESCAPES[escape]
            else:
                raise Unreadable(f"unknown escape at byte {self.at}")

    def unicode_escape(self) -> str:
        unit = int(self.text[self.at : self.at + 4], 16)
        self.at += 4
        if 0xD800 <= unit < 0xDC00 and self.text.startswith(b"\\u", self.at):
            low = int(self.text[self.at + 2 : self.at + 6], 16)
            self.at += 6
            return chr(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))
        return chr(unit)


def read(text: bytes) -> Value:
    """The one value that the text is."""
    reader = Reader(text)
    found = reader.value()
    reader.space()
    if reader.at != len(text):
        raise Unreadable(f"more text at byte {reader.at}")
    return found
