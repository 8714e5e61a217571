"""Floors, peers and this service in one table: perf/compare/run --help

Each round runs every row once: flat out, then at each rate, all servers staying up on their own ports. Ratios are taken
round by round against this service's row of the same wire, and told as a median with the interval that holds it with 95 %
confidence. What a row can't do with the CPUs that are here is found out before the rounds, and is then not run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from measure import judge, machine  # noqa: E402
from measure.process import CLIENT_CPU, CONSUMER_CPU, CPUS, SERVER_CPU, Running, binary  # noqa: E402
from report import write  # noqa: E402
from rows import HTTP_ROW, STREAM_ROW, Ours, Row, Run, Unavailable, all_rows  # noqa: E402

RATES = (1_000, 20_000, 100_000)
# At a slow rate a run lasts until so many sends fell due, so that each has a p99 of its own; at most so many seconds.
SENDS = 1_050
LONGEST_SECONDS = 1.5


def run_seconds(row: Row, rate: int, seconds: float) -> float:
    """How long a run lasts at a rate."""
    return max(seconds, min(SENDS * row.events_per_send / rate, LONGEST_SECONDS))


def judged(row: Row, rate: int, run: Run) -> str | None:
    """Why a run at a rate says nothing about the row's latency, if so."""
    places = []
    if CLIENT_CPU == CONSUMER_CPU and row.consumer_pids and not row.apart:
        places.append(judge.Shared(run.client_cpu_seconds + run.consumer.cpu_ns / 1e9, 1, row.cores_alone))
    seen = run.seen["count"] if run.seen else None
    return judge.starved(run.seconds, *places) or judge.judge(rate, run.sent / run.seconds, run.sent, seen)


def probe(rows: list[Row], seconds: float, rates: tuple[int, ...]) -> dict[str, dict[int | None, str]]:
    """What is not run in the rounds, by row and rate (None is flat out), and why. Warms everything up, too.

    A rate counts as out of reach when none of three short runs keeps it, and so do those above it.
    """
    refused: dict[str, dict[int | None, str]] = {}
    for row in rows:
        say(f"probing {row.name}")
        verdict = refused.setdefault(row.name, {})
        if row.cores_flat_out > len(CPUS):
            verdict[None] = f"n/a (needs {row.cores_flat_out})"
        row.wake()
        for rate in sorted(rates):
            reason = judge.probe(lambda row=row, rate=rate: judged(row, rate, row.run(rate, seconds)))
            if reason is not None:
                verdict |= {higher: reason for higher in rates if higher >= rate}
                break
        row.rest()
    return refused


def one_round(
    rows: list[Row], seconds: float, rates: tuple[int, ...], refused: dict[str, dict[int | None, str]], quick: bool
) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for row in rows:
        found: dict[str, Any] = {"rates": {}}
        verdict = refused[row.name]
        row.wake()
        if None in verdict:
            found["flat"] = {"reason": verdict[None]}
        else:
            run = row.run(None, seconds)
            # Without a server or a keeper what counts is what arrived.
            events = run.seen["count"] if run.seen else run.sent
            found["flat"] = {"events_per_second": events / run.seconds} | spent(row, run, events)
        for rate in rates:
            if rate in verdict:
                found["rates"][rate] = {"reason": verdict[rate]}
                continue
            run = row.run(rate, seconds if quick else run_seconds(row, rate, seconds))
            found["rates"][rate] = spent(row, run, run.sent) | {
                "latency": run.seen,
                "answered": run.answered,
                "reason": judged(row, rate, run),
                "sent": run.sent,
                "refused": run.refused,
            }
        memory = row.cost(row.memory_pids)
        found["resident_bytes"] = memory.resident_bytes - memory.shared_bytes if row.memory_pids else None
        row.rest()
        told[row.name] = found
    return told


