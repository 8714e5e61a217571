"""How cost grows with connections, readers, the size of an event and what it holds.

    perf/growth             1 to 10,000 connections, 0 to 64 readers, events of 100 B to 1 MB, all workloads, quiet games
    perf/growth --spin      from a client that never sleeps
    perf/growth --quick     shows that it runs, measures nothing

CPU of the hot thread an event and events a second, flat out, in turns with a bare epoll loop (`jimbot-floor`) on the same
CPU for connections and sizes; the median over the rounds with the interval that holds it with 95 % confidence. Connecting
is left out. Each reader is a process that does nothing but read (`read_all`); it sleeps until it is woken, and shares the
CPUs that the service leaves it. They are measured at a rate at which each event comes alone and wakes all of them, and flat
out; what would starve them or the client is not run. Quiet games have sent one whole state each over a WebSocket of its own,
and answer pings; idle connections have sent nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from growth_plot import plot
from measure import machine, stats, turns
from measure.judge import Shared, judge, probe, starved
from measure.process import CPUS, SERVER_CPU, Running, binary, cost, first_line, load, start_service
from quiet_games import QuietGames
from sender import on_client_cpu

HERE = Path(__file__).resolve().parent
CONNECTIONS: tuple[int, ...] = (1, 8, 64, 512, 4096, 10_000)
READERS: tuple[int, ...] = (0, 1, 2, 4, 8, 16, 32, 64)
# Of JSON; an event without anything in it has 116.
SIZES: tuple[int, ...] = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
WORKLOADS = ("small", "cascade", "mixed", "batch", "state")
# Each event is alone, and wakes every reader.
READER_RATE = 1_000
# There are as many services as counts of readers.
READER_LOG_BYTES = 32 << 20
# Beside the client where there are only two CPUs.
READER_CPUS = CPUS[2:] or CPUS[-1:]
PROBE_SECONDS = 0.2
QUIET_GAMES: tuple[int, ...] = (1_000, 10_000)
# Longer than the 20 s of silence after which the service pings, so that each game is pinged once at least.
QUIET_SECONDS = 25.0
IDLE_CONNECTIONS: tuple[int, ...] = (0, 1_000)
IDLE_SECONDS = 10.0


# Where the load generator takes the service's counters, the warm-up is over and all connections are made.
WARM_UP_SECONDS = 0.1


def hot_us(told: dict[str, Any]) -> float:
    """CPU of the hot thread in microseconds an event; NaN, which is left out of medians, when none was answered in time."""
    if not told["events"]:
        return math.nan
    return float(max(told["service"]["threads_us_per_event"].values()))


def flat(pid: int, address: str, **flags: Any) -> tuple[float, float]:
    """What one event cost the hot thread, and events a second."""
    told = load(address, pid=pid, **{"warm_up": WARM_UP_SECONDS, **flags})
    return hot_us(told), told["events_per_second"]


class Pair:
    """The service and a bare epoll loop on the same CPU, in turns."""

    def __init__(self, running: Running, work: Path, *floor_flags: str) -> None:
        self.service = start_service(running, work)
        command = [binary("jimbot-floor"), "--cpu", str(SERVER_CPU), *floor_flags]
        self.floor = running.start(command, None, stdout=subprocess.PIPE, text=True)
        self.bare = first_line(self.floor)

    def measure(self, rounds: int, **flags: Any) -> dict[str, Any]:
        both = [
            (flat(self.service.pid, self.service.address, **flags), flat(self.floor.pid, self.bare, **flags))
            for _ in range(rounds)
        ]
        memory = cost(self.service.pid)
        return {
            "hot_us": turns.interval([ours[0] for ours, _ in both]),
            "floor_us": turns.interval([theirs[0] for _, theirs in both]),
            "ratio": turns.interval([ours[0] / theirs[0] for ours, theirs in both]),
            "events_per_second": turns.interval([ours[1] for ours, _ in both]),
            "floor_events_per_second": turns.interval([theirs[1] for _, theirs in both]),
            "resident_mb": (memory.resident_bytes - memory.shared_bytes) / 1e6,
        }


def connections(work: Path, options: argparse.Namespace, counts: tuple[int, ...]) -> dict[str, Any]:
    limit = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with Running() as running:
        pair = Pair(running, work / "connections")
        found: dict[str, Any] = {}
        for count in counts:
            if count + 100 > limit:
                found[str(count)] = {"reason": f"n/a (this machine allows {limit} open files)"}
                continue
            # Each connection has its turn several times. The first two are the warm-up: with them it gets its buffers and its
            # session.
            found[str(count)] = pair.measure(
                options.rounds, connections=count, spin=options.spin,
                seconds=options.seconds * (1 + count / 5000), warm_up=WARM_UP_SECONDS * (1 + count / 1000),
            )
        return found


def sizes(work: Path, options: argparse.Namespace, wanted: tuple[int, ...]) -> dict[str, Any]:
    with Running() as running:
        pair = Pair(running, work / "sizes", "--whole-requests")
        found = {}
        for size in wanted:
            body = subprocess.run([binary("jimbot-load"), "--event-bytes", str(size), "--print", "1"], capture_output=True, check=True).stdout
            found[str(size)] = {"bytes_per_event": len(body) - 1} | pair.measure(
                options.rounds, connections=8, event_bytes=size, seconds=options.seconds, spin=options.spin
            )
        return found


class Read:
    """A service whose log so many processes read."""

    def __init__(self, running: Running, work: Path, count: int, spin: bool) -> None:
        self.count, self.spin = count, spin
        self.service = start_service(running, work / f"readers-{count}", "--log-bytes", str(READER_LOG_BYTES))
        pinned = ["taskset", "--cpu-list", ",".join(map(str, READER_CPUS))]
        self.readers = [
            running.start(
                [*pinned, binary("examples/read_all"), str(self.service.shm_dir)], None,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for _ in range(count)
        ]
        for reader in self.readers:
            first_line(reader)

    def run(self, **flags: Any) -> tuple[dict[str, Any], str | None]:
        """A run's report, and why it says nothing if so."""
        pids = [reader.pid for reader in self.readers]
        before = cost(*pids)
        told = load(self.service.address, pid=self.service.pid, connections=8, spin=self.spin, **flags)
        reading = cost(*pids).since(before).cpu_ns / 1e9
        needs = 2 + self.count
        if len(CPUS) > 2:
            places = [Shared(reading, len(READER_CPUS), needs)]
        elif self.count:
            places = [Shared(reading + told["client_cpu_seconds"], 1, needs)]
        else:
            places = []
        reason = starved(told["seconds"] + flags.get("warm_up", 0.0), *places)
        if reason is None and "rate" in flags:
            reason = judge(flags["rate"], told["events_per_second"], told["events_sent"], None)
        return told, reason

    def reason(self, **flags: Any) -> str | None:
        """What to say instead of running it, if so."""
        if self.spin and self.count and len(CPUS) < 3:
            return f"n/a (needs {2 + self.count})"
        return probe(lambda: self.run(**flags)[1])


