"""What each setting of machine and service changes, one by one, each in turns with the usual way.

    perf/tuning                     all of it
    perf/tuning --only busy         only what has this in its name
    perf/tuning --quick             shows that it runs, measures nothing

The usual way is an adaptive service whose hot thread is pinned and sleeps, with client and reader on the other CPUs. Of
each turn a ratio is taken; told is the median with the interval that holds it with 95 % confidence. What can't be measured
on this machine says why.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from measure import machine, stats, turns
from measure.consumer import Consumer
from measure.judge import Shared, judge, probe, starved
from measure.process import CLIENT_CPU, CONSUMER_CPU, CPUS, SERVER_CPU, Running, cost, load, start_service
from sender import Sender, on_client_cpu

HERE = Path(__file__).resolve().parent
QUOTA_SHARE = 0.25
QUOTA_PERIOD_US = 100_000
SMALL_LOG_BYTES = 32 << 20
# A small event in the log, its place in the index included, has more than this.
EVENT_BYTES_LEAST = 128

Figures = dict[str, float]


class Unavailable(Exception):
    """Not to be measured on this machine, and why."""


class Subject:
    """A service with its reader and its sender; stopped whenever it is not its turn."""

    def __init__(
        self, running: Running, work: Path, *flags: str, cpu: int | None = SERVER_CPU, reader_cpu: int = CONSUMER_CPU,
        wrapper: Sequence[str] = (), neighbour: bool = False,
    ) -> None:
        self.service = start_service(running, Path(tempfile.mkdtemp(dir=work)) / "log", *flags, cpu=cpu, wrapper=wrapper)
        self.running, self.reader_cpu = running, reader_cpu
        self.processes = [self.service.process]
        if neighbour:
            self.processes.append(running.start([sys.executable, "-c", "while True: pass"], SERVER_CPU))
        running.callback(self.signal, signal.SIGCONT)
        self.signal(signal.SIGSTOP)

    @cached_property
    def reader(self) -> Consumer:
        command = [sys.executable, str(HERE / "reader.py"), str(self.service.shm_dir)]
        return Consumer(self.running.start(command, self.reader_cpu, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))

    @cached_property
    def sender(self) -> Sender:
        return Sender(self.service.address)

    def signal(self, which: signal.Signals) -> None:
        for process in self.processes:
            process.send_signal(which)

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.signal(signal.SIGCONT)
        yield
        self.signal(signal.SIGSTOP)

    def lone(self, length: float) -> Figures:
        """One event after the other, with pauses: until Python sees it, and what the service spends meanwhile."""
        count = max(20, int(length * 400))
        with on_client_cpu():
            self.sender.series(10)
            self.reader.ask("begin")
            before, began = cost(self.service.pid), time.monotonic()
            self.sender.series(count)
            spent, took = cost(self.service.pid).since(before), time.monotonic() - began
        seen = self.reader.ask(f"report {count} 5")
        if seen["count"] != count:
            sys.exit(f"error: {count} events were sent and {seen['count']} became visible")
        return {
            "lone event, p50, µs": seen["p50_us"],
            "lone event, p99, µs": seen["p99_us"],
            "CPUs used at 400 events/s": spent.cpu_ns / 1e9 / took,
            "waiting for the CPU, µs an event": spent.waited_ns / 1e3 / count,
        }

    def flat(self, length: float, wire: str = "ws") -> Figures:
        """As fast as one client goes; over WebSocket without the reader, which would take the client's CPU."""
        pace = {"wire": "ws", "connections": 8, "depth": 16} if wire == "ws" else {"connections": 64, "warm_up": 0.05}
        has_reader = "reader" in self.__dict__
        if has_reader:
            self.reader.ask("off")
        told = load(self.service.address, pid=self.service.pid, seconds=length, **pace)
        if has_reader:
            self.reader.ask("on")
        found = {
            f"{NAMES[wire]} flat out: hot thread, µs an event": max(told["service"]["threads_us_per_event"].values()),
            f"{NAMES[wire]} flat out: events/s": told["events_per_second"],
        }
        if told.get("latency"):
            found |= {f"{NAMES[wire]} flat out: answered, p{name}, µs": told["latency"][key] for name, key in (("50", "p50_us"), ("99", "p99_us"))}
        return found

    def paced(self, length: float, rate: int) -> tuple[Figures, str | None]:
        """Events at a rate, and why they say nothing if so."""
        self.reader.ask("begin")
        service, reader = cost(self.service.pid), cost(self.reader.process.pid)
        told = load(self.service.address, wire="ws", connections=8, rate=rate, seconds=length)
        sent = told["events_sent"]
        seen = self.reader.ask(f"report {sent} 5")
        reading = cost(self.reader.process.pid).since(reader).cpu_ns
        beside = [Shared(told["client_cpu_seconds"] + reading / 1e9, 1, 3)] if CLIENT_CPU == CONSUMER_CPU else []
        reason = starved(told["seconds"], *beside) or judge(rate, told["events_per_second"], sent, seen["count"])
        each = 1e3 * sent
        return {
            "service, µs an event": cost(self.service.pid).since(service).cpu_ns / each,
            "reader, µs an event": reading / each,
            "p50, µs": seen["p50_us"],
            "p99, µs": seen["p99_us"],
        }, reason

    def fill(self, length: int) -> None:
        """Goes round the log once: pages that were never touched cost more."""
        sent = 0
        while sent * EVENT_BYTES_LEAST < length:
            sent += load(self.service.address, wire="ws", connections=8, depth=16, seconds=0.3)["events_sent"]


