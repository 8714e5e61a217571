"""The writer's side of the tests: a log on this host, written step by step as a test says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# The smallest log that the protocol allows for these batches: eight of the largest frames and some, so that a few
# hundred events lap it.
SMALL_LOG = {"max_batch_bytes": 16384, "max_batch_events": 64, "frames": 8}


def cargo_binary(package: str, *, binary: str | None = None) -> str:
    """Builds a program of this workspace, and gives its path."""
    built = subprocess.run(
        ["cargo", "build", "--quiet", "--package", package, "--bins", "--message-format=json"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == (binary or package):
            return str(message["executable"])
    raise AssertionError(f"cargo built no program {binary or package}")


@pytest.fixture(scope="session")
def logwriter_binary() -> str:
    return cargo_binary("jimbot-logwriter")


@pytest.fixture(scope="session")
def service_binary() -> str:
    return cargo_binary("jimbot-mcp")


@pytest.fixture
def shm_dir() -> Iterator[Path]:
    """A directory of its own in shared memory, as the service would make it."""
    directory = Path(tempfile.mkdtemp(prefix="jimbot-test-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


class LogWriter:
    """A process that writes the log in ``directory``, a step at a time."""

    def __init__(self, binary: str, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [binary, str(directory), json.dumps({**SMALL_LOG, **options})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        ready = self._answer()
        self.epoch: int = ready["epoch"]
        self.generation: int = ready["generation"]
        self.capacity: int = ready["capacity"]
        self.next_sequence: int = ready["next_sequence"]
        self.recovered: int = ready["recovered"]

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the log writer ended with {self.process.wait()}"
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer

    def tell(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def append(self, count: int = 1, **what: Any) -> dict[str, Any]:
        """Stores events in the open batch: ``type``, ``game`` and ``bytes`` (of padding) are the same for all,
        ``spread`` instead of ``game`` takes so many games in turn."""
        answer = self.tell("append", count=count, **what)
        self.next_sequence = answer["next_sequence"]
        return answer

    def commit(self) -> None:
        self.tell("commit")

    def write(self, count: int = 1, **what: Any) -> None:
        """Stores and commits; every event must find room."""
        answer = self.append(count, **what)
        assert answer["stored"] == count, answer
        self.commit()

    def check_readers(self) -> None:
        """What the service does once a second: leases and detaching."""
        self.tell("check")

    def readers(self) -> dict[str, dict[str, Any]]:
        return {reader["name"]: reader for reader in self.tell("readers")["readers"]}

    def is_waited_for(self, name: str) -> bool:
        """Whether this reader sleeps, or is about to: its bit in the table of readers (docs/shared-memory.md)."""
        reader = self.readers().get(name)
        if reader is None:
            return False
        with open(self.directory / "readers", "rb") as table:
            table.seek(64)
            return bool(int.from_bytes(table.read(8), "little") >> reader["slot"] & 1)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self._reap()

    def stop(self) -> None:
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(timeout=30)
        self._reap()

    def _reap(self) -> None:
        self.process.wait(timeout=30)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass


@pytest.fixture
def start_writer(logwriter_binary: str, shm_dir: Path) -> Iterator[Callable[..., LogWriter]]:
    """Starts log writers on this test's directory, one after another."""
    started: list[LogWriter] = []

    def start(**options: Any) -> LogWriter:
        writer = LogWriter(logwriter_binary, shm_dir, **options)
        started.append(writer)
        return writer

    yield start
    for writer in started:
        if writer.process.poll() is None:
            writer.kill()


@pytest.fixture
def writer(start_writer: Callable[..., LogWriter]) -> LogWriter:
    return start_writer()


def run_python(script: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Another Python process; its standard output is a pipe."""
    import sys

    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # Whoever runs the tests in the background has the shell ignore SIGINT, and that is inherited.
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    return subprocess.Popen(
        [sys.executable, "-c", hears + script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


class Bus:
    """An Event Bus on a directory of its own, or as ``store`` says; it can be killed and started again."""

    def __init__(self, binary: str, directory: Path, *arguments: str, store: str = "embedded") -> None:
        self.binary = binary
        self.arguments = ["--store", store, "--dir", str(directory), *arguments]
        # One port for all its lives, so that clients find it again.
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.binary, "bus", "--listen", f"127.0.0.1:{self.port}", *self.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("event bus on http"), f"the bus ended with {self.process.wait(30)}"

    def end(self, number: int = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def restart(self) -> None:
        self.end()
        self.start()


@pytest.fixture
def start_bus(service_binary: str, tmp_path: Path) -> Iterator[Callable[..., Bus]]:
    """Starts buses, each on a directory of its own."""
    started: list[Bus] = []

    def start(*arguments: str, **options: Any) -> Bus:
        bus = Bus(service_binary, tmp_path / f"bus-{len(started)}", *arguments, **options)
        started.append(bus)
        return bus

    yield start
    for bus in started:
        if bus.process is not None and bus.process.poll() is None:
            bus.end()


@pytest.fixture
def bus(start_bus: Callable[..., Bus]) -> Bus:
    return start_bus()


def wait_until(condition: Callable[[], Any], what: str = "what was to come") -> Any:
    """Waits for something to be true, and gives it."""
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)
    return found
