"""The service's HTTP/1.1 beside h11, a strict parser of its own: both cut the same bytes into the same requests.

Where h11 takes what the service refuses, the service is strict on purpose: ``STRICTER`` says why and ``docs/http.md``
tells senders. The other way round there is ``LOOSER``. A difference that is in neither is a fault.

``JIMBOT_SEED`` repeats a run, ``JIMBOT_FUZZ`` makes it so many times longer.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import h11
import pytest

from conftest import REPOSITORY, cargo_binary
from test_service import Service

ROUNDS = 400

# Why the service refuses what h11 takes: the row of docs/http.md, the field that the refusal names, and whether it is
# true of a request's bytes.
STRICTER = {
    "a line that ends in LF alone": ("line end", lambda raw: re.search(rb"(?<!\r)\n", raw.head)),
    "a folded header": ("header line", lambda raw: re.search(rb"\n[ \t]", raw.head)),
    "`Content-Length` more than once, or a list": (
        "Content-Length",
        lambda raw: b"," in b",".join(raw.lengths),
    ),
    "`Content-Length` beside `Transfer-Encoding`": (
        "Content-Length",
        lambda raw: raw.lengths and raw.values(b"transfer-encoding"),
    ),
    "`Transfer-Encoding` in HTTP/1.0": (
        "Transfer-Encoding",
        lambda raw: raw.version == b"1.0" and raw.values(b"transfer-encoding"),
    ),
    "POST, PUT or PATCH without a length": (
        "Content-Length",
        lambda raw: raw.method in (b"POST", b"PUT", b"PATCH")
        and not raw.lengths
        and not raw.values(b"transfer-encoding"),
    ),
    "a method other than GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS": (
        "request line",
        lambda raw: raw.method not in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"),
    ),
    "a target that is neither a path nor an `http://` address, or holds `#`": (
        "request target",
        lambda raw: not re.fullmatch(rb"(/|(?i:http)://[^@/?]+[/?]?)[^#]*", raw.target),
    ),
    "a target and a `Host` that name different hosts": (
        "Host",
        lambda raw: (named := re.match(rb"(?i)http://([^/?]*)", raw.target)) and [named[1]] != raw.values(b"host"),
    ),
    "a control character in a header value": (
        "header value",
        lambda raw: any(re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", value) for _, value in raw.headers),
    ),
    "a `Host` that is not ours": ("Host", lambda raw: raw.values(b"host") != [b"localhost"]),
    "an expectation other than `100-continue`": (
        "Expect",
        lambda raw: any(value.lower() != b"100-continue" for value in raw.values(b"expect")),
    ),
    "a version other than 1.1 and 1.0": ("request line", lambda raw: raw.version not in (b"1.1", b"1.0")),
    "white space or a control character in a chunk's size line": (
        "Transfer-Encoding",
        lambda raw: re.search(rb"(^|\n)[0-9A-Fa-f]+([ \t]|;[^\r\n]*[\x00-\x08\x0b-\x1f\x7f])", raw.body),
    ),
    "a chunk's line that ends in LF alone": ("Transfer-Encoding", lambda raw: re.search(rb"(?<!\r)\n", raw.body)),
}

# Why the service goes on where h11 ends: whether it is true of where h11 stands.
LOOSER = {
    "up to two empty lines before a request": lambda at: re.match(rb"(\r\n){1,2}", at.rest),
    "HTTP/1.0 with `Connection: keep-alive`": lambda at: (
        at.requests
        and at.requests[-1].version == b"1.0"
        and b"keep-alive" in b",".join(at.requests[-1].values(b"connection")).lower()
    ),
}


@dataclass
class Raw:
    """The bytes of one request, as h11 cut them off."""

    method: bytes
    target: bytes
    version: bytes
    headers: list[tuple[bytes, bytes]]
    head: bytes
    body: bytes
    content: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    @property
    def is_event(self) -> bool:
        """Whether its body is one whole event, so that one has to be stored."""
        with suppress(ValueError):
            return self.method == b"POST" and self.target == b"/api/v1/events" and "payload" in json.loads(self.content)
        return False

    @property
    def lengths(self) -> list[bytes]:
        """``Content-Length`` as it was sent: h11 makes one of several."""
        return re.findall(rb"(?i)\ncontent-length:([^\r\n]*)", self.head)


@dataclass
class Outcome:
    """What became of a stream: its requests, and how it ended."""

    requests: list[Raw] = field(default_factory=list)
    refused: str | None = None
    # What is left of the stream behind the requests.
    rest: bytes = b""


def with_h11(stream: bytes) -> Outcome:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=16 * 1024)
    connection.receive_data(stream)
    outcome, start, request, content = Outcome(rest=stream), 0, None, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            outcome.refused = str(error)
            return outcome
        if isinstance(event, h11.Request):
            request, content = event, b""
        elif isinstance(event, h11.Data):
            content += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            end = len(stream) - len(connection.trailing_data[0])
            raw = stream[start:end]
            start, outcome.rest = end, stream[end:]
            head = re.match(rb"(?:\r?\n)*(?:[^\n]+\n)+?\r?\n", raw)
            assert head is not None, raw
            outcome.requests.append(
                Raw(
                    request.method,
                    request.target,
                    request.http_version,
                    list(request.headers),
                    head[0],
                    raw[head.end() :],
                    content,
                )
            )
            connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return outcome
            connection.start_next_cycle()
        else:
            assert event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed), event
            return outcome


@dataclass
class Answer:
    status: int
    head: bytes
    body: dict

    @property
    def is_refusal(self) -> bool:
        """Of the request's head or framing; 404 and 405 take the request apart as well as 200."""
        return "error" in self.body and self.status not in (404, 405)

    @property
    def closes(self) -> bool:
        return b"connection: close" in self.head.lower()


