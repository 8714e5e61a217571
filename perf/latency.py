"""How long until a sleeping Python process sees an event, beside the floor under that.

    perf/latency                    one event at a time, and at 1,000, 20,000 and 100,000 events/s
    perf/latency --quick            shows that it runs, measures nothing
    perf/latency --out DIRECTORY    default perf/out

One at a time: send an event, wait for its answer, pause, and so on; the time of sending stands in the event. The floor
is half a round trip to a server that does nothing (`jimbot-floor`) plus a bare futex wake of a sleeping Python process
(`wake_floor`), each measured in turn with the service, from the same process on the same CPUs. Ratios are taken turn by
turn. At a rate the times count from when each event was meant to be sent.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import machine, stats
from measure.consumer import Consumer
from measure.process import CLIENT_CPU, CONSUMER_CPU, SERVER_CPU, Running, binary, cost, first_line, load, start_service
from sender import PAUSE_SECONDS, Sender, on_client_cpu

HERE = Path(__file__).resolve().parent
RATES = (1_000, 20_000, 100_000)
MODES: dict[str, tuple[str, ...]] = {
    "adaptive": ("--mode", "adaptive"),
    "busy poll": ("--mode", "adaptive", "--busy-poll"),
    "busy poll, reader spins": ("--mode", "adaptive", "--busy-poll"),
    "window": ("--mode", "window"),
}


def python(running: Running, script: str, *arguments: object) -> Consumer:
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    return Consumer(
        running.start(command, CONSUMER_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    )


class Lone:
    """The service in one mode, with its reader and its sender; stopped whenever it is not its turn."""

    def __init__(self, running: Running, work: Path, mode: str) -> None:
        self.mode = mode
        self.service = start_service(running, work / mode.replace(" ", "-"), *MODES[mode])
        self.reader = python(running, "reader.py", self.service.shm_dir, *([0.25] if mode.endswith("reader spins") else []))
        self.sender = Sender(self.service.address)
        running.callback(self.signal, signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """One that spins would take the CPU from the others."""
        for process in (self.service.process, self.reader.process):
            process.send_signal(number)

    def series(self, count: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Latencies until the answer, and until visible."""
        self.signal(signal.SIGCONT)
        self.sender.series(10)
        self.reader.ask("begin")
        trips = self.sender.series(count)
        seen = self.reader.ask(f"report {count} 5")
        self.signal(signal.SIGSTOP)
        if seen["count"] != count:
            sys.exit(f"error: {count} events were sent and {seen['count']} became visible")
        return stats.latency(trips), seen


def one_at_a_time(work: Path, rounds: int, count: int) -> dict[str, Any]:
    """Floors and modes in turns."""
    with Running() as running:
        floor = running.start([binary("jimbot-floor"), "--cpu", str(SERVER_CPU)], None, stdout=subprocess.PIPE, text=True)
        bare = Sender(first_line(floor))
        futex = work / "futex"
        futex.write_bytes(bytes(4096))
        sleeper = python(running, "wake_sleeper.py", futex)
        lone = []
        for mode in ("adaptive", "busy poll", "busy poll, reader spins"):
            lone.append(Lone(running, work, mode))
            lone[-1].signal(signal.SIGSTOP)
        rows: dict[str, list[dict[str, Any]]] = {}
        with on_client_cpu():
            for _ in range(rounds):
                bare.series(10)
                rows.setdefault("floor: round trip", []).append(stats.latency(bare.series(count)))
                sleeper.ask("begin")
                waker = [binary("examples/wake_floor"), str(futex), str(count), str(int(PAUSE_SECONDS * 1e6))]
                subprocess.run(["taskset", "--cpu-list", str(SERVER_CPU), *waker], check=True)
                rows.setdefault("floor: futex wake", []).append(sleeper.ask(f"report {count} 1"))
                for each in lone:
                    trips, seen = each.series(count)
                    rows.setdefault(f"{each.mode}: answered", []).append(trips)
                    rows.setdefault(f"{each.mode}: visible in Python", []).append(seen)
    return {
        "rows": {
            name: {"histogram_ns": stats.merged(each["histogram_ns"] for each in turns)}
            | {key: stats.interval([each[key] for each in turns]) for key in stats.QUANTILES}
            for name, turns in rows.items()
        },
        "ratios": {
            each.mode: {
                key: stats.interval([
                    seen[key] / (trip[key] / 2 + wake[key])
                    for seen, trip, wake in zip(
                        rows[f"{each.mode}: visible in Python"], rows["floor: round trip"], rows["floor: futex wake"]
                    )
                ])
                for key in ("p50_us", "p99_us")
            }
            for each in lone
        },
        "ratio_of_all_turns": {
            each.mode: {
                f"p{percent}": stats.quantile_of(whole(rows, f"{each.mode}: visible in Python"), percent / 100)
                / (
                    stats.quantile_of(whole(rows, "floor: round trip"), percent / 100) / 2
                    + stats.quantile_of(whole(rows, "floor: futex wake"), percent / 100)
                )
                for percent in (50, 99)
            }
            for each in lone
        },
        "rounds": rounds,
        "events_a_round": count,
    }