def readers(work: Path, options: argparse.Namespace, counts: tuple[int, ...]) -> dict[str, Any]:
    """All counts in turns, each at its own service: one event after the other, then as many as go."""
    ways: dict[str, dict[str, Any]] = {
        "": {"wire": "ws", "rate": READER_RATE},
        "flat_": {"workload": "batch", "warm_up": WARM_UP_SECONDS},
    }
    found: dict[str, Any] = {str(count): {} for count in counts}
    with Running() as running:
        services = [Read(running, work, count, options.spin) for count in counts]
        for way, flags in ways.items():
            for each in services:
                reason = each.reason(seconds=min(PROBE_SECONDS, options.seconds), **flags)
                if reason is not None:
                    found[str(each.count)][f"{way}reason"] = reason
        values: dict[tuple[int, str], list[Any]] = {}
        for _ in range(options.rounds):
            for way, flags in ways.items():
                for each in services:
                    if f"{way}reason" not in found[str(each.count)]:
                        told, _ = each.run(seconds=options.seconds, **flags)
                        values.setdefault((each.count, way), []).append((hot_us(told), told["events_per_second"]))
    for (count, way), both in values.items():
        nobody = values.get((0, way))
        found[str(count)] |= {
            f"{way}hot_us": turns.interval([hot for hot, _ in both]),
            f"{way}events_per_second": turns.interval([rate for _, rate in both]),
            # Turn by turn against nobody reading.
            f"{way}ratio": turns.interval([hot / alone for (hot, _), (alone, _) in zip(both, nobody or [])]),
        }
    return found