def with_service(port: int, stream: bytes, pieces: list[int]) -> list[Answer]:
    """Sends a stream in pieces and takes all answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        # Whoever is refused may find the connection closed while it still sends; the answers are there all the same.
        with suppress(OSError):
            for start, end in zip([0, *pieces], [*pieces, len(stream)]):
                client.sendall(stream[start:end])
            client.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while part := client.recv(65536):
                received += part
    answers = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = re.search(rb"(?i)content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        received = rest[size:]
        if status != 100:
            text = rest[:size]
            body = json.loads(text) if text.startswith(b"{") else {}
            answers.append(Answer(status, head, body))
    return answers


class Streams:
    """Makes streams of requests: mostly right, with known oddities, and some with a byte changed."""

    ODD_LINES = [
        b"Content-Length: 5",
        b"Content-Length: +5",
        b"Content-Length: 5, 5",
        b"Content-Length: 0x5",
        b"Content-Length: 18446744073709551617",
        b"Content-Length:",
        b"Content-Length : 5",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: Chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding : chunked",
        b"Host: localhost",
        b"Host: elsewhere.example",
        b"Expect: 100-continue",
        b"Expect: 200-ok",
        b"X-Empty:",
        b"X-Tab:\tvalue\t",
        b"X-High: \xff\xfe",
        b"X-Folded: one\r\n two",
        b"X-Nul: \x00",
        b"X-Return: a\rb",
        b"X-Bare: a\nX-Next: b",
        b" X-Space: before",
        b"X Space: within",
        b": no name",
        b"no colon",
        b"X-Quote\": name",
        b"Connection: close",
        b"Connection: keep-alive, close",
        b"Connection: keep-alive",
    ]
    ODD_STARTS = [
        b"\r\n",
        b"\n",
        b"\r\n\r\n\r\n",
        b" ",
        b"\x00",
    ]
    ODD_REQUEST_LINES = [
        b"get /healthz HTTP/1.1",
        b"BREW /healthz HTTP/1.1",
        b"GET  /healthz HTTP/1.1",
        b"GET /healthz  HTTP/1.1",
        b"GET\t/healthz HTTP/1.1",
        b"GET /healthz HTTP/1.1 ",
        b"GET /healthz",
        b"GET /healthz HTTP/2.0",
        b"GET /healthz HTTP/1.2",
        b"GET /healthz HTTP/1.0",
        b"GET /healthz HTTP/0.9",
        b"GET /healthz http/1.1",
        b"GET /health\xc3\xa9 HTTP/1.1",
        b"GET /healthz#part HTTP/1.1",
        b"GET healthz HTTP/1.1",
        b"GET http://localhost/healthz HTTP/1.1",
        b"GET http://elsewhere.example/healthz HTTP/1.1",
        b"GET * HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"G@T /healthz HTTP/1.1",
    ]
    # Bodies that would be requests, if they were cut off wrongly.
    BODIES = [
        b"",
        b"{}",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"0\r\n\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\n",
        bytes(range(256)),
    ]

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.events = 0

    def event(self) -> bytes:
        self.events += 1
        event = {
            "type": "HEARTBEAT",
            "timestamp": self.events,
            "event_id": f"h11-{self.random.getrandbits(64):016x}",
            "payload": {"uptime": 1, "game_state": "x" * self.random.randrange(300)},
        }
        return json.dumps(event).encode()

    def chunks(self, body: bytes) -> bytes:
        out, at = b"", 0
        while at < len(body):
            size = self.random.randint(1, len(body) - at)
            number = b"%x" % size
            if self.odd(8):
                number = self.random.choice([number.upper(), b"0" + number, b"0000" + number])
            if self.odd(12):
                number += self.random.choice([b";a", b";a=b", b'; a="b;c"', b" ", b"\t", b";\x00", b"\r", b"g", b"_"])
            out += number + self.end() + body[at : at + size] + (self.end() if not self.odd(40) else b"")
            at += size
        trailers = b"X-Trailer: 1\r\n" if self.odd(8) else b"bad trailer\r\n" if self.odd(20) else b""
        return out + self.random.choice([b"0"] * 8 + [b"000", b"-0", b""]) + self.end() + trailers + self.end()

    def odd(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    def end(self) -> bytes:
        return b"\n" if self.odd(200) else b"\r\n"

    def request(self) -> bytes:
        lines = [b"Host: localhost"] if not self.odd(40) else []
        if self.odd(2):
            line, body = b"GET /healthz HTTP/1.1", None
        elif self.odd(2):
            line, body = b"POST /api/v1/events HTTP/1.1", self.event()
        else:
            line, body = b"POST /api/v1/events/health HTTP/1.1", self.random.choice(self.BODIES)
        if self.odd(16):
            line = self.random.choice(self.ODD_REQUEST_LINES)
        if self.odd(12):
            line = line.replace(b"HTTP/1.1", b"HTTP/1.0")
        content = b""
        if body is not None and not self.odd(30):
            if self.odd(2):
                lines.append(b"Transfer-Encoding: chunked")
                content = self.chunks(body)
            else:
                lines.append(b"Content-Length: %d" % len(body))
                content = body
        if self.odd(6):
            lines.append(self.random.choice(self.ODD_LINES))
        if self.odd(3):
            lines.append(b"X-Header: %d" % self.random.getrandbits(40))
        self.random.shuffle(lines)
        start = self.random.choice(self.ODD_STARTS) if self.odd(25) else b""
        head = start + b"".join(item + self.end() for item in [line, *lines]) + self.end()
        if self.odd(12):
            head = self.changed(head)
        return head + content

    def changed(self, head: bytes) -> bytes:
        """With one byte other, more or less."""
        at = self.random.randrange(len(head))
        byte = bytes([self.random.choice([self.random.randrange(256), *b"\r\n\t :,;\x00"])])
        return head[:at] + self.random.choice([byte, b"", byte + head[at : at + 1]]) + head[at + 1 :]

    def stream(self) -> tuple[bytes, list[int]]:
        stream = b"".join(self.request() for _ in range(self.random.randint(1, 5)))
        if self.odd(6):
            stream = stream[: self.random.randrange(len(stream))]
        return stream, sorted(self.random.randrange(len(stream) + 1) for _ in range(self.random.randrange(4)))


@pytest.fixture
def service(shm_dir: Path):
    service = Service(cargo_binary("jimbot-mcp"), shm_dir)
    yield service
    assert service.stop() == 0


def difference(reference: Outcome, answers: list[Answer], met: set[str]) -> str | None:
    """What the two disagree about, unless it is known; known ones met on the way are put into ``met``."""
    for at, raw in enumerate(reference.requests):
        if at >= len(answers):
            return f"request {at} was not answered"
        answer = answers[at]
        if answer.is_refusal:
            named = answer.body["field"]
            reasons = {name for name, (at_fault, holds) in STRICTER.items() if at_fault == named and holds(raw)}
            if not reasons:
                return f"request {at} was refused: {answer.status} {answer.body}"
            met |= reasons
            if answer.closes:
                return None
        elif raw.is_event and answer.body.get("stored") != 1:
            return f"request {at}: its body was not read as h11 read it: {answer.body}"
        if answer.closes and at + 1 < len(reference.requests):
            return f"request {at} ended the connection: {answer.status} {answer.body}"
    looser = {name for name, holds in LOOSER.items() if holds(reference)}
    if looser:
        met |= looser
        return None
    more = answers[len(reference.requests) :]
    if reference.refused is None:
        # What is not all there yet may be refused at once.
        taken = [answer for answer in more if not answer.is_refusal]
        return f"{len(taken)} requests too many were taken" if taken else None
    if not more:
        return f"h11 refused ({reference.refused}) what was not answered"
    return None if more[0].is_refusal else f"h11 refused ({reference.refused}) what was taken"


def test_h11_and_the_service_cut_the_same_requests(service):
    seed = int(os.environ.get("JIMBOT_SEED", random.getrandbits(32)))
    print(f"JIMBOT_SEED={seed}")
    streams = Streams(seed)
    met: set[str] = set()
    requests = refusals = 0
    for _ in range(ROUNDS * int(os.environ.get("JIMBOT_FUZZ", 1))):
        stream, pieces = streams.stream()
        reference = with_h11(stream)
        answers = with_service(service.port, stream, pieces)
        found = difference(reference, answers, met)
        assert found is None, f"{found}\nJIMBOT_SEED={seed}\nstream: {stream!r}\nanswers: {answers}"
        requests += len(reference.requests)
        refusals += reference.refused is not None
    # Whatever the seed: both sides of the comparison were seen.
    assert requests > ROUNDS // 2 and refusals > ROUNDS // 20 and met, (requests, refusals, met)


def test_every_known_difference_is_told():
    page = (REPOSITORY / "docs" / "http.md").read_text()
    for name in [*STRICTER, *LOOSER]:
        assert name in page, name
