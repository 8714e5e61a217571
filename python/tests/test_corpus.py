"""Odd, broken, cut and hostile bodies, posted to the real service and read back: what becomes of each is in the tree.

``src/core/tests/corpus.rs`` tells how the files are laid out, and compares them with the converter alone.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from conftest import REPOSITORY, cargo_binary
from jimbot.mcp import Reader
from jimbot.proto.base_pb2 import EventBatch
from test_service import Service

CORPUS = REPOSITORY / "tests" / "corpus"
# What the service adds to an event.
ADDED = ("log_epoch", "sequence", "receive_time_unix_ns", "session", "game_key")


@pytest.fixture
def service(shm_dir: Path):
    shm_dir.chmod(0o700)
    running = Service(cargo_binary("jimbot-mcp"), shm_dir)
    yield running
    assert running.stop() == 0


def post_as_the_mod(port: int, body: bytes) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "User-Agent": "BalatroMCP/1.0"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/events", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def test_every_body_is_read_as_what_it_is_expected_to_become(service, shm_dir):
    expected, names = [], []
    for path in sorted((CORPUS / "bodies").iterdir()):
        events = json.loads((CORPUS / "expected" / f"{path.name}.json").read_text())["lenient"]
        answer = post_as_the_mod(service.port, path.read_bytes())
        assert answer["stored"] == len(events), (path.name, answer)
        expected += events
        names += [path.name] * len(events)
    assert len(names) > 100
    found = []
    with Reader(shm_dir, name="corpus", guarantee="reliable", start="earliest", timeout=10) as reader:
        while len(found) < len(expected):
            batch = reader.read()
            assert batch is not None, f"only {len(found)} of {len(expected)} events were read"
            # The payload as a whole, by protobuf's own parser: what any subscriber does.
            for event in EventBatch.FromString(bytes(batch.payload)).events:
                fields = MessageToDict(event, preserving_proto_field_name=True)
                found.append({name: value for name, value in fields.items() if name not in ADDED})
    for name, is_so, should_be in zip(names, found, expected, strict=True):
        assert is_so == should_be, name
