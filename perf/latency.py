"""How long until a sleeping Python process sees an event, beside the floor under that.

    perf/latency                    one event at a time, and at 1,000, 20,000 and 100,000 events/s
    perf/latency --workload state   whole states instead of small events
    perf/latency --spin             from a client that never sleeps
    perf/latency --quick            shows that it runs, measures nothing
    perf/latency --out DIRECTORY    default perf/out

One at a time: send an event, wait for its answer, pause, and so on; the time of sending stands in the event. The floor
is half a round trip to a server that does nothing (`jimbot-floor`) plus a bare futex wake of a sleeping Python process
(`wake_floor`), each measured in turn with the service, from the same process on the same CPUs. Ratios are taken turn by
turn. At a rate, over WebSocket, the times count from when each event was meant to be sent; modes and rates run in turns.
What needs more CPUs than there are says so and is not run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from measure import machine, stats, turns
from measure.consumer import Consumer
from measure.judge import Shared, judge, probe, starved
from measure.process import CLIENT_CPU, CONSUMER_CPU, CPUS, SERVER_CPU, Running, binary, cost, first_line, load, start_service
from sender import PAUSE_SECONDS, Sender, on_client_cpu

HERE = Path(__file__).resolve().parent
RATES = (1_000, 20_000, 100_000)
PROBE_SECONDS = 0.1
MODES: dict[str, tuple[str, ...]] = {
    "adaptive": ("--mode", "adaptive"),
    "busy poll": ("--mode", "adaptive", "--busy-poll"),
    "busy poll, reader spins": ("--mode", "adaptive", "--busy-poll"),
    "window": ("--mode", "window"),
}
LONE_MODES = ("adaptive", "busy poll", "busy poll, reader spins")


def reader_spins(mode: str) -> bool:
    return mode.endswith("reader spins")


def too_few_cpus(mode: str, spin: bool) -> str | None:
    """Says so where one that never sleeps, the service, its reader or its client, would share a CPU with another."""
    needs = 3 if spin or reader_spins(mode) else 2
    return f"n/a (needs {needs})" if needs > len(CPUS) else None


def python(running: Running, script: str, *arguments: object) -> Consumer:
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    return Consumer(
        running.start(command, CONSUMER_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    )


class Lone:
    """The service in one mode, with its reader and its sender; stopped whenever it is not its turn."""

    def __init__(self, running: Running, work: Path, mode: str, options: argparse.Namespace) -> None:
        self.mode = mode
        self.service = start_service(running, work / mode.replace(" ", "-"), *MODES[mode])
        self.reader = python(running, "reader.py", self.service.shm_dir, *([0.25] if reader_spins(mode) else []))
        self.sender = Sender(self.service.address, options.workload, options.spin)
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
        wanted = count * self.sender.events
        seen = self.reader.ask(f"report {wanted} 5")
        self.signal(signal.SIGSTOP)
        if seen["count"] != wanted:
            sys.exit(f"error: {wanted} events were sent and {seen['count']} became visible")
        return stats.latency(trips), seen


def one_at_a_time(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Floors and modes in turns."""
    count = options.events
    reasons = {mode: reason for mode in LONE_MODES if (reason := too_few_cpus(mode, options.spin))}
    found: dict[str, Any] = {"rounds": options.rounds, "events_a_round": count, "reasons": reasons}
    modes = [mode for mode in LONE_MODES if mode not in reasons]
    if not modes:
        return found | {"rows": {}, "ratios": {}, "ratio_of_all_turns": {}}
    with Running() as running:
        # What answers each read can't be sent what takes several.
        flags = [] if options.workload == "small" else ["--whole-requests"]
        command = [binary("jimbot-floor"), "--cpu", str(SERVER_CPU), *flags]
        floor = running.start(command, None, stdout=subprocess.PIPE, text=True)
        bare = Sender(first_line(floor), options.workload, options.spin)
        futex = work / "futex"
        futex.write_bytes(bytes(4096))
        sleeper = python(running, "wake_sleeper.py", futex)
        lone = []
        for mode in modes:
            lone.append(Lone(running, work, mode, options))
            lone[-1].signal(signal.SIGSTOP)
        rows: dict[str, list[dict[str, Any]]] = {}
        with on_client_cpu():
            for _ in range(options.rounds):
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
    return found | {
        "rows": {name: summed(each) for name, each in rows.items()},
        "ratios": {
            mode: {
                key: turns.interval([
                    seen[key] / (trip[key] / 2 + wake[key])
                    for seen, trip, wake in zip(
                        rows[f"{mode}: visible in Python"], rows["floor: round trip"], rows["floor: futex wake"]
                    )
                ])
                for key in ("p50_us", "p99_us")
            }
            for mode in modes
        },
        "ratio_of_all_turns": {
            mode: {
                f"p{percent}": stats.quantile_of(whole(rows, f"{mode}: visible in Python"), percent / 100)
                / (
                    stats.quantile_of(whole(rows, "floor: round trip"), percent / 100) / 2
                    + stats.quantile_of(whole(rows, "floor: futex wake"), percent / 100)
                )
                for percent in (50, 99)
            }
            for mode in modes
        },
    }


