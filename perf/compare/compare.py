"""Floors, peers and this service in one table: perf/compare/run --help

Each round runs every row once: flat out, then at each rate, all servers staying up on their own ports. Ratios are taken
round by round against the first row, and told as a median with the interval that holds it with 95 % confidence.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from measure import machine, stats  # noqa: E402
from measure.process import CLIENT_CPU, CONSUMER_CPU, CPUS, SERVER_CPU, Running, binary, cost  # noqa: E402
from report import write  # noqa: E402
from rows import Row, Run, all_rows  # noqa: E402

RATES = (1_000, 20_000, 100_000)
# Above this share of their CPU, client and consumer would measure each other.
BUSY_SHARE = 0.95
KEPT_SHARE = 0.97


def judge(row: Row, rate: int, run: Run) -> str | None:
    """Why a run at a rate says nothing about the row's latency, if so."""
    rate_kept = run.sent / run.seconds
    if rate_kept < rate * KEPT_SHARE:
        return f"ends at {rate_kept:,.0f}/s" if len(CPUS) >= row.cores_flat_out else f"n/a (needs {row.cores_flat_out})"
    if run.seen and run.seen["count"] < run.sent * 0.999:
        return f"ends below: {run.seen['count']} of {run.sent} arrived within 5 s"
    shared = CLIENT_CPU == CONSUMER_CPU and row.consumer_pids
    busy = run.client_cpu_seconds + (run.consumer.cpu_ns / 1e9 if shared else 0)
    if busy / run.seconds > BUSY_SHARE and len(CPUS) < row.cores_flat_out:
        return f"n/a (needs {row.cores_flat_out})"
    return None


def one_round(rows: list[Row], seconds: float, rates: tuple[int, ...]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for row in rows:
        found: dict[str, Any] = {"rates": {}}
        if row.cores_flat_out > len(CPUS):
            found["flat"] = {"reason": f"n/a (needs {row.cores_flat_out})"}
        else:
            run = row.run(None, seconds)
            # Without a server or a keeper what counts is what arrived.
            events = run.seen["count"] if run.seen else run.sent
            found["flat"] = {"events_per_second": events / run.seconds} | spent(row, run, events)
        for rate in rates:
            run = row.run(rate, seconds)
            found["rates"][rate] = spent(row, run, run.sent) | {
                "latency": run.seen,
                "answered": run.answered,
                "reason": judge(row, rate, run),
                "sent": run.sent,
                "refused": run.refused,
            }
        memory = cost(*row.server_pids)
        found["resident_bytes"] = memory.resident_bytes - memory.shared_bytes if row.server_pids else None
        told[row.name] = found
    return told


def spent(row: Row, run: Run, events: int) -> dict[str, float | None]:
    """CPU in microseconds an event."""
    each = 1e3 * max(events, 1)
    return {
        "hot_us": run.server.hottest_ns / each if row.server_pids else None,
        "server_us": run.server.cpu_ns / each if row.server_pids else None,
        "consumer_us": run.consumer.cpu_ns / each if row.consumer_pids else None,
    }


def wake_rounds(running: Running, work: Path) -> Any:
    """The futex floor, as a function that runs it once."""
    from measure.consumer import Consumer

    futex = work / "futex"
    futex.write_bytes(bytes(4096))
    process = running.start(
        [sys.executable, str(HERE.parent / "wake_sleeper.py"), str(futex)],
        CONSUMER_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    sleeper = Consumer(process)

    def turn(count: int) -> dict[str, Any]:
        sleeper.ask("begin")
        waker = [binary("examples/wake_floor"), str(futex), str(count), "1000"]
        subprocess.run(["taskset", "--cpu-list", str(SERVER_CPU), *waker], check=True)
        return sleeper.ask(f"report {count} 1")

    return turn


def bare_parse() -> list[str]:
    """Conversion beside parsing and copying the same bytes, as the benchmark prints it; empty when it is not built."""
    try:
        path = binary("jimbot-bench-convert")
    except SystemExit:
        return []
    done = subprocess.run(["taskset", "--cpu-list", str(SERVER_CPU), path, "--turns", "15"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


def main() -> None:
    parser = argparse.ArgumentParser(prog="perf/compare/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15, help="rounds (15)")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one run (0.3)")
    parser.add_argument("--rates", default=",".join(map(str, RATES)), help="events a second, with commas (1000,20000,100000)")
    parser.add_argument("--only", action="append", metavar="TEXT", help="only rows with this in their name, and the first")
    parser.add_argument("--without", action="append", default=[], metavar="TEXT", help="no rows with this in their name")
    parser.add_argument("--quick", action="store_true", help="tiny: two rounds, shows that all of it runs")
    parser.add_argument("--out", type=Path, default=HERE.parent / "out" / "compare", help="folder of the report")
    options = parser.parse_args()
    rates = tuple(int(rate) for rate in options.rates.split(","))
    if options.quick:
        options.pairs, options.seconds, rates = 2, 0.05, (1_000,)
    described = machine.describe()
    rows = all_rows()
    chosen = [
        row
        for at, row in enumerate(rows)
        if (at == 0 or not options.only or any(text in row.name for text in options.only))
        and not any(text in row.name for text in options.without)
    ]
    work = Path(tempfile.mkdtemp(prefix="jimbot-compare-", dir="/dev/shm"))
    rounds: list[dict[str, Any]] = []
    wakes: list[dict[str, Any]] = []
    missing = {"Ray": "an actor fed by deliver_batch.remote is not written: Ray's runtime did not start within 110 s on the loaded machine"}
    missing |= {row.name: "left out on the command line" for row in rows if row not in chosen}
    began = time.monotonic()
    try:
        with Running() as running:
            for row in chosen:
                say(f"starting {row.name}")
                row.start(running, work)
            turn = wake_rounds(running, work)
            for row in chosen:
                row.run(rates[0], 0.1)
            for at in range(options.pairs):
                say(f"round {at + 1} of {options.pairs}, {time.monotonic() - began:.0f} s")
                wakes.append(turn(20 if options.quick else 100))
                rounds.append(one_round(chosen, options.seconds, rates))
        parsed = bare_parse() if not options.quick else []
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say("")
    refused = sum(run["refused"] for each in rounds for found in each.values() for run in found["rates"].values())
    report = {
        "machine": described,
        "pairs": options.pairs,
        "seconds_a_run": options.seconds,
        "rates": rates,
        "cpus": {"server": SERVER_CPU, "client": CLIENT_CPU, "consumer": CONSUMER_CPU},
        "rows": [{"name": row.name, "note": row.note} for row in chosen],
        "missing": missing,
        "refused": refused,
        "rounds": rounds,
        "wakes": wakes,
        "parse": parsed,
    }
    print(write(report, options.out))
    if refused:
        sys.exit(f"error: {refused} events were refused")


def say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="" if text else "\n", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
