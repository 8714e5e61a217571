"""How cost grows with connections, readers and what an event holds.

    perf/growth             1 to 10,000 connections, 0 to 64 readers, all workloads
    perf/growth --quick     shows that it runs, measures nothing

CPU of the hot thread an event, flat out, in turns with a bare epoll loop (`jimbot-floor`) on the same CPU for connections;
the median over the rounds with the interval that holds it with 95 % confidence. Readers sleep until they are woken, and
share the CPUs that the service leaves them.
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

HERE = Path(__file__).resolve().parent
CONNECTIONS = (1, 8, 64, 512, 4096, 10_000)
READERS = (0, 1, 4, 16, 64)
WORKLOADS = ("small", "cascade", "mixed", "batch", "state")
READER_RATE = 20_000
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


def hot_us(pid: int, address: str, **flags: Any) -> tuple[float, float]:
    """CPU of the hot thread in microseconds an event, and events a second."""
    before = cost(pid)
    told = load(address, warm_up=0, **flags)
    return cost(pid).since(before).hottest_ns / 1e3 / told["events_sent"], told["events_per_second"]


def connections(work: Path, rounds: int, seconds: float, counts: tuple[int, ...]) -> dict[str, Any]:
    limit = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with Running() as running:
        service = start_service(running, work / "connections")
        floor = running.start([binary("jimbot-floor"), "--cpu", str(SERVER_CPU)], None, stdout=subprocess.PIPE, text=True)
        bare = first_line(floor)
        found: dict[str, Any] = {}
        for count in counts:
            if count + 100 > limit:
                found[str(count)] = {"reason": f"n/a (this machine allows {limit} open files)"}
                continue
            turns = [
                (hot_us(service.pid, service.address, connections=count, seconds=seconds), hot_us(floor.pid, bare, connections=count, seconds=seconds))
                for _ in range(rounds)
            ]
            memory = cost(service.pid)
            found[str(count)] = {
                "hot_us": stats.interval([ours[0] for ours, _ in turns]),
                "floor_us": stats.interval([theirs[0] for _, theirs in turns]),
                "ratio": stats.interval([ours[0] / theirs[0] for ours, theirs in turns]),
                "events_per_second": stats.interval([ours[1] for ours, _ in turns]),
                "resident_mb": (memory.resident_bytes - memory.shared_bytes) / 1e6,
            }
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
            found[str(count)] = {"hot_us": stats.interval([turn[0] for turn in turns])}
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
    lines += ["", f"  readers, {READER_RATE:,} events/s over WebSocket"]
    lines += [f"  {name:20} {stats.text(row['hot_us']):>24}" for name, row in report["readers"].items()]
    lines += ["", f"  {'workload, HTTP':20} {'service':>24} {'bytes an event':>16} {'ns a byte':>10} {'events/s':>10}"]
    for name, row in report["workloads"].items():
        lines.append(
            f"  {name:20} {stats.text(row['hot_us']):>24} {row['bytes_per_event']:16,.0f} {row['hot_us']['median'] * 1e3 / row['bytes_per_event']:10.2f}"
            f" {row['events_per_second']['median']:10,.0f}"
        )
    return lines


def plot(report: dict[str, Any], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(15, 4.5))
    points = [(int(name), row) for name, row in report["connections"].items() if "reason" not in row]
    axes[0].plot([count for count, _ in points], [row["hot_us"]["median"] for _, row in points], "-o", label="service")
    axes[0].plot([count for count, _ in points], [row["floor_us"]["median"] for _, row in points], "--o", label="bare epoll loop")
    axes[0].set(xscale="log", xlabel="connections", ylabel="µs of CPU an event, hot thread", title="HTTP, small events", ylim=(0, None))
    axes[0].legend()
    rows = [(int(name), row["hot_us"]["median"]) for name, row in report["readers"].items()]
    axes[1].plot(*zip(*rows), "-o")
    axes[1].set(xscale="symlog", xlabel="readers", title=f"WebSocket, {READER_RATE:,} events/s", ylim=(0, None))
    for name, row in report["workloads"].items():
        axes[2].plot(row["bytes_per_event"], row["hot_us"]["median"], "o")
        axes[2].annotate(name, (row["bytes_per_event"], row["hot_us"]["median"]), textcoords="offset points", xytext=(5, 4))
    axes[2].set(xscale="log", yscale="log", xlabel="bytes an event (JSON)", title="by workload, HTTP")
    for axis in axes:
        axis.grid(True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(out / "growth.png", dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="length of one run (0.4)")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it runs")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    options = parser.parse_args()
    counts, reading = CONNECTIONS, READERS
    if options.quick:
        options.rounds, options.seconds, counts, reading = 2, 0.05, (1, 64), (0, 2)
    described = machine.describe()
    work = Path(tempfile.mkdtemp(prefix="jimbot-growth-", dir="/dev/shm"))
    try:
        report = {
            "machine": described,
            "rounds": options.rounds,
            "connections": connections(work, options.rounds, options.seconds, counts),
            "readers": readers(work, options.rounds, options.seconds, reading),
            "workloads": workloads(work, options.rounds, options.seconds),
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
