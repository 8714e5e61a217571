"""The Python processes at the end of the peers' paths: consume.py KIND ADDRESS

Each has an event's bytes in hand in the cheapest way that the peer's own Python library offers; nobody parses a body
here but the servers that must. `measure.consumer` says how they are spoken to.
"""

from __future__ import annotations

import asyncio
import collections
import json
import multiprocessing
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import uvloop  # noqa: E402
from measure.consumer import Samples  # noqa: E402
from produce import Bodies, drive  # noqa: E402

WAIT_SECONDS = 0.2


def axum(address: str) -> None:
    """The socket of jimbot-peer-axum: u32 length, f64 time in ms, event."""
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(address)
    stream.settimeout(WAIT_SECONDS)
    samples, head = Samples(), struct.Struct("<Id")
    rest = b""

    def take() -> None:
        nonlocal rest
        try:
            data = rest + stream.recv(1 << 18)
        except TimeoutError:
            return
        at, times = 0, []
        while len(data) - at >= head.size:
            length, sent_ms = head.unpack_from(data, at)
            if len(data) - at - head.size < length:
                break
            times.append(sent_ms)
            at += head.size + length
        rest = data[at:]
        if times:
            samples.add_ms(times)

    samples.run(take)


def redis(address: str) -> None:
    import redis as client

    host, _, port = address.rpartition(":")
    connection, samples = client.Redis(host, int(port)), Samples()
    last: bytes | str = "0-0"

    def begin() -> None:
        nonlocal last
        # The last entry by its name: "$" would be the last one when the first read begins.
        newest = connection.xrevrange("events", count=1)
        last = newest[0][0] if newest else "0-0"

    def take() -> None:
        nonlocal last
        for _, entries in connection.xread({"events": last}, count=1024, block=int(WAIT_SECONDS * 1e3)) or []:
            samples.add_bodies([entry[b"e"] for _, entry in entries])
            last = entries[-1][0]

    samples.run(take, begin=begin)


def zeromq(address: str) -> None:
    import zmq

    stream, samples = zmq.Context().socket(zmq.PULL), Samples()
    stream.setsockopt(zmq.RCVTIMEO, int(WAIT_SECONDS * 1e3))
    stream.connect(address)

    def take() -> None:
        bodies: list[bytes] = []
        try:
            bodies.append(stream.recv())
            while len(bodies) < 1024:
                bodies.append(stream.recv(zmq.NOBLOCK))
        except zmq.Again:
            if not bodies:
                return
        samples.add_bodies(bodies)

    samples.run(take)


async def until_closed(samples: Samples, ready: dict[str, Any]) -> None:
    """Obeys in a thread of its own until standard input ends."""
    print(json.dumps({"ready": True} | ready), flush=True)
    await asyncio.to_thread(samples.obey)


async def nats(address: str, stored: bool) -> None:
    import nats as client

    samples = Samples()
    connection = await client.connect(f"nats://{address}")

    async def take(message: Any) -> None:
        samples.add_bodies([message.data])

    if stored:
        stream = connection.jetstream()
        await stream.add_stream(name="stored", subjects=["stored"], max_msgs=400_000, storage="file")
        subscriptions: list[Any] = []

        async def switch(active: bool) -> None:
            if active:
                subscriptions.append(
                    await stream.subscribe(
                        "stored", cb=take, ordered_consumer=True, deliver_policy=client.js.api.DeliverPolicy.NEW,
                        pending_msgs_limit=-1, pending_bytes_limit=-1,
                    )
                )
                return
            left = subscriptions.pop()
            name = (await left.consumer_info()).name
            await left.unsubscribe()
            await stream.delete_consumer("stored", name)

        await switch(True)
        loop = asyncio.get_running_loop()
        samples.switched = lambda active: asyncio.run_coroutine_threadsafe(switch(active), loop).result()
    else:
        await connection.subscribe("events", cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1)
    await connection.flush()
    await until_closed(samples, {})
    await connection.close()


async def in_one_process(serve: Callable[[asyncio.Queue[float]], Awaitable[str]]) -> None:
    """A server and its consumer with a queue between them, which hands over what is there as one batch."""
    samples, queue = Samples(), asyncio.Queue[float](65536)
    address = await serve(queue)

    async def consume() -> None:
        while True:
            times = [await queue.get()]
            while not queue.empty():
                times.append(queue.get_nowait())
            samples.add_ms(times)

    consumer = asyncio.create_task(consume())
    await until_closed(samples, {"address": address})
    consumer.cancel()


def loopback() -> tuple[socket.socket, str]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, "{}:{}".format(*listener.getsockname())


async def fastapi(queue: asyncio.Queue[float]) -> str:
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()

    @app.post("/api/v1/events")
    async def accept(event: dict[str, Any]) -> dict[str, int]:
        await queue.put(event["timestamp"])
        return {"accepted": 1}

    listener, address = loopback()
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", log_level="warning", access_log=False, lifespan="off"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
        if task.done():
            task.result()
    KEPT.append(task)
    return address


async def websockets(queue: asyncio.Queue[float]) -> str:
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    async def accept(connection: ServerConnection) -> None:
        try:
            async for message in connection:
                await queue.put(json.loads(message)["timestamp"])
        except ConnectionClosed:
            # The load generator leaves without a close frame when it has had its answer.
            pass

    listener, address = loopback()
    KEPT.append(await serve(accept, sock=listener))
    return address


# What must live as long as the process does.
KEPT: list[Any] = []


