"""Profiles of the running service under a workload. Each has a command of its own:

    perf/flamegraph     where the time goes: a flame graph (SVG) of each thread and of the Python reader
    perf/stat           context switches, page faults, and the hardware's counters where there are any
    perf/syscalls       system calls, each with its count an event
    perf/allocations    allocations an event, and who makes them

The binary is the release build with symbols. All write what they print to perf/out/ too, as text and as JSON, under the name
of the wire:
    perf/flamegraph                                         single events over HTTP
    perf/flamegraph --wire ws --depth 16 --connections 8    over WebSocket
    perf/flamegraph --bus                                   with the Event Bus: the forwarder has a graph then
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import machine
from measure.consumer import Consumer
from measure.process import CONSUMER_CPU, SERVER_CPU, Running, Service, binary, cost, load, start_service, stop, wait_for

HERE = Path(__file__).resolve().parent
TOOLS = machine.ROOT / ".tools"
HARDWARE = ("cycles", "instructions", "branches", "branch-misses", "cache-references", "cache-misses")
SOFTWARE = ("task-clock", "context-switches", "cpu-migrations", "page-faults")


class Session:
    """A service with a reader, under load from another thread of this program."""

    def __init__(self, running: Running, options: argparse.Namespace, work: Path) -> None:
        self.options = options
        flags = ["--bus", "embedded"] if options.bus else []
        self.service: Service = start_service(running, work / "log", *flags)
        process = running.start(
            [sys.executable, str(HERE / "reader.py"), str(self.service.shm_dir)],
            CONSUMER_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.reader = Consumer(process)
        # Caches and predictions are those of a service that has been at it for a while.
        self.send(0.3)

    def send(self, seconds: float) -> dict[str, Any]:
        options = self.options
        pace = {"rate": options.rate} if options.rate else {"depth": options.depth}
        return load(
            self.service.address, wire=options.wire, workload=options.workload, connections=options.connections,
            seconds=seconds, warm_up=0, **pace,
        )

    def under_load(self, tool: Callable[[float], None]) -> dict[str, Any]:
        """Runs the tool while events come; gives the load's report."""
        told: dict[str, Any] = {}
        sender = threading.Thread(target=lambda: told.update(self.send(self.options.seconds + 0.6)))
        sender.start()
        time.sleep(0.3)
        tool(self.options.seconds)
        sender.join()
        return told


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(command)} ended with code {done.returncode}: {done.stderr.strip()[:600]}")
    return done


# What a profile tells: lines for people, figures for programs.
Told = tuple[list[str], dict[str, Any]]


