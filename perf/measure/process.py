"""Processes that are measured: started on their CPU, asked what they cost, and ended."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from . import machine

# Where the release binaries stand; JIMBOT_PERF_BIN names another folder.
BINARIES = Path(os.environ.get("JIMBOT_PERF_BIN", machine.ROOT / "target" / "release"))
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU = CPUS[0]
# On two CPUs client and consumer share the one that the server leaves them.
CLIENT_CPU = CPUS[min(1, len(CPUS) - 1)]
CONSUMER_CPU = CPUS[min(2, len(CPUS) - 1)]


def binary(name: str) -> str:
    path = BINARIES / name
    if not path.is_file():
        sys.exit(f"error: {path} is missing; cargo build --release --workspace builds it (JIMBOT_PERF_BIN names another folder)")
    return str(path)


@dataclass
class Cost:
    """CPU time in nanoseconds by thread, and memory."""

    threads: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    resident_bytes: int = 0
    shared_bytes: int = 0

    @property
    def cpu_ns(self) -> int:
        return sum(cpu for _, cpu, _ in self.threads.values())

    def since(self, before: Cost) -> Cost:
        threads = {}
        for thread, (name, cpu, wait) in self.threads.items():
            _, old_cpu, old_wait = before.threads.get(thread, ("", 0, 0))
            threads[thread] = (name, cpu - old_cpu, wait - old_wait)
        return Cost(threads, self.resident_bytes, self.shared_bytes)

    @property
    def hottest_ns(self) -> int:
        return max((cpu for _, cpu, _ in self.threads.values()), default=0)

    @property
    def waited_ns(self) -> int:
        """Time for which its threads were ready to run and had no CPU."""
        return sum(wait for _, _, wait in self.threads.values())


def cost(*pids: int, descendants: bool = True) -> Cost:
    """What processes and their descendants have cost so far, or they alone."""
    found = Cost()
    for pid in [each for top in pids for each in (family(top) if descendants else [top])]:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                cpu, wait, _ = (task / "schedstat").read_text().split()
                found.threads[int(task.name)] = ((task / "comm").read_text().strip(), int(cpu), int(wait))
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
            continue
        sizes = dict(line.split(":", 1) for line in status.splitlines() if line.startswith(("VmRSS", "RssFile", "RssShmem")))
        kilobytes = {name: int(text.split()[0]) for name, text in sizes.items()}
        found.resident_bytes += 1024 * kilobytes.get("VmRSS", 0)
        found.shared_bytes += 1024 * (kilobytes.get("RssFile", 0) + kilobytes.get("RssShmem", 0))
    return found


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for each in found:
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                found.extend(int(child) for child in (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
            continue
    return found


class Running(ExitStack):
    """Started processes; leaving it ends them."""

    def start(self, command: Sequence[str], cpu: int | None, **options: Any) -> subprocess.Popen[Any]:
        pinned = ["taskset", "--cpu-list", str(cpu), *command] if cpu is not None else list(command)
        started = subprocess.Popen(pinned, **options)  # pylint: disable=consider-using-with
        self.callback(stop, started)
        return started


def stop(started: subprocess.Popen[Any]) -> None:
    """Closes its standard input, which those that are spoken to take for the end; asks it to end; and makes it.

    Its descendants end with it: one that is left would hold the pipes of whoever waits for this program.
    """
    descendants = family(started.pid)[1:] if started.poll() is None else []
    if started.stdin is not None:
        started.stdin.close()
        try:
            started.wait(2)
        except subprocess.TimeoutExpired:
            pass
    if started.poll() is None:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(5)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
    for pid in descendants:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for stream in (started.stdout, started.stderr):
        if stream is not None:
            stream.close()


def first_line(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    line = started.stdout.readline()
    if not line:
        sys.exit(f"error: {started.args} ended at its start with code {started.wait()}")
    return line.strip()


def wait_for(what: str, ready: Any, seconds: float = 20.0) -> Any:
    """What `ready` gives as soon as it is something; an error after that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = ready()
        if value:
            return value
        time.sleep(0.02)
    sys.exit(f"error: waited {seconds:.0f} s for {what}")


@dataclass
class Service:
    """A running service of ours."""

    pid: int
    address: str
    shm_dir: Path
    process: subprocess.Popen[Any]


def start_service(
    running: Running, shm_dir: Path, *flags: str, cpu: int | None = SERVER_CPU, log: IO[Any] | None = None, wrapper: Sequence[str] = ()
) -> Service:
    """Starts `jimbot-mcp serve` on free ports and a log of its own; `wrapper` is a command that ends by executing it."""
    pinning = ["--cpu", str(cpu)] if cpu is not None else []
    command = [*wrapper, binary("jimbot-mcp"), "serve", "--listen", "127.0.0.1:0", "--shm-dir", str(shm_dir), *pinning, *flags]
    # Not the shell's settings: what is measured is what the command line says.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JIMBOT_MCP_")}
    process = running.start(command, None, stdout=log or subprocess.DEVNULL, stderr=log or subprocess.DEVNULL, env=environment)

    def address() -> str | None:
        if process.poll() is not None:
            sys.exit(f"error: the service ended at its start with code {process.returncode}: {' '.join(command)}")
        try:
            told = json.loads((shm_dir / "endpoints.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return str(told["listen"][0]) if told["pid"] == process.pid else None

    return Service(process.pid, wait_for("the service", address), shm_dir, process)


def load(target: str, cpu: int = CLIENT_CPU, **flags: Any) -> dict[str, Any]:
    """A run of the load generator; its report. A flag that is `False` or `None` is left out."""
    command = ["taskset", "--cpu-list", str(cpu), binary("jimbot-load"), "--target", target, "--json"]
    for name, value in flags.items():
        flag = "--" + name.replace("_", "-")
        if value is False or value is None:
            continue
        command += [flag] if value is True else [flag, str(value)]
    # Not `os.times`: its ticks are a tenth of a short run.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout[:300]}")
    report: dict[str, Any] = json.loads(done.stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report["client_cpu_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return report


def one_body(workload: str = "small") -> bytes:
    """A body of the workload, as the load generator sends it."""
    command = [binary("jimbot-load"), "--workload", workload, "--print", "1"]
    return subprocess.run(command, capture_output=True, check=True).stdout.strip()
