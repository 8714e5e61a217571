"""The screen of scripts/run when a part of it dies: it ends at once, not with 0, and says who died."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from conftest import REPOSITORY

PATIENCE_SECONDS = 60.0


class Screen:
    """scripts/lib/show.py with games that play until they are told to end."""

    def __init__(self, binary, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "scripts/lib/show.py"), "--binary", binary, "--games", "2", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.flowing = threading.Event()
        self.output = ""
        self.drain = threading.Thread(target=self._read)
        self.drain.start()

    def _read(self):
        for line in self.process.stdout:
            self.output += line
            if " events read " in line and not line.strip().startswith("0 "):
                self.flowing.set()

    def wait_until_events_flow(self):
        assert self.flowing.wait(PATIENCE_SECONDS), self.output

    def children(self):
        """Process ids by subcommand."""
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
                command = (place / "cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == self.process.pid and len(command) > 1:
                found[command[1].decode()] = int(place.name)
        return found

    def end(self):
        """Exit code and errors."""
        code = self.process.wait(PATIENCE_SECONDS)
        self.drain.join(PATIENCE_SECONDS)
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, errors


def wait_until_gone(pids):
    deadline = time.monotonic() + PATIENCE_SECONDS
    for pid in pids:
        # Who is nobody's child any more is taken away by init, if there is one; what is left of it does nothing.
        while Path(f"/proc/{pid}/exe").exists():
            assert time.monotonic() < deadline, f"{pid} goes on"
            time.sleep(0.02)


@pytest.fixture
def screen(service_binary):
    screen = Screen(service_binary)
    yield screen
    if screen.process.poll() is None:
        screen.process.terminate()
        screen.end()


@pytest.mark.parametrize(
    ("command", "who"), [("serve", "service"), ("tail", "subscriber"), ("simulate", "games")]
)  # fmt: skip
def test_who_dies_while_events_flow_is_named_and_the_exit_code_is_not_0(screen, command, who):
    screen.wait_until_events_flow()
    children = screen.children()
    assert set(children) == {"serve", "tail", "simulate"}
    os.kill(children[command], signal.SIGKILL)
    code, errors = screen.end()
    assert code == 1
    assert errors.splitlines()[0] == f"error: the {who} died while events were flowing (killed by SIGKILL)"
    wait_until_gone(children.values())


def test_a_service_that_is_ended_in_order_ends_the_screen_too(screen):
    screen.wait_until_events_flow()
    os.kill(screen.children()["serve"], signal.SIGTERM)
    code, errors = screen.end()
    assert code == 1
    assert errors.splitlines()[0] == "error: the service died while events were flowing (exit code 0)"


def test_a_killed_reader_leaves_nothing_running(screen):
    screen.wait_until_events_flow()
    children = screen.children()
    arguments = Path(f"/proc/{children['serve']}/cmdline").read_bytes().split(b"\0")
    shm_dir = arguments[arguments.index(b"--shm-dir") + 1].decode()
    screen.process.kill()
    code, _ = screen.end()
    assert code == -signal.SIGKILL
    wait_until_gone(children.values())
    shutil.rmtree(shm_dir)


def test_ctrl_c_ends_it_with_0_when_every_event_was_read(screen):
    screen.wait_until_events_flow()
    screen.process.send_signal(signal.SIGINT)
    code, errors = screen.end()
    assert (code, errors) == (0, ""), screen.output
