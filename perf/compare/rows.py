"""The rows of the comparison: what each starts, who drives it, and what it costs.

A row's servers run on the server's CPU. Load and consumers run on the others; where there are only two CPUs they share
one, and what that would starve is not run: `cores_flat_out` says how many a row can keep busy at saturation. Where there
is no server, the producer has the server's CPU.
"""

from __future__ import annotations

import functools
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import machine
from measure.consumer import Consumer
from measure.process import (
    CLIENT_CPU,
    CONSUMER_CPU,
    SERVER_CPU,
    Cost,
    Running,
    binary,
    cost,
    family,
    first_line,
    load,
    start_service,
    wait_for,
)

HERE = Path(__file__).resolve().parent
HTTP = {"wire": "http", "connections": 64, "warm_up": 0.1}
BATCHES = HTTP | {"workload": "batch"}
WEBSOCKET = {"wire": "ws", "connections": 8}
FLAT_DEPTH = {"http": 1, "ws": 16}


# The rows that others are set against, by how their events travel.
HTTP_ROW, BATCH_ROW, STREAM_ROW = "jimbot HTTP, adaptive", "jimbot HTTP batches of 50", "jimbot WebSocket, adaptive"


# Runs in which nothing was answered, before that is an error.
ATTEMPTS = 5
# The longest that events may take to arrive behind the last of a run.
SETTLE_SECONDS = 5
# The longest that Ray may take to find its feet after it was stopped.
WAKE_SECONDS = 2.0


class Unavailable(Exception):
    """The row can't be measured on this machine, and why."""


@dataclass
class Run:
    """One short run of one row."""

    seconds: float
    sent: int
    seen: dict[str, Any]
    server: Cost
    consumer: Cost
    client_cpu_seconds: float
    # The load generator's own view: from sending to the answer.
    answered: dict[str, Any] | None = None
    refused: int = 0

    def shares(self, row: Row) -> dict[str, float]:
        """Of how much of one CPU each role had use: what has (nearly) all of it is what ends the row."""
        found = {"producer": self.client_cpu_seconds}
        if row.server_pids:
            found["server"] = self.server.cpu_ns / 1e9
        if row.consumer_pids:
            found["consumer"] = self.consumer.cpu_ns / 1e9
        # What a process does before and behind the measured time may bring it above its CPU.
        return {role: min(seconds / self.seconds, 1.0) for role, seconds in found.items()}


class Row:
    """Something that takes events. Subclasses start it and drive it."""

    # Processes that a saturated run keeps busy, the producer among them.
    cores_flat_out = 3
    # Whether the producer has the server's CPU, and not one with the consumer.
    apart = False
    # Whether events are kept for a consumer that is away, so that taking them can be measured alone.
    keeps = False
    # The row of this service that ratios are taken against.
    against = STREAM_ROW
    # Events that travel, arrive and are late together.
    events_per_send = 1
    # Bytes of an event, where it is not the usual one that is sent.
    event_bytes: int | None = None

    def __init__(self, name: str, note: str = "") -> None:
        self.name, self.note = name, note
        self.consumer: Consumer | None = None
        self.server_pids: list[int] = []
        self.consumer_pids: list[int] = []

    def start(self, running: Running, work: Path) -> None:
        raise NotImplementedError

    def send(self, rate: int | None, seconds: float) -> dict[str, Any]:
        """Events at a rate, or as fast as it goes; the producer's report."""
        raise NotImplementedError

    @property
    def memory_pids(self) -> list[int]:
        """What its memory is counted of."""
        return self.server_pids

    @property
    def takes_any_size(self) -> bool:
        """Whether it is among those whose server's cost is measured against the size of an event."""
        return False

    @property
    def cores_alone(self) -> int:
        """CPUs with which no two of its server, its producer and its consumer would share one."""
        return sum((bool(self.server_pids), not isinstance(self, PythonServer) and bool(self.consumer_pids), True))

    def wake(self) -> None:
        """Called before its runs."""

    def rest(self) -> None:
        """Called after them: nothing of it should cost the others anything."""

    def cost(self, pids: list[int]) -> Cost:
        """What a role has cost so far."""
        return cost(*pids)

    def run(self, rate: int | None, seconds: float) -> Run:
        alone = rate is None and self.keeps and self.consumer is not None
        if self.consumer is not None:
            self.consumer.ask("off" if alone else "begin")
        servers, consumers = self.cost(self.server_pids), self.cost(self.consumer_pids)
        told = self.send(rate, seconds)
        returned_ns = time.monotonic_ns()
        sent = told["events_sent"]
        if self.consumer is not None and not alone:
            self.consumer.ask(f"settle {sent} {SETTLE_SECONDS - 1}")
        run = Run(
            seconds=told["seconds"],
            # The load generator leaves its warm-up out of its figures, but the server has it in its own.
            sent=sent,
            seen={},
            server=self.cost(self.server_pids).since(servers),
            consumer=self.cost(self.consumer_pids).since(consumers),
            client_cpu_seconds=told.get("client_cpu_seconds", 0.0),
            answered=told.get("latency"),
            refused=told.get("refused", 0),
        )
        if "events_per_second" in told:
            run.seconds = sent / told["events_per_second"]
        if alone:
            assert self.consumer is not None
            self.consumer.ask("on")
        elif self.consumer is not None:
            # The counters have been read: working out latencies is no part of the run.
            run.seen = self.consumer.ask(f"report {sent} 1")
            if rate is None:
                # Flat out a queue is full when the last event goes into it; emptying it belongs to the run.
                run.seconds += max(0, run.seen.get("last_seen_ns", 0) - returned_ns) / 1e9
        return run

    def start_consumer(self, running: Running, kind: str, address: str, cpu: int = CONSUMER_CPU) -> Consumer:
        script = [str(HERE / "consume.py"), kind, address] if kind != "log" else [str(HERE.parent / "reader.py"), address]
        process = running.start(
            [sys.executable, *script], cpu, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )
        self.consumer_pids = [process.pid]
        self.consumer = Consumer(process)
        return self.consumer


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "RAY_DISABLE_IMPORT_WARNING": "1"}


