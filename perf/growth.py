"""How cost grows with connections, readers, the size of an event and what it holds.

    perf/growth             1 to 10,000 connections, 0 to 64 readers, events of 100 B to 1 MB, all workloads, quiet games
    perf/growth --quick     shows that it runs, measures nothing

CPU of the hot thread an event and events a second, flat out, in turns with a bare epoll loop (`jimbot-floor`) on the same
CPU for connections and sizes; the median over the rounds with the interval that holds it with 95 % confidence. Connecting
is left out. Readers sleep until they are woken, and share the CPUs that the service leaves them. Quiet games have sent one
whole state each over a WebSocket of its own, and answer pings.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import machine, stats
from measure.process import CONSUMER_CPU, SERVER_CPU, Running, binary, cost, first_line, load, start_service
from quiet_games import QuietGames
from sender import on_client_cpu

HERE = Path(__file__).resolve().parent
CONNECTIONS = (1, 8, 64, 512, 4096, 10_000)
READERS = (0, 1, 2, 4, 8, 16, 32, 64)
# Of JSON; an event without anything in it has 116.
SIZES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
WORKLOADS = ("small", "cascade", "mixed", "batch", "state")
READER_RATE = 20_000
QUIET_GAMES = (1_000, 10_000)
# Longer than the 20 s of silence after which the service pings, so that each game is pinged once at least.
QUIET_SECONDS = 25.0
# Readers that do nothing but read, several in one process: their own cost is not what is asked for.
READING = """
import sys, threading
from jimbot.mcp import Reader
def read():
    with Reader(sys.argv[1], start="latest", timeout=None) as reader:
        for batch in reader:
            len(batch.index)
for _ in range(int(sys.argv[2])):
    threading.Thread(target=read, daemon=True).start()