def summed(latencies: list[dict[str, Any]]) -> dict[str, Any]:
    """Latencies of several turns: percentiles as medians with their interval, and one histogram."""
    return {"histogram_ns": stats.merged(each["histogram_ns"] for each in latencies)} | {
        key: turns.interval([each[key] for each in latencies]) for key in stats.QUANTILES
    }


def whole(rows: dict[str, list[dict[str, Any]]], name: str) -> list[tuple[int, int]]:
    return stats.merged(each["histogram_ns"] for each in rows[name])


class Paced:
    """The service in one mode with its reader, for events at a rate over WebSocket."""

    def __init__(self, running: Running, work: Path, mode: str, options: argparse.Namespace) -> None:
        self.mode, self.options = mode, options
        self.service = start_service(running, work / f"rates-{mode}", *MODES[mode])
        self.reader = python(running, "reader.py", self.service.shm_dir)

    def run(self, rate: int, seconds: float) -> dict[str, Any]:
        self.reader.ask("begin")
        service, reader = cost(self.service.pid), cost(self.reader.process.pid)
        told = load(
            self.service.address, wire="ws", connections=8, rate=rate, seconds=seconds,
            workload=self.options.workload, spin=self.options.spin,
        )
        sent = told["events_sent"]
        seen = self.reader.ask(f"report {sent} 10")
        reading = cost(self.reader.process.pid).since(reader).cpu_ns / 1e9
        busy = Shared(told["client_cpu_seconds"] + reading, cpus=1, needs=3)
        places = [busy] if CLIENT_CPU == CONSUMER_CPU else []
        return {
            "sent": sent,
            "seen": seen["count"],
            "unsent": told["unsent"],
            "hot_us_per_event": cost(self.service.pid).since(service).hottest_ns / 1e3 / sent,
            "latency": seen,
            "reason": starved(told["seconds"], *places) or judge(rate, told["events_per_second"], sent, seen["count"]),
        }

    def reason(self, rate: int, seconds: float) -> str | None:
        """Why a run says nothing, if so."""
        told: str | None = self.run(rate, seconds)["reason"]
        return told