def whole(rows: dict[str, list[dict[str, Any]]], name: str) -> list[tuple[int, int]]:
    return stats.merged(each["histogram_ns"] for each in rows[name])


def at_rates(work: Path, seconds: float) -> list[dict[str, Any]]:
    """Open loop over WebSocket, from a client that sleeps between sends."""
    rows = []
    for mode in ("adaptive", "window"):
        with Running() as running:
            service = start_service(running, work / f"rates-{mode}", *MODES[mode])
            reader = python(running, "reader.py", service.shm_dir)
            load(service.address, wire="ws", connections=8, rate=1000, seconds=0.2)
            for rate in RATES:
                reader.ask("begin")
                before = cost(service.pid)
                sent = load(service.address, wire="ws", connections=8, rate=rate, seconds=seconds)
                seen = reader.ask(f"report {sent['events_sent']} 10")
                spent = cost(service.pid).since(before)
                rows.append({
                    "mode": mode,
                    "rate": rate,
                    "sent": sent["events_sent"],
                    "seen": seen["count"],
                    "kept": sent["backlog_max"] <= 8 * max(1, rate // 1000),
                    "hot_us_per_event": spent.hottest_ns / 1e3 / sent["events_sent"],
                    "latency": seen,
                })
    return rows


def told(report: dict[str, Any]) -> list[str]:
    lone = report["one_at_a_time"]
    lines = [
        *machine.lines(report["machine"]),
        f"server on CPU {SERVER_CPU}, client on {CLIENT_CPU}, reader on {CONSUMER_CPU}; the client sleeps between sends",
        "",
        f"One event at a time over HTTP, µs: median of {lone['rounds']} turns of {lone['events_a_round']} events (95 % interval)",
        f"  {'':32} {'p50':>26} {'p99':>26} {'worst of all':>14}",
    ]
    for name, row in lone["rows"].items():
        worst = row["histogram_ns"][-1][0] / 1e3
        lines.append(f"  {name:32} {stats.text(row['p50_us'], 1):>26} {stats.text(row['p99_us'], 1):>26} {worst:14.1f}")
    lines += ["", "Visible in Python, as a ratio to the floor (half a round trip + a futex wake), turn by turn (all turns as one)"]
    for mode, row in lone["ratios"].items():
        both = lone["ratio_of_all_turns"][mode]
        lines.append(
            f"  {mode:32} {stats.text(row['p50_us']):>26} {stats.text(row['p99_us']):>26}   p50 {both['p50']:.2f}, p99 {both['p99']:.2f}"
        )
    lines += ["", "At a rate over WebSocket, µs from the intended send time", f"  {'':10} {'events/s':>9} {'p50':>10} {'p99':>10} {'p99.9':>10} {'max':>10}   µs of CPU an event (hot thread)"]
    for row in report["at_rates"]:
        seen = row["latency"]
        note = "" if row["seen"] == row["sent"] else f"   {row['sent'] - row['seen']} of {row['sent']} not seen"
        note += "" if row["kept"] else "   the client did not keep the rate"
        lines.append(
            f"  {row['mode']:10} {row['rate']:9d} {seen['p50_us']:10.1f} {seen['p99_us']:10.1f} {seen['p999_us']:10.1f} {seen['max_us']:10.1f}"
            f"   {row['hot_us_per_event']:.2f}{note}"
        )
    lines += ["", "Adaptive, one at a time, visible in Python:"]
    lines += stats.log_lines(lone["rows"]["adaptive: visible in Python"]["histogram_ns"])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21, help="turns of each row (21)")
    parser.add_argument("--events", type=int, default=300, help="events a turn (300)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a run at a rate (2)")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it runs")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.events, options.seconds = 2, 20, 0.1
    described = machine.describe()
    work = Path(tempfile.mkdtemp(prefix="jimbot-latency-", dir="/dev/shm"))
    try:
        report = {
            "machine": described,
            "one_at_a_time": one_at_a_time(work, options.rounds, options.events),
            "at_rates": at_rates(work, options.seconds),
        }
    finally:
        shutil.rmtree(work)
    text = "\n".join(told(report))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "latency.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "latency.txt").write_text(text + "\n")
    print(text)
    unseen = [row for row in report["at_rates"] if row["seen"] != row["sent"]]
    sys.exit(1 if unseen else 0)


if __name__ == "__main__":
    main()