print("reading", flush=True)
sys.stdin.read()
"""


# Where the load generator takes the service's counters, the warm-up is over and all connections are made.
WARM_UP_SECONDS = 0.1


def hot_us(pid: int, address: str, **flags: Any) -> tuple[float, float]:
    """CPU of the hot thread in microseconds an event, and events a second."""
    told = load(address, pid=pid, **{"warm_up": WARM_UP_SECONDS, **flags})
    return max(told["service"]["threads_us_per_event"].values()), told["events_per_second"]


class Pair:
    """The service and a bare epoll loop on the same CPU, in turns."""

    def __init__(self, running: Running, work: Path, *floor_flags: str) -> None:
        self.service = start_service(running, work)
        command = [binary("jimbot-floor"), "--cpu", str(SERVER_CPU), *floor_flags]
        self.floor = running.start(command, None, stdout=subprocess.PIPE, text=True)
        self.bare = first_line(self.floor)

    def measure(self, rounds: int, **flags: Any) -> dict[str, Any]:
        turns = [
            (hot_us(self.service.pid, self.service.address, **flags), hot_us(self.floor.pid, self.bare, **flags))
            for _ in range(rounds)
        ]
        memory = cost(self.service.pid)
        return {
            "hot_us": stats.interval([ours[0] for ours, _ in turns]),
            "floor_us": stats.interval([theirs[0] for _, theirs in turns]),
            "ratio": stats.interval([ours[0] / theirs[0] for ours, theirs in turns]),
            "events_per_second": stats.interval([ours[1] for ours, _ in turns]),
            "floor_events_per_second": stats.interval([theirs[1] for _, theirs in turns]),
            "resident_mb": (memory.resident_bytes - memory.shared_bytes) / 1e6,
        }


def connections(work: Path, rounds: int, seconds: float, counts: tuple[int, ...]) -> dict[str, Any]:
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
                rounds, connections=count, seconds=seconds * (1 + count / 5000), warm_up=WARM_UP_SECONDS * (1 + count / 1000)
            )
        return found


def sizes(work: Path, rounds: int, seconds: float, wanted: tuple[int, ...]) -> dict[str, Any]:
    with Running() as running:
        pair = Pair(running, work / "sizes", "--whole-requests")
        found = {}
        for size in wanted:
            body = subprocess.run([binary("jimbot-load"), "--event-bytes", str(size), "--print", "1"], capture_output=True, check=True).stdout
            found[str(size)] = {"bytes_per_event": len(body) - 1} | pair.measure(rounds, connections=8, event_bytes=size, seconds=seconds)
        return found


def readers(work: Path, rounds: int, seconds: float, counts: tuple[int, ...]) -> dict[str, Any]:
    """At a fixed rate, so that readers that take their CPU from the load do not change what is measured."""
    found = {}
    for count in counts:
        with Running() as running:
            service = start_service(running, work / f"readers-{count}")
            if count:
                process = running.start(
                    [sys.executable, "-c", READING, str(service.shm_dir), str(count)],
                    CONSUMER_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
                first_line(process)
            turns = [
                hot_us(service.pid, service.address, wire="ws", connections=8, rate=READER_RATE, seconds=seconds) for _ in range(rounds)
            ]
            found[str(count)] = {
                "hot_us": stats.interval([turn[0] for turn in turns]),
                "events_per_second": stats.interval([turn[1] for turn in turns]),
            }
    return found


def workloads(work: Path, rounds: int, seconds: float) -> dict[str, Any]:
    with Running() as running:
        service = start_service(running, work / "workloads")
        turns: dict[str, list[Any]] = {name: [] for name in WORKLOADS}
        sizes = {}
        for _ in range(rounds):
            for name in WORKLOADS:
                turns[name].append(hot_us(service.pid, service.address, connections=8, workload=name, seconds=seconds))
        for name in WORKLOADS:
            bodies = subprocess.run([binary("jimbot-load"), "--workload", name, "--print", "64"], capture_output=True, check=True).stdout
            sizes[name] = len(bodies) / max(1, bodies.count(b'"event_id"'))
        return {
            name: {
                "bytes_per_event": round(sizes[name], 1),
                "hot_us": stats.interval([each[0] for each in turns[name]]),
                "events_per_second": stats.interval([each[1] for each in turns[name]]),
            }
            for name in WORKLOADS
        }


def quiet(work: Path, seconds: float, counts: tuple[int, ...]) -> dict[str, Any]:
    """What games cost that are connected and silent."""
    found: dict[str, Any] = {}
    for count in counts:
        states = subprocess.run([binary("jimbot-load"), "--workload", "state", "--print", str(count)], capture_output=True, check=True)
        with Running() as running, on_client_cpu():
            service = start_service(running, work / f"quiet-{count}")
            empty = cost(service.pid)
            games = QuietGames(service.address, count, iter(states.stdout.splitlines()))
            running.callback(games.close)
            games.answer_pings(seconds / 5)
            before, pings = cost(service.pid), games.pings
            games.answer_pings(seconds)
            after = cost(service.pid)
            spent = after.since(before)
            found[str(count)] = {
                "seconds": seconds,
                "pings": games.pings - pings,
                "hot_percent": spent.hottest_ns / seconds / 1e7,
                "all_percent": spent.cpu_ns / seconds / 1e7,
                "empty_mb": (empty.resident_bytes - empty.shared_bytes) / 1e6,
                "resident_mb": (after.resident_bytes - after.shared_bytes) / 1e6,
            }
    return found


def told(report: dict[str, Any]) -> list[str]:
    lines = [*machine.lines(report["machine"]), f"µs of CPU an event (hot thread), median of {report['rounds']} rounds (95 % interval)", ""]
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
        f" {row['events_per_second']['median']:10,.0f} {row['hot_us']['median'] * 1e3 / row['bytes_per_event']:10.2f}"
        for row in report["sizes"].values()
    ]
    lines += ["", f"  {'readers, WebSocket':20} {'service':>24} {'events/s':>10}, of {READER_RATE:,} that are sent"]
    lines += [f"  {name:20} {stats.text(row['hot_us']):>24} {row['events_per_second']['median']:10,.0f}" for name, row in report["readers"].items()]
    lines += ["", f"  {'workload, HTTP':20} {'service':>24} {'bytes an event':>16} {'ns a byte':>10} {'events/s':>10}"]
    for name, row in report["workloads"].items():
        lines.append(
            f"  {name:20} {stats.text(row['hot_us']):>24} {row['bytes_per_event']:16,.0f} {row['hot_us']['median'] * 1e3 / row['bytes_per_event']:10.2f}"
            f" {row['events_per_second']['median']:10,.0f}"
        )
    lines += ["", f"  {'quiet games':20} {'% of a CPU, hot thread':>24} {'all threads':>12} {'pings':>8} {'MB beside the log':>18} {'empty service':>14}"]
    lines += [
        f"  {name:20} {row['hot_percent']:24.2f} {row['all_percent']:12.2f} {row['pings']:8,} {row['resident_mb']:18.1f} {row['empty_mb']:14.1f}"
        for name, row in report["quiet"].items()
    ]
    return lines


def plot(report: dict[str, Any], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    def rising(axis: Any, points: list[tuple[float, dict[str, Any]]], keys: dict[str, str], **settings: Any) -> None:
        for key, label in keys.items():
            values = [row[key] for _, row in points]
            middle = [value["median"] for value in values]
            spread = [[value["median"] - value["low"] for value in values], [value["high"] - value["median"] for value in values]]
            axis.errorbar([at for at, _ in points], middle, yerr=spread, fmt="-o" if label == "service" else "--o", label=label, capsize=2)
        axis.set(**settings)
        axis.legend()

    figure, axes = pyplot.subplots(2, 4, figsize=(20, 9))
    cost_keys = {"hot_us": "service", "floor_us": "bare epoll loop"}
    rate_keys = {"events_per_second": "service", "floor_events_per_second": "bare epoll loop"}
    us, rate = "µs of CPU an event, hot thread", "events/s"
    points: list[tuple[float, dict[str, Any]]] = [(int(name), row) for name, row in report["connections"].items() if "reason" not in row]
    rising(axes[0][0], points, cost_keys, xscale="log", ylabel=us, title="connections: HTTP, small events", ylim=(0, None))
    rising(axes[1][0], points, rate_keys, xscale="log", ylabel=rate, xlabel="connections", ylim=(0, None))
    points = [(row["bytes_per_event"], row) for row in report["sizes"].values()]
    rising(axes[0][1], points, cost_keys, xscale="log", yscale="log", title="size: HTTP, 8 connections")
    rising(axes[1][1], points, rate_keys, xscale="log", yscale="log", xlabel="bytes an event (JSON)")
    points = [(int(name), row) for name, row in report["readers"].items()]
    rising(axes[0][2], points, {"hot_us": "service"}, xscale="symlog", title=f"readers: WebSocket, {READER_RATE:,} events/s sent", ylim=(0, None))
    rising(axes[1][2], points, {"events_per_second": "service"}, xscale="symlog", xlabel="readers", ylim=(0, None))
    for key, axis in (("hot_us", axes[0][3]), ("events_per_second", axes[1][3])):
        for name, row in report["workloads"].items():
            axis.plot(row["bytes_per_event"], row[key]["median"], "o")
            axis.annotate(name, (row["bytes_per_event"], row[key]["median"]), textcoords="offset points", xytext=(5, 4))
        axis.set(xscale="log", yscale="log")
    axes[0][3].set(title="workload: HTTP, 8 connections")
    axes[1][3].set(xlabel="bytes an event (JSON)")
    for axis in axes.flat:
        axis.grid(True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(out / "growth.png", dpi=90)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each row (7)")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one run (0.3)")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it runs")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    options = parser.parse_args()
    counts, reading, wanted, silent, silence = CONNECTIONS, READERS, SIZES, QUIET_GAMES, QUIET_SECONDS
    if options.quick:
        options.rounds, options.seconds, counts, reading, wanted = 2, 0.05, (1, 64), (0, 2), (100, 100_000)
        silent, silence = (20,), 0.2
    described = machine.describe()
    work = Path(tempfile.mkdtemp(prefix="jimbot-growth-", dir="/dev/shm"))
    try:
        report = {
            "machine": described,
            "rounds": options.rounds,
            "connections": connections(work, options.rounds, options.seconds, counts),
            "sizes": sizes(work, options.rounds, options.seconds, wanted),
            "readers": readers(work, options.rounds, options.seconds, reading),
            "workloads": workloads(work, options.rounds, options.seconds),
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
