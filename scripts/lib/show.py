"""The screen of scripts/run: starts the service and made-up games, reads their events, shows that they flow.

Ends with 0 only if every event that the games sent was accepted, read, and delivered by the bus. When service, games or
subscriber end before they should, it ends too, and says who it was.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

import numpy as np

from jimbot.mcp import Reader
from jimbot.proto import base_pb2

# What the service says about itself (its own events are not sent by games).
OWN_TYPES = [
    base_pb2.EventType.Value(name)
    for name in base_pb2.EventType.keys()
    if name.startswith("EVENT_TYPE_COMMAND_")
]
READY_SECONDS = 30.0
# After the games have ended: how long the reader waits for what is still missing.
REST_SECONDS = 10.0
# What a service that stops may take, and some.
DRAIN_SECONDS = 6.0
SCREEN_SECONDS = 0.25
PR_SET_PDEATHSIG = 1
LINE_SECONDS = 2.0
# Latencies kept for the percentiles: the newest ones.
LATENCIES_KEPT = 200_000


class Died(Exception):
    """A process ended before it should; the text says which."""


def end_with_parent() -> None:
    """In a child: the kernel ends it when this program is killed, which then can't."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Latencies:
    """The newest latencies, in milliseconds."""

    def __init__(self) -> None:
        self._values = np.zeros(LATENCIES_KEPT)
        self._count = 0

    def add(self, values: np.ndarray) -> None:
        values = values[-LATENCIES_KEPT:]
        places = (self._count + np.arange(len(values))) % LATENCIES_KEPT
        self._values[places] = values
        self._count += len(values)

    def __str__(self) -> str:
        known = self._values[: min(self._count, LATENCIES_KEPT)]
        if not len(known):
            return "none yet"
        p50, p99, worst = (float(value) for value in np.percentile(known, [50, 99, 100]))
        return f"p50 {_time(p50)}   p99 {_time(p99)}   max {_time(worst)}"


def _time(milliseconds: float) -> str:
    return f"{milliseconds * 1000:.0f} µs" if milliseconds < 1 else f"{milliseconds:.1f} ms"