class Driven(Row):
    """A row that speaks HTTP or WebSocket: the load generator drives it."""

    wire: dict[str, Any] = HTTP
    address = ""

    @property
    def takes_any_size(self) -> bool:
        return "workload" not in self.wire

    @property
    def events_per_send(self) -> int:  # type: ignore[override]
        return 50 if self.wire is BATCHES else 1

    @property
    def against(self) -> str:  # type: ignore[override]
        return STREAM_ROW if self.wire["wire"] == "ws" else BATCH_ROW if self.wire is BATCHES else HTTP_ROW

    def send(self, rate: int | None, seconds: float) -> dict[str, Any]:
        pace: dict[str, Any] = {"depth": FLAT_DEPTH[self.wire["wire"]]} if rate is None else {"rate": rate}
        wire = self.wire
        if self.event_bytes is not None:
            pace["event_bytes"] = self.event_bytes
            wire = {name: value for name, value in wire.items() if name != "workload"}
        for _ in range(ATTEMPTS):
            told = load(self.address, seconds=seconds, **wire, **pace)
            # A short run on a busy machine may be over before the generator has had its CPU again.
            if told["events_per_second"]:
                # It makes its bodies before it starts: with states that is more CPU than sending them in a short run.
                sending = told["client_cpu_seconds"] - start_up_seconds(wire.get("workload", "small"))
                return told | {"client_cpu_seconds": max(sending, 0.0)}
        raise RuntimeError(f"{self.name}: {ATTEMPTS} runs of {seconds} s in which nothing was answered")


