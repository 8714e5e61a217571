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
