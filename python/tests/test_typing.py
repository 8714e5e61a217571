"""The types that users see: strict in themselves, equal to what the native module has, and useful."""

import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

PROGRAM = """
from jimbot.mcp import Batch, Reader, Overrun, send_command

def main() -> None:
    with Reader("/dev/shm/jimbot-mcp", name="t", guarantee="reliable", start="earliest", shard=(0, 4)) as reader:
        for batch in reader:
            reveal_type(batch)
            reveal_type(batch.index)
            reveal_type(batch.payload)
            reveal_type(reader.lag)
            for event in batch.events():
                reveal_type(event)
            kept: Batch = batch.copy()
    send_command("select_card", position=3)

async def wait() -> None:
    async with Reader(timeout=1.0) as reader:
        async for batch in reader:
            reveal_type(batch)

Reader(guarantee="sometimes")
Reader(start=None)
"""

BUS_PROGRAM = """
from jimbot.mcp.bus import AsyncEventBusClient, EventBusClient
from jimbot.proto.base_pb2 import Event

def main() -> None:
    with EventBusClient("http://127.0.0.1:50051") as bus, bus.subscribe("game.>", durable="d") as subscription:
        for received in subscription:
            reveal_type(received.event)
        for delivery in subscription.deliveries():
            reveal_type(delivery.positions)
        reveal_type(bus.publish([Event()], ack="fsynced"))
        with bus.publisher() as publisher:
            reveal_type(publisher.send(Event()))
        reveal_type(next(bus.history()))

async def wait() -> None:
    async with AsyncEventBusClient() as bus, bus.subscribe() as subscription, bus.publisher() as publisher:
        async for received in subscription:
            reveal_type(received)
        reveal_type(await publisher.send(Event()))
        reveal_type(await bus.publish(Event()))

EventBusClient().subscribe(start="newest")
EventBusClient().publish("text", ack="soon")
"""


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=PACKAGE, capture_output=True, text=True, **options
    )


def test_the_package_passes_strictly():
    told = run("mypy", "--strict", "-p", "jimbot.mcp")
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_stub_is_what_the_native_module_has():
    told = run("mypy.stubtest", "jimbot.mcp._native", "--allowlist", "tests/stubtest-allowlist.txt", "--ignore-unused-allowlist")
    assert told.returncode == 0, told.stdout + told.stderr


def test_a_program_sees_the_types(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    told = run("mypy", "--strict", str(program))
    revealed = [line.partition('Revealed type is "')[2].rstrip('"') for line in told.stdout.splitlines() if "Revealed" in line]
    assert revealed[0] == revealed[-1] == "jimbot.mcp.batch.Batch"
    assert "ndarray" in revealed[1]
    assert "memoryview" in revealed[2]
    assert revealed[3].endswith("int")
    assert revealed[4].endswith("base_pb2.Event")
    errors = [line for line in told.stdout.splitlines() if "error:" in line]
    assert len(errors) == 2 and 'sometimes' in errors[0] and "None" in errors[1], told.stdout


def test_a_program_sees_the_types_of_the_bus(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(BUS_PROGRAM)
    told = run("mypy", "--strict", str(program))
    revealed = [line.partition('Revealed type is "')[2].rstrip('"') for line in told.stdout.splitlines() if "Revealed" in line]
    for found, expected in zip(
        revealed,
        ["base_pb2.Event", "Sequence[int]", "PublishResult", "Future[", "StoredEvent", "ReceivedEvent", "Future[", "PublishResult"],
        strict=True,
    ):
        assert expected in found.replace("builtins.", ""), (found, expected)
    errors = [line for line in told.stdout.splitlines() if "error:" in line]
    assert len(errors) == 3 and "start" in errors[0] and "str" in errors[1] and "ack" in errors[2], told.stdout
