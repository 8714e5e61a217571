"""The examples in Go and TypeScript, run as users run them, on the bus inside a real service.

Wants JIMBOT_BINARY, EXAMPLE_GO (the built example) and EXAMPLE_TYPESCRIPT (its JavaScript) in the environment, as
scripts/check-schema sets them.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

PATIENCE_SECONDS = 60
BINARY = os.environ["JIMBOT_BINARY"]


class Service:
    """``serve --bus embedded``: the address of its HTTP, and of its bus."""

    def __init__(self, directory: Path) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("JIMBOT_MCP_")}
        arguments = ["--listen", "127.0.0.1:0", "--shm-dir", str(directory / "shm"), "--log-bytes", "8MiB"]
        self.process = subprocess.Popen(
            [BINARY, "serve", "--bus", "embedded", *arguments, "--max-batch-bytes", "128KiB"],
            env={**clean, "HOME": str(directory), "XDG_STATE_HOME": str(directory)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert self.process.poll() is None, "the service ended"
            assert time.monotonic() < deadline, "the service did not come up"
            try:
                places = json.loads((directory / "shm" / "endpoints.json").read_bytes())
                break
            except (OSError, ValueError):
                time.sleep(0.01)
        self.http: str = places["listen"][0]
        self.bus: str = places["bus"]

    def post(self, event_id: str) -> None:
        """As a game does."""
        event = {"type": "HAND_PLAYED", "event_id": event_id, "timestamp": 1.0, "payload": {"hand_type": "Pair"}}
        request = urllib.request.Request(
            f"http://{self.http}/api/v1/events", json.dumps(event).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            assert answer.status == 200


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("service"))
    yield running
    running.process.kill()
    running.process.wait(PATIENCE_SECONDS)


def go(bus: str) -> list[str]:
    return [os.environ["EXAMPLE_GO"], "-bus", urlsplit(bus).netloc]


def typescript(bus: str) -> list[str]:
    return ["node", os.environ["EXAMPLE_TYPESCRIPT"], "--bus", bus]


@pytest.fixture(params=[go, typescript], ids=lambda language: language.__name__)
def command(request: pytest.FixtureRequest) -> list[str]:
    # Only where the bus is differs; both take `--flag value`.
    return list(request.param(request.getfixturevalue("service").bus))


def test_an_example_gets_what_it_publishes_and_what_a_game_posts(service: Service, command: list[str]) -> None:
    # The same event posted twice would be one.
    id_of_game = f"from a game to {command[0]}"
    example = subprocess.Popen(
        [*command, "--topic", "game.hand.*", "--publish", "from the example", "--count", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    guard = threading.Timer(PATIENCE_SECONDS, example.kill)
    guard.start()
    assert example.stdout is not None
    own = example.stdout.readline()
    service.post(id_of_game)
    posted, notices = example.communicate()
    guard.cancel()
    assert example.returncode == 0, notices
    assert own.split(maxsplit=1)[1] in ("HAND_PLAYED from the example\n", "EVENT_TYPE_HAND_PLAYED from the example\n")
    assert posted.split(maxsplit=1)[1] in (f"HAND_PLAYED {id_of_game}\n", f"EVENT_TYPE_HAND_PLAYED {id_of_game}\n")
    assert int(posted.split()[0]) > int(own.split()[0]) > 0
    assert "subscribed to game.hand.* from position" in notices and "published at position" in notices


def test_an_example_says_what_the_bus_says(command: list[str]) -> None:
    told = subprocess.run([*command, "--topic", "a..b"], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert told.returncode == 1 and told.stdout == ""
    assert told.stderr.startswith("error: ") and "InvalidArgument" in told.stderr and "`a..b`" in told.stderr


@pytest.mark.parametrize("language", [go, typescript])
def test_an_example_says_that_there_is_no_bus(language: object) -> None:
    assert callable(language)
    told = subprocess.run(language("http://127.0.0.1:1"), capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert told.returncode == 1 and "127.0.0.1:1" in told.stderr and "Unavailable" in told.stderr