def workloads(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    with Running() as running:
        service = start_service(running, work / "workloads")
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in WORKLOADS}
        bytes_each = {}
        for _ in range(options.rounds):
            for name in WORKLOADS:
                found[name].append(
                    flat(service.pid, service.address, connections=8, workload=name, seconds=options.seconds, spin=options.spin)
                )
        for name in WORKLOADS:
            bodies = subprocess.run([binary("jimbot-load"), "--workload", name, "--print", "64"], capture_output=True, check=True).stdout
            bytes_each[name] = len(bodies) / max(1, bodies.count(b'"event_id"'))
        return {
            name: {
                "bytes_per_event": round(bytes_each[name], 1),
                "hot_us": turns.interval([each[0] for each in found[name]]),
                "events_per_second": turns.interval([each[1] for each in found[name]]),
            }
            for name in WORKLOADS
        }


def percent(pid: int, wait: Any, seconds: float) -> dict[str, float]:
    """What a service spends while `wait` waits for so long, in percent of a CPU."""
    before, began = cost(pid), time.monotonic()
    wait(seconds)
    spent, took = cost(pid).since(before), time.monotonic() - began
    return {"seconds": took, "hot_percent": spent.hottest_ns / took / 1e7, "all_percent": spent.cpu_ns / took / 1e7}


def idle(work: Path, seconds: float, counts: tuple[int, ...]) -> dict[str, Any]:
    """What a service costs to which nobody says anything."""
    found = {}
    for count in counts:
        with Running() as running:
            service = start_service(running, work / f"idle-{count}")
            with on_client_cpu():
                games = QuietGames(service.address, count)
                running.callback(games.close)
                # What connecting has started is over.
                games.answer_pings(seconds / 5)
                pings = games.pings
                found[str(count)] = percent(service.pid, games.answer_pings, seconds) | {"pings": games.pings - pings}
    return found


def quiet(work: Path, seconds: float, counts: tuple[int, ...]) -> dict[str, Any]:
    """What games cost that are connected and silent."""
    found: dict[str, Any] = {}
    for count in counts:
        states = subprocess.run([binary("jimbot-load"), "--workload", "state", "--print", str(count)], capture_output=True, check=True)
        with Running() as running:
            service = start_service(running, work / f"quiet-{count}")
            empty = cost(service.pid)
            with on_client_cpu():
                games = QuietGames(service.address, count, iter(states.stdout.splitlines()))
                running.callback(games.close)
                games.answer_pings(seconds / 5)
                pings = games.pings
                spent = percent(service.pid, games.answer_pings, seconds)
            after = cost(service.pid)
            found[str(count)] = spent | {
                "pings": games.pings - pings,
                "empty_mb": (empty.resident_bytes - empty.shared_bytes) / 1e6,
                "resident_mb": (after.resident_bytes - after.shared_bytes) / 1e6,
            }
    return found


def by_byte(row: dict[str, Any]) -> str:
    """Nanoseconds a byte."""
    return f"{row['hot_us']['median'] * 1e3 / row['bytes_per_event']:10.2f}" if row["hot_us"] else f"{'-':>10}"