NAMES = {"ws": "WebSocket", "http": "HTTP"}
Measure = Callable[[Subject, float], Figures]


def pairs(usual: Subject, other: Subject, rounds: int, length: float, measure: Measure) -> list[tuple[Figures, Figures]]:
    found = []
    for _ in range(rounds):
        turn = []
        for subject in (usual, other):
            with subject.turn():
                turn.append(measure(subject, length))
        found.append((turn[0], turn[1]))
    return found


def against_usual(measure: Measure, *flags: str, **settings: Any) -> Callable[..., list[tuple[Figures, Figures]]]:
    """An item that differs from the usual way in flags of the service, or in how it is started."""

    def item(running: Running, work: Path, rounds: int, length: float) -> list[tuple[Figures, Figures]]:
        return pairs(Subject(running, work), Subject(running, work, *flags, **settings), rounds, length, measure)

    return item


def lone(subject: Subject, length: float) -> Figures:
    return subject.lone(length)


def lone_and_http(subject: Subject, length: float) -> Figures:
    return subject.lone(length) | subject.flat(length, "http")


def websocket(subject: Subject, length: float) -> Figures:
    return subject.flat(length)


def mode_at(rate: int) -> Callable[..., list[tuple[Figures, Figures]]]:
    def item(running: Running, work: Path, rounds: int, length: float) -> list[tuple[Figures, Figures]]:
        usual, other = Subject(running, work), Subject(running, work, "--mode", "window")
        for subject in (usual, other):
            with subject.turn():
                reason = probe(partial(reason_of, subject, length, rate))
            if reason is not None:
                raise Unavailable(reason)
        return pairs(usual, other, rounds, length, lambda subject, each: subject.paced(each, rate)[0])

    return item


def reason_of(subject: Subject, length: float, rate: int) -> str | None:
    return subject.paced(length, rate)[1]


def neighbour_nice(running: Running, work: Path, rounds: int, length: float) -> list[tuple[Figures, Figures]]:
    if os.geteuid() != 0:
        raise Unavailable("a higher priority needs root")
    beside = Subject(running, work, neighbour=True)
    return pairs(beside, Subject(running, work, neighbour=True, wrapper=("nice", "-n", "-20")), rounds, length, lone)


def neighbour_busy_poll(running: Running, work: Path, rounds: int, length: float) -> list[tuple[Figures, Figures]]:
    beside = Subject(running, work, neighbour=True)
    return pairs(beside, Subject(running, work, "--busy-poll", neighbour=True), rounds, length, lone)