def flamegraph(session: Session, out: Path) -> Told:
    """Samples by the clock, since virtual machines seldom have a counter that could interrupt."""
    data, reader_data = out / "service.perf", out / "reader.perf"
    pids = {data: session.service.pid, reader_data: session.reader.process.pid}

    def record(seconds: float) -> None:
        recorders = [
            subprocess.Popen(
                ["perf", "record", "--quiet", "--event", "cpu-clock", "--freq", "997", "--call-graph", "dwarf,16384",
                 "--pid", str(pid), "--output", str(file), "--", "sleep", str(seconds)],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
            for file, pid in pids.items()
        ]
        for recorder in recorders:
            _, complaint = recorder.communicate()
            if recorder.returncode != 0:
                sys.exit(f"error: perf record: {complaint.strip()}")

    told = session.under_load(record)
    # What one event cost while nothing was looking would be more than this says: sampling costs too.
    lines = [f"{told['events_per_second']:.0f} events/s while sampled"]
    threads: dict[str, Any] = {}
    for file, names in ((data, threads_of(data)), (reader_data, [""])):
        for name in names:
            which = ["--comm", name] if name else []
            stacks = run(["perf", "script", "--no-inline", "--input", str(file), *which]).stdout
            folded = run([str(TOOLS / "inferno/bin/inferno-collapse-perf")], input=stacks).stdout
            if not folded:
                continue
            title = {"jimbot-mcp": "reactor"}.get(name, name) if name else "Python reader"
            slug = f"{session.options.wire}-{title.lower().replace(' ', '-')}"
            # Weighted by the time that each sample stands for, nanoseconds.
            samples = sum(int(line.rpartition(" ")[2]) for line in folded.splitlines())
            command = [str(TOOLS / "inferno/bin/inferno-flamegraph"), "--title", f"{title}: {described(session.options)}"]
            (out / f"flamegraph-{slug}.svg").write_text(run(command, input=folded).stdout)
            top = hottest(folded, samples)
            lines += ["", f"{title}: {samples / 1e6:.0f} ms sampled on the CPU, {out / f'flamegraph-{slug}.svg'}"]
            lines += [f"  {percent:5.1f} %  {name[:110]}" for name, percent in top.items()]
            threads[title] = {"sampled_ms": samples / 1e6, "svg": f"flamegraph-{slug}.svg", "own_percent": top}
        file.unlink()
    return lines, {"events_per_second": told["events_per_second"], "threads": threads}


def threads_of(data: Path) -> list[str]:
    stacks = run(["perf", "script", "--input", str(data), "--fields", "comm"]).stdout
    return sorted({line.strip() for line in stacks.splitlines() if line.strip()})


def hottest(folded: str, samples: int) -> dict[str, float]:
    """The frames in which the time itself was spent, in percent."""
    own: dict[str, int] = {}
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        leaf = stack.rpartition(";")[2]
        own[leaf] = own.get(leaf, 0) + int(count)
    top = sorted(own.items(), key=lambda item: -item[1])[:20]
    return {name: 100 * count / samples for name, count in top}


def stat(session: Session, out: Path) -> Told:
    found: dict[str, str] = {}

    def count(seconds: float) -> None:
        done = subprocess.run(
            ["perf", "stat", "--field-separator", ";", "--event", ",".join(SOFTWARE + HARDWARE), "--pid", str(session.service.pid),
             "--", "sleep", str(seconds)],
            capture_output=True, text=True, check=False,
        )
        if done.returncode != 0:
            sys.exit(f"error: perf stat: {done.stderr.strip()}")
        for line in done.stderr.splitlines():
            fields = line.split(";")
            if len(fields) > 2:
                found[fields[2].partition(":")[0]] = fields[0]

    told = session.under_load(count)
    events = told["events_per_second"] * session.options.seconds
    lines = [f"{told['events_per_second']:.0f} events/s; counts of all the service's threads"]
    absent = []
    counts: dict[str, Any] = {}
    for name in SOFTWARE + HARDWARE:
        try:
            value = float(found.get(name, ""))
        except ValueError:
            absent.append(name)
            continue
        if name == "task-clock":
            counts[name] = {"ms": value, "us_per_event": value * 1e3 / events}
            lines.append(f"  {name:20} {value:14.1f} ms   {value * 1e3 / events:10.3f} µs an event")
        else:
            counts[name] = {"count": value, "per_event": value / events}
            lines.append(f"  {name:20} {value:14.0f}      {value / events:10.4f} an event")
    if absent:
        lines.append(f"This machine has no {', '.join(absent)}: its hypervisor shows no hardware counters to guests, or perf may not read them.")
    return lines, {"events_per_second": told["events_per_second"], "counters": counts, "absent": absent}


def syscalls(session: Session, out: Path) -> Told:
    table = out / "syscalls.strace"

    def trace(seconds: float) -> None:
        done = subprocess.run(
            ["timeout", "--signal", "INT", str(seconds), "strace", "--follow-forks", "--summary-only", "--quiet=all",
             "--output", str(table), "--attach", str(session.service.pid)],
            capture_output=True, text=True, check=False,
        )
        # timeout says 124 when it has ended it, as it always does here.
        if done.returncode != 124 or not table.exists():
            sys.exit(f"error: strace: {done.stderr.strip()}")

    sent_before = counted(session)
    before = time.monotonic()
    session.under_load(trace)
    events = counted(session) - sent_before
    # Events of the time before and after the tracing are sent faster than those under it: only shares of calls are exact.
    rows = []
    for line in table.read_text().splitlines():
        fields = line.split()
        if len(fields) >= 5 and re.fullmatch(r"[0-9.]+", fields[0]) and fields[-1] != "total":
            rows.append((fields[-1], int(fields[3]), float(fields[1])))
    table.unlink()
    reads = sum(count for name, count, _ in rows if name in ("read", "recvfrom", "readv", "recvmsg"))
    lines = [
        f"{events} events in {time.monotonic() - before:.1f} s, slowed down by tracing; calls by name, and for each read from a socket",
        f"  {'call':20} {'count':>10} {'for each read':>14} {'share of time in calls':>24}",
    ]
    spent = sum(seconds for _, _, seconds in rows) or 1.0
    lines += [
        f"  {name:20} {count:10d} {count / max(reads, 1):14.3f} {100 * seconds / spent:22.1f} %"
        for name, count, seconds in sorted(rows, key=lambda row: -row[1])
    ]
    calls = {
        name: {"count": count, "for_each_read": count / max(reads, 1), "share_of_time": seconds / spent} for name, count, seconds in rows
    }
    return lines, {"events": events, "calls": calls}


def counted(session: Session) -> int:
    """Events that the service has stored so far."""
    told = session.reader.ask("report 0 0")
    return int(told["count"])


def allocations(options: argparse.Namespace, out: Path) -> Told:
    """Under heaptrack, twice: with little load and with much. The difference is what events cost."""
    work = Path(tempfile.mkdtemp(prefix="jimbot-heap-", dir="/dev/shm"))
    found = []
    try:
        for name, seconds in (("little", 0.2), ("much", 0.2 + options.seconds)):
            with Running() as running:
                trace, shm_dir = work / name, work / f"{name}-log"
                started = running.start(
                    ["heaptrack", "--output", str(trace), binary("jimbot-mcp"), "serve", "--listen", "127.0.0.1:0",
                     "--shm-dir", str(shm_dir)],
                    SERVER_CPU, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
                told = json.loads(wait_for("the service under heaptrack", lambda: text_of(shm_dir / "endpoints.json")))
                pace = {"rate": options.rate} if options.rate else {"depth": options.depth}
                sent = load(told["listen"][0], wire=options.wire, workload=options.workload, connections=options.connections,
                            seconds=seconds, warm_up=0, **pace)
                os.kill(told["pid"], 15)
                started.wait(60)
            file = next(work.glob(f"{name}*.zst"), None) or next(work.glob(f"{name}*.gz"), None)
            if file is None:
                sys.exit("error: heaptrack wrote no trace")
            text = run(["heaptrack_print", "--file", str(file), "--print-peaks", "0", "--print-leaks", "0"]).stdout
            calls = re.search(r"calls to allocation functions: (\d+)", text)
            if calls is None:
                sys.exit("error: heaptrack_print told no number of allocations")
            found.append((sent["events_sent"], int(calls[1])))
        (out / "allocations-callers.txt").write_text(text)
    finally:
        shutil.rmtree(work)
    (few, few_calls), (many, many_calls) = found
    each = (many_calls - few_calls) / (many - few)
    lines = [
        f"  {few} events: {few_calls} allocations",
        f"  {many} events: {many_calls} allocations",
        f"  {each:.4f} allocations an event; who makes them: {out / 'allocations-callers.txt'}",
    ]
    runs = [{"events": events, "allocations": calls} for events, calls in found]
    return lines, {"runs": runs, "allocations_per_event": each}


def text_of(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def described(options: argparse.Namespace) -> str:
    pace = f"{options.rate:.0f} events/s" if options.rate else f"flat out, depth {options.depth}"
    return f"{options.workload} over {options.wire}, {options.connections} connections, {pace}"


PROFILES: dict[str, Any] = {"flamegraph": flamegraph, "stat": stat, "syscalls": syscalls}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", choices=[*PROFILES, "allocations"], help=argparse.SUPPRESS)
    parser.add_argument("--workload", default="small", help="small, state, batch, cascade or mixed (small)")
    parser.add_argument("--wire", default="http", choices=["http", "ws", "ws-ack"])
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--depth", type=int, default=1, help="bodies in flight on a connection (1)")
    parser.add_argument("--rate", type=float, help="events a second; flat out without it")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--bus", action="store_true", help="with the embedded Event Bus, so that the forwarder works")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    about = machine.describe()
    head = [*machine.lines(about), described(options)]
    if options.profile == "allocations":
        lines, figures = allocations(options, options.out)
    else:
        work = Path(tempfile.mkdtemp(prefix="jimbot-profile-", dir="/dev/shm"))
        try:
            with Running() as running:
                lines, figures = PROFILES[options.profile](Session(running, options, work), options.out)
        finally:
            shutil.rmtree(work)
    text = "\n".join([*head, *lines])
    name = f"{options.profile}-{options.wire}"
    report = {"machine": about, "setting": described(options), "bus": options.bus, "seconds": options.seconds} | figures
    (options.out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / f"{name}.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