def spent(row: Row, run: Run, events: int) -> dict[str, Any]:
    """CPU in microseconds an event, and each role's share of one CPU."""
    each = 1e3 * max(events, 1)
    return {
        "hot_us": run.server.hottest_ns / each if row.server_pids else None,
        "server_us": run.server.cpu_ns / each if row.server_pids else None,
        "consumer_us": run.consumer.cpu_ns / each if row.consumer_pids else None,
        "producer_us": run.client_cpu_seconds * 1e9 / each,
        "shares": run.shares(row),
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


SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
SIZES_EVERY = 3


def by_size(rows: list[Row], seconds: float, sizes: tuple[int, ...]) -> dict[str, dict[int, float]]:
    """CPU of the servers in microseconds an event, by its size, at a rate that keeps nobody busy: 1,000 events/s, or 30 MB/s."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if not row.takes_any_size or isinstance(row, Ours) and row.mode == "window":
            continue
        found[row.name] = {}
        row.wake()
        for size in sizes:
            row.event_bytes = size
            run = row.run(min(1_000, 30_000_000 // size), seconds)
            row.event_bytes = None
            if run.refused:
                sys.exit(f"error: {row.name} refused {run.refused} events of {size} bytes")
            found[row.name][size] = run.server.cpu_ns / 1e3 / run.sent
        row.rest()
    return found


BARE = ("floor: bare JSON parse", "floor: memcpy", "this service's conversion alone")
WAKE = "floor: futex wake to Python"


def bare_parse(turns: int) -> dict[str, dict[str, float]]:
    """Parsing, copying and converting the same small event and nothing else, as `jimbot-bench-convert` tells it."""
    command = ["taskset", "--cpu-list", str(SERVER_CPU), binary("jimbot-bench-convert"), "--turns", str(turns)]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in table.splitlines():
        fields = line.split()
        if fields[:1] == ["small"]:
            # The table's columns: input, bytes, convert, without remembered lists, tree, copy.
            convert, tree, copy = (float(fields[column]) / 1e3 for column in (2, 4, 5))
            return {name: {"events_per_second": 1e6 / us, "hot_us": us, "server_us": us} for name, us in zip(BARE, (tree, copy, convert))}
    sys.exit(f"error: jimbot-bench-convert told nothing of the small event:\n{table}")


def bare_rows(turn: Callable[[int], dict[str, Any]], quick: bool, rates: tuple[int, ...]) -> dict[str, Any]:
    """A round of the floors that are no servers, in the form of the other rows."""
    # The waker pauses for a millisecond: that is 1,000 a second, and takes as long as a run at it.
    wake = turn(20 if quick else SENDS)
    told = {
        WAKE: {
            "flat": {"reason": "–"},
            "rates": {rate: {"reason": None if rate == 1_000 else "–", "latency": wake} for rate in rates},
        }
    }
    for name, flat in bare_parse(1 if quick else 15).items():
        told[name] = {"flat": flat, "rates": {rate: {"reason": "–"} for rate in rates}}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(prog="perf/compare/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15, help="rounds (15)")
    parser.add_argument("--seconds", type=float, default=0.25, help="length of one run (0.25); longer at slow rates")
    parser.add_argument("--rates", default=",".join(map(str, RATES)), help="events a second, with commas (1000,20000,100000)")
    parser.add_argument("--only", action="append", metavar="TEXT", help="only rows with this in their name, and those that ratios refer to")
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
        for row in rows
        if (not options.only or row.name == row.against or any(text in row.name for text in options.only))
        and not any(text in row.name for text in options.without)
    ]
    work = Path(tempfile.mkdtemp(prefix="jimbot-compare-", dir="/dev/shm"))
    rounds: list[dict[str, Any]] = []
    sizes: list[dict[str, dict[int, float]]] = []
    missing = {row.name: "left out on the command line" for row in rows if row not in chosen}
    began = time.monotonic()
    try:
        with Running() as running:
            for row in list(chosen):
                say(f"starting {row.name}")
                try:
                    row.start(running, work)
                except Unavailable as reason:
                    missing[row.name] = f"n/a: {reason}"
                    chosen.remove(row)
            turn = wake_rounds(running, work)
            refused = probe(chosen, min(options.seconds, 0.1), rates)
            for at in range(options.pairs):
                say(f"round {at + 1} of {options.pairs}, {time.monotonic() - began:.0f} s")
                rounds.append(one_round(chosen, options.seconds, rates, refused, options.quick) | bare_rows(turn, options.quick, rates))
                if at % SIZES_EVERY == 0:
                    sizes.append(by_size(chosen, options.seconds, SIZES[1:3] if options.quick else SIZES))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say("")
    not_taken = sum(run.get("refused", 0) for each in rounds for found in each.values() for run in found["rates"].values())
    bare = [
        (WAKE, "no log, no batch: the kernel and the interpreter coming back from a system call", HTTP_ROW),
        (BARE[0], "sonic-rs building its tree of the event; one thread, nothing received", STREAM_ROW),
        (BARE[1], "a copy of the event's text", STREAM_ROW),
        (BARE[2], "JSON to Protocol Buffers, nothing received and nothing stored", STREAM_ROW),
    ]
    report = {
        "machine": described,
        "pairs": options.pairs,
        "seconds_a_run": options.seconds,
        "seconds_in_all": round(time.monotonic() - began),
        "rates": rates,
        "cpus": {"server": SERVER_CPU, "client": CLIENT_CPU, "consumer": CONSUMER_CPU},
        "rows": [
            {"name": row.name, "note": row.note, "against": row.against, "events_per_send": row.events_per_send, "apart": row.apart} for row in chosen
        ]
        + [{"name": name, "note": note, "against": against, "events_per_send": 1, "apart": True} for name, note, against in bare],
        "missing": missing,
        "refused": not_taken,
        "rounds": rounds,
        "sizes": sizes,
    }
    print(write(report, options.out))
    if not_taken:
        sys.exit(f"error: {not_taken} events were refused")


def say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="" if text else "\n", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