def laps(running: Running, work: Path, length: float) -> tuple[Figures, Figures]:
    """A new log: the first time that its pages are written, and later."""
    with Running() as own:
        subject = Subject(own, work, "--log-bytes", str(SMALL_LOG_BYTES))
        with subject.turn():
            first = subject.flat(min(length, 0.1))
            subject.fill(SMALL_LOG_BYTES)
            return first, subject.flat(min(length, 0.1))


def log_laps(running: Running, work: Path, rounds: int, length: float) -> list[tuple[Figures, Figures]]:
    return [laps(running, work, length) for _ in range(rounds)]


def huge_pages_of_log(running: Running, work: Path, rounds: int, length: float) -> list[tuple[Figures, Figures]]:
    place = work / "huge"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "huge=always,size=1g", "tmpfs", str(place)], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        raise Unavailable(f"can't mount a folder with huge pages: {mounted.stderr.strip()}")
    try:
        found = []
        for _ in range(rounds):
            turn = []
            for folder in (work, place):
                first, later = laps(running, folder, length)
                turn.append({f"first lap, {name}": value for name, value in first.items()} | later)
            found.append((turn[0], turn[1]))
        return found
    finally:
        # Lazily: the memory of a process that has just ended may hold it for a moment.
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def log_size(size: int) -> Callable[..., list[tuple[Figures, Figures]]]:
    def item(running: Running, work: Path, rounds: int, length: float) -> list[tuple[Figures, Figures]]:
        usual, other = Subject(running, work), Subject(running, work, "--log-bytes", str(size))
        for subject, fill in ((usual, 256 << 20), (other, size)):
            with subject.turn():
                if rounds > 2:
                    subject.fill(fill)
        return pairs(usual, other, rounds, length, websocket)

    return item