def told(report: dict[str, Any]) -> list[str]:
    client = "never sleeps" if report["client"] == "spinning" else "sleeps when it has nothing to do"
    lines = [
        *machine.lines(report["machine"]),
        f"µs of CPU an event (hot thread), median of {report['rounds']} rounds of {report['seconds']} s (95 % interval); the client {client}",
        "",
    ]
    lines.append(f"  {'connections, HTTP':20} {'service':>24} {'bare epoll loop':>24} {'ratio':>20} {'events/s':>10} {'MB':>7}")
    for name, row in report["connections"].items():
        if "reason" in row:
            lines.append(f"  {name:20} {row['reason']}")
            continue
        lines.append(
            f"  {name:20} {stats.text(row['hot_us']):>24} {stats.text(row['floor_us']):>24} {stats.text(row['ratio']):>20}"
            f" {row['events_per_second']['median']:10,.0f} {row['resident_mb']:7.1f}"
        )
    lines += ["", f"  {'bytes an event, HTTP':20} {'service':>27} {'bare epoll loop':>27} {'ratio':>20} {'events/s':>10} {'ns a byte':>10}"]
    lines += [
        f"  {row['bytes_per_event']:<20,} {stats.text(row['hot_us']):>27} {stats.text(row['floor_us']):>27} {stats.text(row['ratio']):>20}"
        f" {row['events_per_second']['median']:10,.0f} {by_byte(row)}"
        for row in report["sizes"].values()
    ]
    lines += reader_lines(report)
    lines += ["", f"  {'workload, HTTP':20} {'service':>24} {'bytes an event':>16} {'ns a byte':>10} {'events/s':>32}"]
    for name, row in report["workloads"].items():
        lines.append(
            f"  {name:20} {stats.text(row['hot_us']):>24} {row['bytes_per_event']:16,.0f} {by_byte(row)}"
            f" {stats.text(row['events_per_second'], 0):>32}"
        )
    lines += ["", f"  {'idle connections':20} {'% of a CPU, hot thread':>24} {'all threads':>12} {'pings':>8}"]
    lines += [
        f"  {name:20} {row['hot_percent']:24.3f} {row['all_percent']:12.3f} {row['pings']:8,}" for name, row in report["idle"].items()
    ]
    lines += ["", f"  {'quiet games':20} {'% of a CPU, hot thread':>24} {'all threads':>12} {'pings':>8} {'MB beside the log':>18} {'empty service':>14}"]
    lines += [
        f"  {name:20} {row['hot_percent']:24.2f} {row['all_percent']:12.2f} {row['pings']:8,} {row['resident_mb']:18.1f} {row['empty_mb']:14.1f}"
        for name, row in report["quiet"].items()
    ]
    return lines


def reader_lines(report: dict[str, Any]) -> list[str]:
    paced = f"WebSocket, {report['reader_rate']:,}/s"
    head = f"  {'readers':20} {paced:>27} {'ratio to none':>21}"
    lines = ["", f"{head} {'batches of 50, flat out':>27} {'ratio to none':>21} {'events/s':>32}"]
    for name, row in report["readers"].items():
        line = f"  {name:20}"
        for way in ("", "flat_"):
            if way + "reason" in row:
                line += f" {row[way + 'reason']:>27} {'':>21}"
            else:
                line += f" {stats.text(row[way + 'hot_us']):>27} {stats.text(row[way + 'ratio']):>21}"
        lines.append(line + (f" {stats.text(row['flat_events_per_second'], 0):>32}" if "flat_events_per_second" in row else ""))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="perf/growth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each row (15)")
    parser.add_argument("--seconds", type=float, default=0.2, help="length of one run (0.2)")
    parser.add_argument("--spin", action="store_true", help="a client that never sleeps; the service then pays for no wake-up of it")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it runs")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    options = parser.parse_args()
    counts, reading, wanted, silent, silence, mute, rest = CONNECTIONS, READERS, SIZES, QUIET_GAMES, QUIET_SECONDS, IDLE_CONNECTIONS, IDLE_SECONDS
    if options.quick:
        options.rounds, options.seconds, counts, reading, wanted = 2, 0.05, (1, 64), (0, 2), (100, 100_000)
        silent, silence, mute, rest = (20,), 0.2, (0, 20), 0.2
    if len(CPUS) < 2:
        sys.exit("error: n/a (needs 2): service and client would share a CPU")
    described = machine.describe()
    work = Path(tempfile.mkdtemp(prefix="jimbot-growth-", dir="/dev/shm"))
    try:
        report = {
            "machine": described,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "client": "spinning" if options.spin else "sleeping",
            "reader_rate": READER_RATE,
            "connections": connections(work, options, counts),
            "sizes": sizes(work, options, wanted),
            "readers": readers(work, options, reading),
            "workloads": workloads(work, options),
            "idle": idle(work, rest, mute),
            "quiet": quiet(work, silence, silent),
        }
    finally:
        shutil.rmtree(work)
    text = "\n".join(told(report))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "growth.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "growth.txt").write_text(text + "\n")
    plot(report, options.out)
    print(text)


if __name__ == "__main__":
    main()
