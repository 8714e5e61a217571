"""What the Event Bus carries, how fast and at what cost, beside NATS JetStream on the same machine.

    perf/bus                    all of it
    perf/bus --quick            shows that it runs, measures nothing
    perf/bus --part carry       one of carry, pace, nats, memory (repeat it for more)
    perf/bus --out DIRECTORY    default perf/out

carry: a log that is filled beforehand goes through forwarder and bus to one subscriber, all of them pinned to one CPU (with
JetStream its server too). Events a second from the forwarder's start to the subscriber's last event, and CPU an event by
thread. `small` are events of calm times, a batch of the log each; `busy` the same under full load; `mixed` a game's own mixture.
pace: 5,000 events/s, one a message, from publisher to subscriber: latency of acknowledgement and delivery, counted from when
each event was meant to be sent. The bus is on one CPU, its clients are on another.
nats: JetStream's own publish and fetch rate with its own client, without a bus.
memory: resident memory of the bus over a store of 1 GB, with subscribers that read all of it or nothing.

The store lies in --dir: what fsync costs is a matter of that disk. Rows run in turns; medians with 95 % intervals over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import machine, stats
from measure.process import CLIENT_CPU, SERVER_CPU, Cost, Running, binary, cost, first_line, load, start_service, wait_for

HERE = Path(__file__).resolve().parent
PARTS = ("carry", "pace", "nats", "memory")
# How the log of a row is filled: workload, wire, connections and depth.
LOGS: dict[str, dict[str, Any]] = {
    "small": {"workload": "small", "wire": "http", "connections": 1, "depth": 1},
    "busy": {"workload": "small", "wire": "ws", "connections": 8, "depth": 16},
    "mixed": {"workload": "mixed", "wire": "ws", "connections": 8, "depth": 16},
}
# Less than half of it is filled, and the forwarder spills nothing.
LOG_BYTES = "1GiB"
NATS_CONFIG = """
listen: 127.0.0.1:{port}
http: 127.0.0.1:{monitor}
jetstream {{ store_dir: "{dir}", sync_interval: {sync} }}
"""


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(first_line(process))
    return found


def driver(*arguments: object) -> list[str]:
    return [binary("jimbot-bus-load"), *map(str, arguments)]


def free_port() -> int:
    import socket  # pylint: disable=import-outside-toplevel

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nats(running: Running, folder: Path, cpu: int | None, sync: str = "2m") -> tuple[str, int, subprocess.Popen[Any]]:
    """A server of its own; its URL, its monitoring port, its process."""
    folder.mkdir(parents=True, exist_ok=True)
    port, monitor = free_port(), free_port()
    config = folder / "nats.conf"
    config.write_text(NATS_CONFIG.format(port=port, monitor=monitor, dir=folder / "data", sync=sync))
    command = [os.environ["JIMBOT_PERF_NATS"], "-c", str(config)]
    server = running.start(command, cpu, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ready() -> bool:
        import urllib.request  # pylint: disable=import-outside-toplevel

        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/healthz", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_for("the NATS server", ready)
    return f"nats://127.0.0.1:{port}", monitor, server


def fill_log(folder: Path, kind: str, seconds: float) -> int:
    """A log as the service writes it; how many events are in it."""
    folder.mkdir(mode=0o700)
    with Running() as running:
        service = start_service(running, folder, "--log-bytes", LOG_BYTES)
        sent = load(service.address, warm_up=0, seconds=seconds, **LOGS[kind])
    return int(sent["events_sent"])


def carry_once(work: Path, disk: Path, log: Path, events: int, store: str, flags: tuple[str, ...]) -> dict[str, Any]:
    """One log through forwarder and bus to one subscriber, all on one CPU."""
    shm, folder = work / "carried", Path(tempfile.mkdtemp(dir=disk))
    shutil.copytree(log, shm)
    try:
        with Running() as running:
            measured: list[int] = []
            if store == "jetstream":
                store, _, server = nats(running, folder / "nats", SERVER_CPU)
                measured.append(server.pid)
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            carrier = running.start(driver("carry", "--shm-dir", shm, "--dir", folder, "--store", store), SERVER_CPU, **pipes)
            url = told(carrier)["url"]
            subscriber = running.start(driver("subscribe", "--url", url, "--events", events, "--linger", *flags), SERVER_CPU, **pipes)
            told(subscriber)
            measured += [carrier.pid, subscriber.pid]
            before = cost(*measured)
            assert carrier.stdin is not None
            carrier.stdin.write("go\n")
            carrier.stdin.flush()
            start_ns = told(carrier)["start_ns"]
            done = told(subscriber)
            spent = cost(*measured).since(before)
    finally:
        shutil.rmtree(shm)
        shutil.rmtree(folder)
    seconds = (done["last_ns"] - start_ns) / 1e9
    return {
        "events_per_second": events / seconds,
        "cpu_us_per_event": spent.cpu_ns / 1e3 / events,
        "threads_us_per_event": by_thread(spent, events),
        "bytes_per_event": done["bytes"] / done["events"],
    }


def by_thread(spent: Cost, events: int) -> dict[str, float]:
    """CPU an event by the thread's name; what a carrier's main thread does is nothing."""
    found: dict[str, float] = {}
    for name, cpu, _ in spent.threads.values():
        name = {"jimbot-bus-load": "subscriber"}.get(name, name)
        found[name] = found.get(name, 0.0) + cpu / 1e3 / events
    return {name: round(us, 4) for name, us in sorted(found.items()) if us >= 0.001}


def carry(work: Path, disk: Path, rounds: int, seconds: float) -> dict[str, Any]:
    rows: dict[str, list[dict[str, Any]]] = {}
    counts = {}
    logs = {"small": 5 * seconds, "busy": seconds, "mixed": 0.6 * seconds}
    for kind, length in logs.items():
        counts[kind] = fill_log(work / kind, kind, length)
    for _ in range(rounds):
        for kind, events in counts.items():
            variants: dict[str, tuple[str, int, tuple[str, ...]]] = {"embedded": ("embedded", events, ())}
            if kind == "mixed":
                variants["embedded, durable"] = ("embedded", events, ("--durable", "perf"))
                variants["embedded, each event parsed"] = ("embedded", events, ("--parse",))
                variants["memory"] = ("memory", events, ())
            # A tenth is enough: it is that much slower.
            variants["JetStream behind the bus"] = ("jetstream", max(events // 10, 1), ())
            for name, (store, wanted, flags) in variants.items():
                rows.setdefault(f"{kind}, {name}", []).append(carry_once(work, disk, work / kind, wanted, store, flags))
    return {
        "events": counts,
        "rows": {
            name: {
                "events_per_second": stats.interval([turn["events_per_second"] for turn in turns]),
                "cpu_us_per_event": stats.interval([turn["cpu_us_per_event"] for turn in turns]),
                "bytes_per_event": turns[0]["bytes_per_event"],
                "threads_us_per_event": turns[len(turns) // 2]["threads_us_per_event"],
            }
            for name, turns in rows.items()
        },
    }


def start_bus(running: Running, *flags: object) -> tuple[str, int]:
    bus = running.start(
        [binary("jimbot-mcp"), "bus", "--listen", "127.0.0.1:0", *map(str, flags)],
        SERVER_CPU, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    return first_line(bus).removeprefix("event bus on "), bus.pid


def lines_of(command: list[str]) -> dict[str, Any]:
    """The JSON lines of a driver's run as one."""
    done = subprocess.run(["taskset", "--cpu-list", str(CLIENT_CPU), *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    found: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        found |= json.loads(line)
    return found


def pace_rows() -> dict[str, Callable[[Running, Path, float], dict[str, Any]]]:
    """What is measured at a rate, by name: each runs once and reports."""

    def through_bus(level: str, *flags: object, sync: str | None = None, more: tuple[str, ...] = ()) -> Callable[[Running, Path, float], dict[str, Any]]:
        def run(running: Running, folder: Path, seconds: float) -> dict[str, Any]:
            settings = list(flags)
            if sync is not None:
                url, monitor, _ = nats(running, folder / "nats", SERVER_CPU, sync)
                settings += ["--store", url, "--nats-monitor", f"127.0.0.1:{monitor}"]
            elif "--store" not in settings:
                settings += ["--dir", folder / "bus"]
            bus, _ = start_bus(running, *settings)
            return lines_of(driver("pace", "--url", bus, "--seconds", seconds, "--level", level, *more))

        return run

    def own_client(sync: str) -> Callable[[Running, Path, float], dict[str, Any]]:
        def run(running: Running, folder: Path, seconds: float) -> dict[str, Any]:
            url, _, _ = nats(running, folder / "nats", SERVER_CPU, sync)
            return lines_of(driver("nats-pace", "--url", url, "--seconds", seconds))

        return run

    return {
        "embedded, written (the default)": through_bus("default"),
        "embedded, written, durable": through_bus("default", more=("--durable", "perf")),
        "embedded, written, fsync every 10 ms": through_bus("default", "--fsync-interval", "0.01"),
        "embedded, fsynced": through_bus("fsynced"),
        "memory": through_bus("default", "--store", "memory"),
        "bus on JetStream, written": through_bus("default", sync="2m"),
        "bus on JetStream, in its memory": through_bus("default", "--nats-memory", sync="2m"),
        "bus on JetStream, sync always": through_bus("default", sync="always"),
        "JetStream's own client, written": own_client("2m"),
        "JetStream's own client, sync always": own_client("always"),
    }


def pace(disk: Path, rounds: int, seconds: float) -> dict[str, Any]:
    rows: dict[str, list[dict[str, Any]]] = {}
    failed: dict[str, str] = {}
    for _ in range(rounds):
        for name, run in pace_rows().items():
            if name in failed:
                continue
            folder = Path(tempfile.mkdtemp(dir=disk))
            try:
                with Running() as running:
                    rows.setdefault(name, []).append(run(running, folder, seconds))
            except RuntimeError as error:
                # A disk that takes longer to flush than the clients wait is a finding of its own.
                failed[name] = str(error)
            finally:
                shutil.rmtree(folder)
    found: dict[str, Any] = {name: {"reason": reason} for name, reason in failed.items()}
    for name, turns in rows.items():
        if name in failed:
            continue
        found[name] = {
            what: {key: stats.interval([turn[what][key] for turn in turns]) for key in stats.QUANTILES}
            | {"histogram_ns": stats.merged(turn[what]["histogram_ns"] for turn in turns)}
            for what in ("delivered", "acknowledged")
        }
        found[name]["level"] = {"name": turns[0].get("level", "")}
    return {"rate": 5000, "seconds": seconds, "rows": found}


def own_rate(disk: Path, rounds: int, events: int) -> dict[str, Any]:
    """JetStream's own client, publishing with a window of acknowledgements, then fetching."""
    rows: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for name, sync, flags, count in (
            ("on disk", "2m", (), events),
            ("in memory", "2m", ("--memory",), events),
            ("on disk, sync always", "always", (), max(events // 20, 100)),
        ):
            folder = Path(tempfile.mkdtemp(dir=disk))
            try:
                with Running() as running:
                    url, _, server = nats(running, folder, SERVER_CPU, sync)
                    before = cost(server.pid)
                    done = lines_of(driver("nats-flood", "--url", url, "--events", count, *flags))
                    spent = cost(server.pid).since(before)
            finally:
                shutil.rmtree(folder)
            rows.setdefault(name, []).append({
                "published_per_second": count / done["publish_ns"] * 1e9,
                "fetched_per_second": count / done["fetch_ns"] * 1e9,
                "server_us_per_event": spent.cpu_ns / 1e3 / count,
            })
    return {name: {key: stats.interval([turn[key] for turn in turns]) for key in turns[0]} for name, turns in rows.items()}


def resident_mb(pid: int) -> float:
    return cost(pid).resident_bytes / 1e6


def memory(disk: Path, events: int, stalled: int) -> dict[str, Any]:
    """Resident memory of a bus over a large store, at its worst while each kind of subscriber is there."""
    folder = Path(tempfile.mkdtemp(dir=disk))
    rows: dict[str, float] = {}
    try:
        with Running() as running:
            bus, pid = start_bus(running, "--dir", folder / "bus", "--max-bytes", 2 << 30)
            rows["empty"] = resident_mb(pid)
            lines_of(driver("fill", "--url", bus, "--events", events))
            rows["filled"] = resident_mb(pid)
        stored = sum(file.stat().st_size for file in (folder / "bus").iterdir())
        with Running() as running:
            bus, pid = start_bus(running, "--dir", folder / "bus", "--max-bytes", 2 << 30)
            rows["started again"] = resident_mb(pid)
            reading = running.start(driver("subscribe", "--url", bus, "--events", events), CLIENT_CPU, stdout=subprocess.DEVNULL)
            rows["1 subscriber that reads all"] = worst_until(pid, lambda: reading.poll() is not None)
        for count in (1, stalled):
            with Running() as running:
                bus, pid = start_bus(running, "--dir", folder / "bus", "--max-bytes", 2 << 30)
                pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
                told(running.start(driver("stall", "--url", bus, "--subscribers", count), CLIENT_CPU, **pipes))
                steady = steadily(pid)
                reading = running.start(driver("subscribe", "--url", bus, "--events", events), CLIENT_CPU, stdout=subprocess.DEVNULL)
                worst = worst_until(pid, lambda: reading.poll() is not None)  # pylint: disable=cell-var-from-loop
                rows[f"{count} that read nothing, and one that reads all"] = max(steady, worst)
    finally:
        shutil.rmtree(folder)
    return {"events": events, "stored_mb": stored / 1e6, "resident_mb": rows}


def worst_until(pid: int, ended: Callable[[], bool]) -> float:
    worst = 0.0
    while not ended():
        worst = max(worst, resident_mb(pid))
        time.sleep(0.05)
    return worst


def steadily(pid: int) -> float:
    """Once it has stopped growing."""
    worst, since = 0.0, time.monotonic()
    while time.monotonic() - since < 1:
        now = resident_mb(pid)
        if now > worst + 1:
            worst, since = now, time.monotonic()
        time.sleep(0.05)
    return worst


def told_lines(report: dict[str, Any]) -> list[str]:
    lines = [*machine.lines(report["machine"]), f"store in {report['dir']}; server on CPU {SERVER_CPU}, clients on {CLIENT_CPU}"]
    if "carry" in report:
        found = report["carry"]
        filled = ", ".join(f"{kind}: {count}" for kind, count in found["events"].items())
        lines += [
            "",
            f"A filled log through forwarder and bus to one subscriber, all on CPU {SERVER_CPU} (events in the log: {filled})",
            f"  {'':38} {'thousand events/s':>26} {'µs of CPU an event':>22}   of it",
        ]
        for name, row in found["rows"].items():
            kind, _, what = name.partition(", ")
            rate = {key: value / 1e3 if key != "count" else value for key, value in row["events_per_second"].items()}
            threads = ", ".join(f"{thread} {us:.2f}" for thread, us in row["threads_us_per_event"].items() if us >= 0.01)
            lines.append(
                f"  {kind + ', ' + what:38} {stats.text(rate, 1):>26} {stats.text(row['cpu_us_per_event']):>22}   {threads}; {row['bytes_per_event']:.0f} bytes"
            )
    if "pace" in report:
        found = report["pace"]
        lines += ["", f"At {found['rate']} events/s, one a message, ms from the intended send time (median of the rounds, 95 % interval)"]
        lines.append(f"  {'':38} {'delivered p50':>22} {'p99':>24} {'worst':>9} {'acknowledged p50':>22} {'p99':>24}")
        for name, row in found["rows"].items():
            if "reason" in row:
                lines.append(f"  {name:38} ends with: {row['reason']}")
                continue
            lines.append(f"  {name:38}" + "".join([
                f" {ms(row['delivered']['p50_us']):>22} {ms(row['delivered']['p99_us']):>24} {row['delivered']['histogram_ns'][-1][0] / 1e6:9.1f}",
                f" {ms(row['acknowledged']['p50_us']):>22} {ms(row['acknowledged']['p99_us']):>24}",
            ]))
    if "nats" in report:
        lines += ["", "JetStream with its own client, thousand events/s", f"  {'':38} {'published':>26} {'fetched':>26} {'µs of CPU an event, server':>28}"]
        for name, row in report["nats"].items():
            thousands = {
                key: {part: value / 1e3 if part != "count" else value for part, value in row[key].items()}
                for key in ("published_per_second", "fetched_per_second")
            }
            lines.append(
                f"  {name:38} {stats.text(thousands['published_per_second'], 1):>26} {stats.text(thousands['fetched_per_second'], 1):>26}"
                f" {stats.text(row['server_us_per_event']):>28}"
            )
    if "memory" in report:
        found = report["memory"]
        lines += ["", f"Memory of the bus over {found['events']} events, {found['stored_mb']:.0f} MB stored: resident, at its worst"]
        lines += [f"  {name:50} {value:8.1f} MB" for name, value in found["resident_mb"].items()]
    return lines


def ms(found: dict[str, float] | None) -> str:
    return stats.text({key: value / 1e3 if key != "count" else value for key, value in found.items()} if found else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of filling a log, and of a run at a rate (2)")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; repeat it for more")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()), help="where stores lie: on a disk, not in memory")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it runs")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    options = parser.parse_args()
    stored, stalled, flood = 3_000_000, 1000, 200_000
    if options.quick:
        options.rounds, options.seconds, stored, stalled, flood = 1, 0.1, 20_000, 20, 2_000
    parts = options.part or PARTS
    report: dict[str, Any] = {"machine": machine.describe(), "rounds": options.rounds, "dir": str(options.dir)}
    work = Path(tempfile.mkdtemp(prefix="jimbot-bus-", dir="/dev/shm"))
    try:
        if "carry" in parts:
            report["carry"] = carry(work, options.dir, options.rounds, options.seconds)
        if "pace" in parts:
            report["pace"] = pace(options.dir, options.rounds, options.seconds)
        if "nats" in parts:
            report["nats"] = own_rate(options.dir, options.rounds, flood)
        if "memory" in parts:
            report["memory"] = memory(options.dir, stored, stalled)
    finally:
        shutil.rmtree(work)
    text = "\n".join(told_lines(report))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bus.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "bus.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