@contextmanager
def quota(pid: int) -> Iterator[Callable[[], int]]:
    """Puts a process under a share of a CPU, as a container's limit does; gives how many periods it was throttled in."""
    limit = int(QUOTA_SHARE * QUOTA_PERIOD_US)
    first, unified = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists() and "cpu" in unified.read_text().split():
        group, settings = unified.parent / f"jimbot-tuning-{pid}", {"cpu.max": f"{limit} {QUOTA_PERIOD_US}"}
    elif first.is_dir():
        group, settings = first / f"jimbot-tuning-{pid}", {"cpu.cfs_period_us": str(QUOTA_PERIOD_US), "cpu.cfs_quota_us": str(limit)}
    else:
        raise Unavailable("this machine shows no control groups of CPU time")
    try:
        group.mkdir()
    except OSError as error:
        raise Unavailable(f"control groups can't be made here: {error.strerror}") from error
    try:
        for name, value in settings.items():
            (group / name).write_text(value)
        (group / "cgroup.procs").write_text(str(pid))
        yield lambda: int(dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())["nr_throttled"])
    except OSError as error:
        raise Unavailable(f"the control group does not take the limit: {error.strerror}") from error
    finally:
        (group.parent / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def cpu_quota(running: Running, work: Path, rounds: int, length: float) -> list[tuple[Figures, Figures]]:
    usual, other = Subject(running, work), Subject(running, work)
    with quota(other.service.pid) as throttled:
        found = pairs(usual, other, rounds, length, lambda subject, each: subject.flat(max(each, 0.3), "http"))
        if not throttled():
            raise Unavailable("the limit was never reached")
        return found


def refuse(reason: str) -> Callable[..., list[tuple[Figures, Figures]]]:
    def item(*_: Any) -> list[tuple[Figures, Figures]]:
        raise Unavailable(reason)

    return item


def governor_reason() -> str:
    if Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").exists():
        return "not switched by this program; run perf/latency under each: cpupower frequency-set -g performance"
    return "this machine shows no governor: its hypervisor decides"


def items() -> dict[str, tuple[str, str, Callable[..., list[tuple[Figures, Figures]]]]]:
    """By name: the usual way, the other way, and what measures both."""
    unpinned = {"cpu": None}
    return {
        "pinning": ("pinned (--cpu)", "not pinned", against_usual(lone_and_http, **unpinned)),
        "busy polling": ("sleeps", "--busy-poll", against_usual(lone_and_http, "--busy-poll")),
        "reader's place": ("reader on another CPU", "reader on the hot thread's", against_usual(lone, reader_cpu=SERVER_CPU)),
        "neighbour": ("alone on its CPU", "a busy process on the same CPU", against_usual(lone, neighbour=True)),
        "neighbour, priority": ("beside a busy process", "likewise, nice -20", neighbour_nice),
        "neighbour, busy polling": ("beside a busy process", "likewise, --busy-poll", neighbour_busy_poll),
        "mode, 1,000/s": ("adaptive", "--mode window", mode_at(1_000)),
        "mode, 20,000/s": ("adaptive", "--mode window", mode_at(20_000)),
        "huge pages, log": ("log in /dev/shm", "log in a folder mounted with huge=always", huge_pages_of_log),
        "log pages": ("first lap", "later laps", log_laps),
        "log of 16 MiB": ("256 MiB", "--log-bytes 16MiB", log_size(16 << 20)),
        "log of 64 MiB": ("256 MiB", "--log-bytes 64MiB", log_size(64 << 20)),
        "container limit": ("no limit", f"{QUOTA_SHARE} CPUs in periods of {QUOTA_PERIOD_US // 1000} ms", cpu_quota),
        "isolated CPU": ("", "isolcpus, nohz_full, rcu_nocbs", refuse("set on the kernel's command line; what an isolated CPU is spared is the row \"neighbour\"")),
        "IRQ affinity": ("", "interrupts away from the hot CPU", refuse("all of this runs over loopback, which raises no interrupts")),
        "socket busy polling": ("", "net.core.busy_poll", refuse("loopback has no device queue that could be polled")),
        "governor": ("", "performance", refuse(governor_reason())),
    }


def measured(name: str, work: Path, rounds: int, length: float) -> dict[str, Any]:
    usual, other, item = items()[name]
    told: dict[str, Any] = {"usual": usual, "other": other}
    if len(CPUS) < 2:
        return told | {"reason": "n/a (needs 2)"}
    try:
        with Running() as running:
            found = item(running, work, rounds, length)
    except Unavailable as reason:
        return told | {"reason": str(reason)}
    return told | {
        "figures": {
            key: {
                "usual": turns.interval([one[key] for one, _ in found]),
                "other": turns.interval([two[key] for _, two in found]),
                "ratio": turns.interval([two[key] / one[key] for one, two in found if one[key]]),
            }
            for key in found[0][0]
        }
    }


def told(report: dict[str, Any]) -> list[str]:
    lines = [*machine.lines(report["machine"]), f"hot thread on CPU {SERVER_CPU}, reader on {CONSUMER_CPU}; the client on {CLIENT_CPU} sleeps between sends; medians of {report['rounds']} turns, ratio with 95 % interval"]
    for name, row in report["items"].items():
        if "reason" in row:
            lines += ["", f"{name}: {row['other']}: not measured: {row['reason']}"]
            continue
        lines += ["", f"{name}: {row['other']} against {row['usual']}"]
        lines += [
            f"  {key:48} {figures['usual']['median']:12,.2f} -> {figures['other']['median']:12,.2f}   x {stats.text(figures['ratio'])}"
            for key, figures in row["figures"].items()
        ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="perf/tuning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each item (15)")
    parser.add_argument("--seconds", type=float, default=0.2, help="length of one run (0.2)")
    parser.add_argument("--only", action="append", metavar="TEXT", help="only items with this in their name")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it runs")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 0.05
    described = machine.describe()
    found = {}
    for name in items():
        if options.only and not any(text in name for text in options.only):
            continue
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        work = Path(tempfile.mkdtemp(prefix="jimbot-tuning-", dir="/dev/shm"))
        try:
            found[name] = measured(name, work, options.rounds, options.seconds)
        finally:
            shutil.rmtree(work)
    report = {"machine": described, "rounds": options.rounds, "client": "sleeping", "items": found}
    text = "\n".join(told(report))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "tuning.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "tuning.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
