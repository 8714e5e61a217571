"""The Python processes at the end of the peers' paths: consume.py KIND ADDRESS

Each has an event's bytes in hand and its time read from them, in the cheapest way that the peer's own Python library
offers; nobody parses a body here but the servers that must. `measure.consumer` says how they are spoken to.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402
from measure.consumer import Samples, sent_ns  # noqa: E402

WAIT_SECONDS = 0.2


def take_all(samples: Samples, bodies: list[bytes]) -> None:
    samples.add(np.array([sent_ns(body) for body in bodies], dtype=np.int64))


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
        samples.add((np.array(times) * 1e6).astype(np.int64))

    samples.run(take)


def redis(address: str) -> None:
    import redis as client

    host, _, port = address.rpartition(":")
    connection, samples = client.Redis(host, int(port)), Samples()
    last: bytes | str = "$"

    def take() -> None:
        nonlocal last
        for _, entries in connection.xread({"events": last}, count=1024, block=int(WAIT_SECONDS * 1e3)) or []:
            take_all(samples, [entry[b"e"] for _, entry in entries])
            last = entries[-1][0]
        if not samples.active:
            last = "$"

    samples.run(take)


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
        take_all(samples, bodies)

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
        samples.add_one(sent_ns(message.data))

    if stored:
        stream = connection.jetstream()
        await stream.add_stream(name="stored", subjects=["stored"], max_msgs=400_000, storage="file")
        await stream.subscribe("stored", cb=take, ordered_consumer=True, pending_msgs_limit=-1, pending_bytes_limit=-1)
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
            samples.add((np.array(times) * 1e6).astype(np.int64))

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


def with_producer(samples: Samples, drive: Callable[[str, float], dict[str, Any]], take: Callable[[], None]) -> None:
    """For peers whose producer and consumer are made by one program: `send` is understood too."""
    sys.stdin = Sending(sys.stdin, drive)  # type: ignore[assignment]
    samples.run(take)


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


def small_template() -> Any:
    from measure.process import binary
    from produce import Template

    return Template(subprocess.run([binary("jimbot-load"), "--print", "1"], capture_output=True, check=True).stdout.strip())


def put_into(events: Any, orders: Any, answers: Any) -> None:
    """The producing process of the multiprocessing queue."""
    from produce import drive

    def send(bodies: list[bytes]) -> None:
        for body in bodies:
            events.put(body)

    template = small_template()
    while (order := orders.get()) is not None:
        answers.put(drive(template, send, *order))


def queue(_address: str) -> None:
    import queue as standard

    context = multiprocessing.get_context("spawn")
    events, orders, answers = context.Queue(16384), context.Queue(), context.Queue()
    producer = context.Process(target=put_into, args=(events, orders, answers), daemon=True)
    producer.start()
    samples = Samples()

    def order(rate: str, seconds: float) -> dict[str, Any]:
        orders.put((rate, seconds))
        told: dict[str, Any] = answers.get()
        return told

    def take() -> None:
        try:
            samples.add_one(sent_ns(events.get(timeout=WAIT_SECONDS)))
        except standard.Empty:
            pass

    with_producer(samples, order, take)
    orders.put(None)
    producer.join()


def main() -> None:
    kind, address = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    match kind:
        case "nats" | "jetstream":
            asyncio.run(nats(address, kind == "jetstream"))
        case "fastapi":
            asyncio.run(in_one_process(fastapi))
        case "websockets":
            asyncio.run(in_one_process(websockets))
        case _:
            {"axum": axum, "redis": redis, "zeromq": zeromq, "queue": queue}[kind](address)


if __name__ == "__main__":
    main()