class Sending:
    """Standard input, of which `send RATE SECONDS` is answered here."""

    def __init__(self, lines: Any, drive: Callable[[str, float], dict[str, Any]]) -> None:
        self.lines, self.drive = lines, drive

    def __iter__(self) -> Any:
        for line in self.lines:
            match line.split():
                case ["send", rate, seconds]:
                    print(json.dumps(self.drive(rate, float(seconds))), flush=True)
                case _:
                    yield line


def pin(cpu: int, pid: int = 0) -> None:
    """All threads that a process has so far; those that they start stay there."""
    for task in Path(f"/proc/{pid or os.getpid()}/task").iterdir():
        os.sched_setaffinity(int(task.name), {cpu})


def put_into(events: Any, orders: Any, answers: Any, cpu: int) -> None:
    """The producing process of the multiprocessing queue."""
    pin(cpu)

    def send(bodies: list[bytes]) -> None:
        for body in bodies:
            events.put(body)

    bodies = Bodies()
    while (order := orders.get()) is not None:
        answers.put(drive(bodies, send, *order))


def queue(place: str) -> None:
    producer_cpu, consumer_cpu, _ = place.split(maxsplit=2)
    context = multiprocessing.get_context("spawn")
    events, orders, answers = context.Queue(16384), context.Queue(), context.Queue()
    producer = context.Process(target=put_into, args=(events, orders, answers, int(producer_cpu)), daemon=True)
    producer.start()
    pin(int(consumer_cpu))
    samples = Samples()

    def order(rate: str, seconds: float) -> dict[str, Any]:
        orders.put((rate, seconds))
        told: dict[str, Any] = answers.get()
        return told

    def take() -> None:
        # Without a timeout: with one each takes a selector to look at the pipe first.
        body = events.get()
        if body is not None:
            samples.add_bodies([body])

    sys.stdin = Sending(sys.stdin, order)  # type: ignore[assignment]
    samples.run(take, {"producer": producer.pid, "consumer": os.getpid()}, end=lambda: events.put(None))
    orders.put(None)
    producer.join()


RAY_STARTS = 3
RAY_CALLS = 64
# For a machine that is busy, or slow; Ray's own limit is 30.
RAY_PATIENCE_SECONDS = 120


def start_ray(work: str) -> Any:
    """Ray with an actor that answers, or `RuntimeError` after a few attempts."""
    os.environ |= {
        "RAY_raylet_start_wait_time_s": str(RAY_PATIENCE_SECONDS),
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(RAY_PATIENCE_SECONDS),
        # It is stopped while other rows run, and must not take that for the death of its parts.
        "RAY_health_check_failure_threshold": "100000",
        "RAY_health_check_timeout_ms": "600000",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
    }
    import ray

    @ray.remote(num_cpus=0)
    class Deliveries:
        def __init__(self, cpu: int) -> None:
            pin(cpu)
            self.samples = Samples()

        def pid(self) -> int:
            return os.getpid()

        def deliver_batch(self, bodies: list[bytes]) -> None:
            self.samples.add_bodies(bodies)

        def begin(self) -> None:
            self.samples.begin()

        def report(self) -> dict[str, Any]:
            return self.samples.told(self.samples.all_ns())

    producer_cpu, consumer_cpu, folder = work.split(maxsplit=2)
    reasons = []
    for attempt in range(RAY_STARTS):
        try:
            ray.init(
                num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
                object_store_memory=100 << 20, _temp_dir=f"{folder}/ray{attempt}",
            )
            actor = Deliveries.remote(int(consumer_cpu))
            pid = ray.get(actor.pid.remote(), timeout=RAY_PATIENCE_SECONDS)
            pin(int(producer_cpu))
            return ray, actor, pid
        except Exception as error:  # whatever stops it: the row then says so  # pylint: disable=broad-exception-caught
            reasons.append(f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given'}")
            ray.shutdown()
    raise RuntimeError(f"Ray did not start in {RAY_STARTS} attempts of up to {RAY_PATIENCE_SECONDS} s: {reasons[-1]}")


def ray_actor(work: str) -> None:
    try:
        ray, actor, consumer = start_ray(work)
    except (ImportError, RuntimeError) as error:
        print(json.dumps({"unavailable": str(error)}), flush=True)
        return
    under_way: collections.deque[Any] = collections.deque()

    def send(bodies: list[bytes]) -> None:
        under_way.append(actor.deliver_batch.remote(bodies))
        if len(under_way) > RAY_CALLS:
            ray.get(under_way.popleft())

    made = Bodies()
    print(json.dumps({"ready": True, "producer": os.getpid(), "consumer": consumer}), flush=True)
    for line in sys.stdin:
        told: dict[str, Any] = {}
        match line.split():
            case ["begin"]:
                ray.get(actor.begin.remote())
            case ["send", rate, seconds]:
                told = drive(made, send, rate, float(seconds))
            case ["settle", _, _]:
                # Calls of one caller come in their order: when the last has returned all have.
                ray.get(list(under_way))
                under_way.clear()
            case ["report", _, _]:
                told = ray.get(actor.report.remote())
        print(json.dumps(told), flush=True)
    ray.shutdown()


def main() -> None:
    kind, address = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    match kind:
        case "nats" | "jetstream":
            uvloop.run(nats(address, kind == "jetstream"))
        case "fastapi":
            uvloop.run(in_one_process(fastapi))
        case "websockets":
            uvloop.run(in_one_process(websockets))
        case _:
            {"axum": axum, "redis": redis, "zeromq": zeromq, "queue": queue, "ray": ray_actor}[kind](address)


if __name__ == "__main__":
    main()