def at_rates(work: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Open loop over WebSocket, modes and rates in turns."""
    with Running() as running:
        paced = [Paced(running, work, mode, options) for mode in ("adaptive", "window")]
        rows: list[dict[str, Any]] = [{"mode": each.mode, "rate": rate} for rate in RATES for each in paced]
        reasons: dict[tuple[str, int], str] = {}
        found: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for each in paced:
            for rate in RATES:
                reason = too_few_cpus(each.mode, options.spin) or probe(
                    partial(each.reason, rate, min(PROBE_SECONDS, options.seconds))
                )
                if reason is not None:
                    # What is too much is so at every higher rate.
                    reasons |= {(each.mode, higher): reason for higher in RATES if higher >= rate}
                    break
        for _ in range(options.rate_rounds):
            for rate in RATES:
                for each in paced:
                    if (each.mode, rate) not in reasons:
                        found.setdefault((each.mode, rate), []).append(each.run(rate, options.seconds))
    for row in rows:
        key = (row["mode"], row["rate"])
        if key in reasons:
            row["reason"] = reasons[key]
            continue
        runs = found[key]
        row |= {
            "sent": sum(run["sent"] for run in runs),
            "seen": sum(run["seen"] for run in runs),
            "unsent": sum(run["unsent"] for run in runs),
            # Rounds in which the machine had other work.
            "not_kept": sum(run["reason"] is not None for run in runs),
            "rounds": len(runs),
            "hot_us_per_event": turns.interval([run["hot_us_per_event"] for run in runs]),
            "latency": summed([run["latency"] for run in runs]),
        }
    return rows


def told(report: dict[str, Any]) -> list[str]:
    lone = report["one_at_a_time"]
    lines = [
        *machine.lines(report["machine"]),
        f"workload {report['workload']}; server on CPU {SERVER_CPU}, client on {CLIENT_CPU}, reader on {CONSUMER_CPU}; "
        f"the client {'never sleeps' if report['client'] == 'spinning' else 'sleeps between sends'}",
        "",
        f"One body at a time over HTTP, µs: median of {lone['rounds']} turns of {lone['events_a_round']} (95 % interval)",
        f"  {'':32} {'p50':>26} {'p99':>26} {'worst of all':>14}",
    ]
    for name, row in lone["rows"].items():
        worst = row["histogram_ns"][-1][0] / 1e3
        lines.append(f"  {name:32} {stats.text(row['p50_us'], 1):>26} {stats.text(row['p99_us'], 1):>26} {worst:14.1f}")
    lines += [f"  {mode:32} {reason:>26}" for mode, reason in lone["reasons"].items()]
    lines += ["", "Visible in Python, as a ratio to the floor (half a round trip + a futex wake), turn by turn (all turns as one)"]
    for mode, row in lone["ratios"].items():
        both = lone["ratio_of_all_turns"][mode]
        lines.append(
            f"  {mode:32} {stats.text(row['p50_us']):>26} {stats.text(row['p99_us']):>26}   p50 {both['p50']:.2f}, p99 {both['p99']:.2f}"
        )
    lines += [f"  {mode:32} {reason:>26}" for mode, reason in lone["reasons"].items()]
    lines += [
        "",
        f"At a rate over WebSocket, µs from the intended send time: median of {report['rate_rounds']} turns of {report['seconds']} s (95 % interval)",
        f"  {'':10} {'events/s':>9} {'p50':>26} {'p99':>28} {'p99.9':>28} {'worst':>10}   µs of CPU an event (hot thread)",
    ]
    for row in report["at_rates"]:
        start = f"  {row['mode']:10} {row['rate']:9,d}"
        if "reason" in row:
            lines.append(f"{start} {row['reason']:>26}")
            continue
        seen = row["latency"]
        missing = row["sent"] - row["seen"]
        note = f"   {missing} of {row['sent']} not seen" if missing else ""
        note += f"   {row['not_kept']} of {row['rounds']} turns did not keep the rate" if row["not_kept"] else ""
        lines.append(
            f"{start} {stats.text(seen['p50_us'], 1):>26} {stats.text(seen['p99_us'], 1):>28} {stats.text(seen['p999_us'], 1):>28}"
            f" {seen['histogram_ns'][-1][0] / 1e3:10.1f}   {stats.text(row['hot_us_per_event'])}{note}"
        )
    for name, row in lone["rows"].items():
        if name == "adaptive: visible in Python":
            lines += ["", "Adaptive, one at a time, visible in Python:", *stats.log_lines(row["histogram_ns"])]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="perf/latency", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="small", help="small, state, batch, cascade or mixed (small)")
    parser.add_argument("--rounds", type=int, default=21, help="turns of each row, one at a time (21)")
    parser.add_argument("--events", type=int, default=300, help="bodies a turn (300)")
    parser.add_argument("--rate-rounds", type=int, default=15, help="turns of each row at a rate (15)")
    parser.add_argument("--seconds", type=float, default=0.25, help="length of a turn at a rate (0.25)")
    parser.add_argument("--spin", action="store_true", help="a client that never sleeps; the service then pays for no wake-up of it")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it runs")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.events, options.rate_rounds, options.seconds = 2, 20, 2, 0.1
    described = machine.describe()
    work = Path(tempfile.mkdtemp(prefix="jimbot-latency-", dir="/dev/shm"))
    try:
        report = {
            "machine": described,
            "workload": options.workload,
            "client": "spinning" if options.spin else "sleeping",
            "rate_rounds": options.rate_rounds,
            "seconds": options.seconds,
            "one_at_a_time": one_at_a_time(work, options),
            "at_rates": at_rates(work, options),
        }
    finally:
        shutil.rmtree(work)
    text = "\n".join(told(report))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "latency.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "latency.txt").write_text(text + "\n")
    print(text)
    unseen = [row for row in report["at_rates"] if row.get("seen") != row.get("sent")]
    sys.exit(1 if unseen else 0)


if __name__ == "__main__":
    main()