@functools.cache
def start_up_seconds(workload: str) -> float:
    """CPU that the load generator takes before it sends anything."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["taskset", "--cpu-list", str(CLIENT_CPU), binary("jimbot-load"), "--workload", workload, "--print", "1"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(5))


class Floor(Driven):
    """A bare epoll loop. Nobody gets the events."""

    cores_flat_out = 2

    def __init__(self, name: str, wire: dict[str, Any], whole_requests: bool = False) -> None:
        super().__init__(name, "does nothing with the events; nobody gets them")
        self.wire, self.whole_requests = wire, whole_requests

    @property
    def takes_any_size(self) -> bool:
        # What answers each read can't be sent what takes several.
        return self.whole_requests or self.wire["wire"] == "ws"

    def start(self, running: Running, work: Path) -> None:
        flags = ["--discard"] if self.wire["wire"] == "ws" else ["--whole-requests"] if self.whole_requests else []
        command = [binary("jimbot-floor"), "--cpu", str(SERVER_CPU), *flags]
        process = running.start(command, None, stdout=subprocess.PIPE, text=True)
        self.address, self.server_pids = first_line(process), [process.pid]


class Ours(Driven):
    """This service, with a reader of its log."""

    cores_flat_out = 2
    keeps = True

    def __init__(self, name: str, wire: dict[str, Any], mode: str, note: str) -> None:
        super().__init__(name, note)
        self.wire, self.mode = wire, mode

    def start(self, running: Running, work: Path) -> None:
        service = start_service(running, work / self.name.replace(" ", "-").replace(",", ""), "--mode", self.mode)
        self.address, self.server_pids = service.address, [service.pid]
        self.start_consumer(running, "log", str(service.shm_dir))


class Axum(Driven):
    def __init__(self, name: str, wire: dict[str, Any], note: str) -> None:
        super().__init__(name, note)
        self.wire = wire

    def start(self, running: Running, work: Path) -> None:
        place = work / f"axum-{self.wire.get('workload', 'small')}.sock"
        command = [binary("jimbot-peer-axum"), "--cpu", str(SERVER_CPU), "--consumer", str(place)]
        process = running.start(command, None, stdout=subprocess.PIPE, text=True)
        self.address, self.server_pids = first_line(process), [process.pid]
        self.start_consumer(running, "axum", str(place))


class PythonServer(Driven):
    """A Python server with its consumer in the same process."""

    cores_flat_out = 2

    def __init__(self, name: str, wire: dict[str, Any], kind: str, note: str) -> None:
        super().__init__(name, note)
        self.wire, self.kind = wire, kind

    def start(self, running: Running, work: Path) -> None:
        process = running.start(
            [sys.executable, str(HERE / "consume.py"), self.kind],
            SERVER_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
        )
        self.consumer = Consumer(process)
        self.address, self.server_pids = self.consumer.greeting["address"], [process.pid]


class Brokered(Row):
    """A broker between a producer, which sends what the load generator would send on its schedule, and a consumer."""

    producer_cpu = CLIENT_CPU

    @property
    def takes_any_size(self) -> bool:
        return bool(self.server_pids)

    def __init__(self, name: str, kind: str, note: str) -> None:
        super().__init__(name, note)
        self.kind = kind
        self.producer: Consumer | None = None

    def start_ends(self, running: Running, producer_address: str, consumer_address: str) -> None:
        def producer() -> None:
            process = running.start(
                [binary("jimbot-peer-produce"), self.kind, producer_address],
                self.producer_cpu, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            self.producer_pid = process.pid
            self.producer = Consumer(process)

        # The consumer makes the stream, or subscribes before anything is sent; ZeroMQ's producer is the one that binds.
        if self.kind == "zeromq":
            producer()
            self.start_consumer(running, self.kind, consumer_address)
        else:
            self.start_consumer(running, self.kind, consumer_address)
            producer()

    def send(self, rate: int | None, seconds: float) -> dict[str, Any]:
        assert self.producer is not None
        before = cost(self.producer_pid)
        told = self.producer.ask(f"send {rate or 'flat'} {seconds} {self.event_bytes or ''}")
        return told | {"client_cpu_seconds": cost(self.producer_pid).since(before).cpu_ns / 1e9}


class Redis(Brokered):
    keeps = True
    cores_flat_out = 2

    def start(self, running: Running, work: Path) -> None:
        port = free_port()
        # redis-tools carries this binary, which is the server when it is called so.
        unpacked = machine.ROOT / ".tools" / "perf" / "redis" / "usr"
        program = unpacked / "bin" / "redis-check-rdb" if unpacked.exists() else shutil.which("redis-server")
        if program is None:
            raise Unavailable("there is no Redis server here; perf/compare/run unpacks one where there is apt-get")
        libraries = os.pathsep.join([*map(str, unpacked.glob("lib/*-linux-gnu*")), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])
        process = running.start(
            ["bash", "-c", f"exec -a redis-server {program} --port {port} --bind 127.0.0.1 --save '' --dir {work}"],
            SERVER_CPU, stdout=subprocess.DEVNULL, env=environment() | {"LD_LIBRARY_PATH": libraries},
        )
        self.server_pids = [process.pid]
        wait_for("Redis", lambda: connects(port))
        self.start_ends(running, f"127.0.0.1:{port}", f"127.0.0.1:{port}")


class Nats(Brokered):
    def __init__(self, name: str, kind: str, note: str) -> None:
        super().__init__(name, kind, note)
        if kind == "jetstream":
            self.keeps, self.cores_flat_out = True, 2

    def start(self, running: Running, work: Path) -> None:
        port = free_port()
        server = Path(sys.executable).with_name("nats-server")
        flags = ["-js", "-sd", str(work / "jetstream")] if self.kind == "jetstream" else []
        process = running.start(
            [str(server), "-a", "127.0.0.1", "-p", str(port), *flags],
            SERVER_CPU, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment() | {"GOMAXPROCS": "1"},
        )
        wait_for("NATS", lambda: connects(port))
        self.server_pids = [process.pid]
        self.start_ends(running, f"127.0.0.1:{port}", f"127.0.0.1:{port}")


class ZeroMq(Brokered):
    cores_flat_out = 2
    apart = True
    producer_cpu = SERVER_CPU

    def start(self, running: Running, work: Path) -> None:
        self.start_ends(running, f"{work}/zeromq", f"ipc://{work}/zeromq")


class InPython(Row):
    """Both ends are made by one Python program, which pins them itself."""

    cores_flat_out = 2
    apart = True

    def __init__(self, name: str, kind: str, note: str) -> None:
        super().__init__(name, note)
        self.kind = kind

    def start(self, running: Running, work: Path) -> None:
        self.process = running.start(
            [sys.executable, str(HERE / "consume.py"), self.kind, f"{SERVER_CPU} {CONSUMER_CPU} {work}"],
            None, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(),
        )
        self.consumer = Consumer(self.process)
        greeting = self.consumer.greeting
        if "unavailable" in greeting:
            raise Unavailable(greeting["unavailable"])
        self.consumer_pids, self.producer_pids = [greeting["consumer"]], [greeting["producer"]]

    def cost(self, pids: list[int]) -> Cost:
        # One end has started the other, or what is between them.
        return cost(*pids, descendants=False)

    def send(self, rate: int | None, seconds: float) -> dict[str, Any]:
        assert self.consumer is not None
        before = self.cost(self.producer_pids)
        told = self.consumer.ask(f"send {rate or 'flat'} {seconds}")
        return {"client_cpu_seconds": self.cost(self.producer_pids).since(before).cpu_ns / 1e9} | told


class Ray(InPython):
    """Stopped while others run: its daemons look after each other all the time."""

    own_pids: list[int]

    @property
    def memory_pids(self) -> list[int]:
        return self.own_pids

    def start(self, running: Running, work: Path) -> None:
        super().start(running, work)
        ends = {*self.consumer_pids, *self.producer_pids}
        # What is neither end: Ray's own processes, which calls to an actor pass by, but not without their memory.
        self.own_pids = [pid for pid in family(self.process.pid) if pid not in ends]
        for pid in self.own_pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {SERVER_CPU})
        running.callback(self.signal, signal.SIGCONT)
        self.rest()

    def wake(self) -> None:
        """Goes on, and lets it do first what has become due meanwhile: that is not what events cost."""
        assert self.consumer is not None
        self.signal(signal.SIGCONT)
        end, quick = time.monotonic() + WAKE_SECONDS, 0
        while quick < 5 and time.monotonic() < end:
            self.send(1_000, 0.02)
            began = time.monotonic()
            self.consumer.ask("begin")
            quick = quick + 1 if time.monotonic() - began < 0.01 else 0

    def rest(self) -> None:
        self.signal(signal.SIGSTOP)

    def signal(self, which: signal.Signals) -> None:
        for pid in family(self.process.pid):
            try:
                os.kill(pid, which)
            except ProcessLookupError:
                continue


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def all_rows() -> list[Row]:
    """In the order in which each round runs them."""
    stored = "stored in the log before it is answered, repeats dropped"
    same_process = "consumer in the same process; stores nothing"
    produced = "our producer, one pipelined connection"
    return [
        Ours(HTTP_ROW, HTTP, "adaptive", stored),
        Floor("floor: bare epoll, HTTP-shaped", HTTP),
        Ours("jimbot HTTP, window", HTTP, "window", stored),
        Axum("axum + tokio", HTTP, "tokio's current_thread runtime, since its CPU is one; the same converter, a channel, a Unix socket; stores nothing"),
        PythonServer("FastAPI + uvicorn", HTTP, "fastapi", f"one worker, since its CPU is one, with uvloop and httptools; {same_process}"),
        Ours(BATCH_ROW, BATCHES, "adaptive", stored),
        Floor("floor: bare epoll, whole requests, batches of 50", BATCHES, whole_requests=True),
        Axum("axum + tokio, batches of 50", BATCHES, "as above"),
        Ours(STREAM_ROW, WEBSOCKET, "adaptive", stored),
        Floor("floor: bare epoll, WebSocket-shaped", WEBSOCKET),
        Ours("jimbot WebSocket, window", WEBSOCKET, "window", stored),
        PythonServer("websockets + asyncio", WEBSOCKET, "websockets", f"one process, with uvloop; {same_process}"),
        Redis("Redis Streams", "redis", f"{produced}: XADD with up to 4,096 under way; XREAD by redis-py with hiredis; in memory, nothing saved"),
        Nats("NATS core", "nats", f"GOMAXPROCS=1, since its CPU is one; {produced}: PUB; nats-py with uvloop; stores nothing"),
        Nats(
            "NATS JetStream", "jetstream",
            f"GOMAXPROCS=1, since its CPU is one; {produced}: up to 4,096 not yet acknowledged; file storage in memory (/dev/shm), ordered consumer of nats-py with uvloop",
        ),
        ZeroMq("ZeroMQ PUSH/PULL", "zeromq", "our producer, which speaks ZMTP over ipc, and pyzmq; no server, the producer has its CPU"),
        InPython("multiprocessing.Queue", "queue", "no server, the producer has its CPU; one process puts events made beforehand, one gets"),
        Ray(
            "Ray actor", "ray",
            "`deliver_batch.remote` with what is due, made beforehand, 64 calls under way at most; calls to an actor pass Ray's own processes by, whose memory is told, so there is no server: the producer has its CPU",
        ),
    ]