class Subscriber:
    """`jimbot-mcp tail` on the Event Bus: what comes out at the far end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._sequences: set[str] = set()
        self._output = process.stdout
        self._thread = threading.Thread(target=self._count, name="subscriber", daemon=True)
        self._thread.start()

    def _count(self) -> None:
        assert self._output is not None
        for line in self._output:
            if not line.endswith("\n"):
                # The last words of one that was killed.
                break
            # Delivery is at least once; the sequence makes it exactly once.
            self._sequences.add(json.loads(line)["sequence"])

    @property
    def events(self) -> int:
        """Different events that came."""
        return len(self._sequences)


class Show:
    """Service, games, reader and subscriber together."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.shm_dir = Path(tempfile.mkdtemp(prefix="jimbot-run-", dir="/dev/shm"))
        # The bus keeps its events on disk; those of this screen go with it.
        self.state_dir = Path(tempfile.mkdtemp(prefix="jimbot-run-"))
        self.log = self.shm_dir / "messages.txt"
        # By what people call them.
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.screen = sys.stdout.isatty()
        self.stopping = False
        self.read = 0
        self.batches = 0
        self.rate = 0.0
        self.inside = Latencies()
        self.whole = Latencies()
        self.types: dict[int, int] = {}
        self.subscriber: Subscriber | None = None

    def start(self, who: str, name: str, *arguments: str, output: int | None = None) -> subprocess.Popen[str]:
        with self.log.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [self.options.binary, name, "--shm-dir", str(self.shm_dir), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output if output is not None else log,
                stderr=log,
                text=True,
                env={**os.environ, "XDG_STATE_HOME": str(self.state_dir)},
                # Ctrl-C reaches this program alone, which ends the others in order.
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.processes[who] = process
        return process

    def look_after(self, *allowed_to_end: str) -> None:
        """Raises `Died` when a process has ended that should run."""
        ended = {
            who: process
            for who, process in self.processes.items()
            if process.poll() is not None and (process.returncode != 0 or who not in allowed_to_end)
        }
        if not ended:
            return
        # A service that stops takes the others along, which may be done before it is.
        try:
            self.processes["service"].wait(timeout=DRAIN_SECONDS)
            ended["service"] = self.processes["service"]
        except subprocess.TimeoutExpired:
            pass
        who = "service" if "service" in ended else next(iter(ended))
        code = ended[who].returncode
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise Died(f"the {who} died while events were flowing ({how})")

    def failed(self, what: str) -> int:
        print(f"error: {what}", file=sys.stderr)
        if self.log.exists():
            print(self.log.read_text(encoding="utf-8"), file=sys.stderr)
        return 1

    def run(self) -> int:
        service = self.start("service", "serve", "--listen", "127.0.0.1:0", "--bus", "embedded")
        endpoints = self.shm_dir / "endpoints.json"
        deadline = time.monotonic() + READY_SECONDS
        while not endpoints.exists():
            if service.poll() is not None or time.monotonic() > deadline:
                return self.failed("the service did not start")
            time.sleep(0.02)
        places = json.loads(endpoints.read_text(encoding="utf-8"))
        print(
            f"service on {places['listen'][0]}, {self.options.games} games, one Python reader, "
            f"one subscriber of the Event Bus at {places['bus']}; Ctrl-C ends it",
            flush=True,
        )
        tail = self.start(
            "subscriber", "tail", "--bus", places["bus"], "--topic", ">", "--from-start", output=subprocess.PIPE
        )
        self.subscriber = Subscriber(tail)

        with Reader(self.shm_dir, name="screen", guarantee="reliable", start="earliest") as reader:
            games = self.start(
                "games", "simulate", "--json", "--resend", "--games", str(self.options.games),
                "--rate", str(self.options.rate), *self.limits(), output=subprocess.PIPE,
            )  # fmt: skip
            self.enter_screen()
            self.watch(reader, games)
            self.look_after("games")
            summary = json.loads(games.communicate(timeout=60)[0] or "{}")
            self.leave_screen()
            self.read_rest(reader, summary.get("events_sent", 0))
            if reader.missed:
                return self.failed(f"{reader.missed} events were overwritten before they were read")
        service.send_signal(signal.SIGTERM)
        if service.wait(timeout=30) != 0:
            return self.failed(f"the service ended with {service.returncode}")
        sent, accepted = summary.get("events_sent", 0), summary.get("events_accepted", 0)
        print(
            f"{sent} events sent, {accepted} accepted, {self.read} read in {self.batches} batches, "
            f"{self.delivered()} at the subscriber of the bus",
            flush=True,
        )
        print(f"received to read in Python: {self.inside}", flush=True)
        if not sent == accepted == self.read == self.delivered():
            return self.failed("these should be equal")
        return 0

    def limits(self) -> list[str]:
        return [] if self.options.seconds is None else ["--seconds", str(self.options.seconds)]

    def watch(self, reader: Reader, games: subprocess.Popen[str]) -> None:
        """Reads and shows until the games have ended."""
        told_to_end = False
        shown_at, shown_read = time.monotonic(), 0
        every = SCREEN_SECONDS if self.screen else LINE_SECONDS
        while games.poll() is None:
            self.take(reader, 0.05)
            self.look_after("games")
            if self.stopping and not told_to_end:
                # Once: a second signal would cut short what it has to say.
                told_to_end = True
                games.send_signal(signal.SIGINT)
            now = time.monotonic()
            if now - shown_at >= every:
                self.rate = (self.read - shown_read) / (now - shown_at)
                shown_at, shown_read = now, self.read
                self.draw(reader.lag)

    def read_rest(self, reader: Reader, sent: int) -> None:
        deadline = time.monotonic() + REST_SECONDS
        while min(self.read, self.delivered()) < sent and time.monotonic() < deadline:
            self.take(reader, 0.05)
            self.look_after("games")

    def delivered(self) -> int:
        return self.subscriber.events if self.subscriber else 0

    def take(self, reader: Reader, seconds: float) -> None:
        batch = reader.read(timeout=seconds)
        if batch is None:
            return
        unix_ns, monotonic_ms = time.time_ns(), time.monotonic_ns() / 1e6
        index = batch.index
        theirs = index[~np.isin(index["event_type"], OWN_TYPES)]
        self.read += len(theirs)
        self.batches += 1
        received = theirs["receive_time_unix_ns"].astype(np.int64)
        self.inside.add((unix_ns - received) / 1e6)
        # The games of this screen stamp events with this host's monotonic clock, as real ones do.
        self.whole.add(monotonic_ms - theirs["producer_time"][theirs["id_hash"] != 0])
        for kind, count in zip(*np.unique(theirs["event_type"], return_counts=True), strict=True):
            self.types[int(kind)] = self.types.get(int(kind), 0) + int(count)

    def draw(self, lag: int) -> None:
        line = (
            f"{self.read:>10,} events read   {self.rate:>9,.0f}/s   {self.delivered():,} through the bus   "
            f"received to read: {self.inside}"
        )
        if not self.screen:
            print(line, flush=True)
            return
        lines = [
            "JimBot MCP: games -> service -> shared memory -> Python, and -> Event Bus -> anyone",
            "",
            f"  events read        {self.read:>12,}   in {self.batches:,} batches, {lag} still to read",
            f"  through the bus    {self.delivered():>12,}   to a subscriber",
            f"  a second           {self.rate:>12,.0f}",
            f"  received to read   {self.inside}",
            f"  in the game to read   {self.whole}   (the mod collects for 100 ms)",
            "",
        ]
        most = sorted(self.types.items(), key=lambda item: -item[1])[:8]
        widest = max((count for _, count in most), default=1)
        for kind, count in most:
            try:
                name = base_pb2.EventType.Name(kind).removeprefix("EVENT_TYPE_")
            except ValueError:
                name = str(kind)
            lines.append(f"  {name:<26} {count:>9,}  {'█' * max(1, 30 * count // widest)}")
        lines += ["", "  Ctrl-C ends it"]
        width = shutil.get_terminal_size().columns
        text = "\x1b[K\n".join(line[:width] for line in lines)
        sys.stdout.write(f"\x1b[H{text}\x1b[K\x1b[J")
        sys.stdout.flush()

    def enter_screen(self) -> None:
        if self.screen:
            # The alternate one, so that what was there comes back.
            sys.stdout.write("\x1b[?1049h\x1b[?25l")

    def leave_screen(self) -> None:
        if self.screen:
            sys.stdout.write("\x1b[?25h\x1b[?1049l")
            sys.stdout.flush()
            self.screen = False

    def close(self) -> None:
        self.leave_screen()
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.shm_dir, ignore_errors=True)
        shutil.rmtree(self.state_dir, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--games", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1000.0)
    options = parser.parse_args()
    if not os.access("/dev/shm", os.W_OK):
        print("error: /dev/shm can't be written here; the log lives in it", file=sys.stderr)
        return 1
    show = Show(options)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        show.stopping = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        code = show.run()
    except Died as died:
        show.leave_screen()
        code = show.failed(str(died))
    finally:
        show.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
