"""A service that stalls must show in what the Python reader measures, though nobody was sending meanwhile.

The client sends at times that were fixed beforehand, so how many events must be slow does not depend on the machine.
Run by scripts/check-perf.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from measure.consumer import Consumer
from measure.process import Running, Service, binary, start_service

PERF = Path(__file__).resolve().parents[1]
RATE = 1_000
PATIENCE = 60


@pytest.fixture
def running() -> Iterator[Running]:
    with Running() as processes:
        yield processes


@pytest.fixture
def service(running: Running, tmp_path: Path) -> Service:
    return start_service(running, tmp_path / "log", "--log-bytes", str(16 << 20), cpu=None)


def reader_of(running: Running, service: Service) -> Consumer:
    command = [sys.executable, str(PERF / "reader.py"), str(service.shm_dir)]
    reader = Consumer(running.start(command, None, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    reader.ask("begin")
    return reader


def start_load(running: Running, service: Service, seconds: float, wire: str) -> Any:
    command = [
        binary("jimbot-load"), "--target", service.address, "--wire", wire, "--connections", "8", "--rate", str(RATE),
        "--seconds", str(seconds), "--warm-up", "0", "--json",
    ]
    return running.start(command, None, stdout=subprocess.PIPE, text=True)


def stall(service: Service, seconds: float) -> None:
    service.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    service.process.send_signal(signal.SIGCONT)


def slower_than(latency: dict[str, Any], ms: float) -> int:
    return sum(count for edge, count in latency["histogram_ns"] if edge >= ms * 1e6)


@pytest.mark.parametrize("wire", ["ws", "http"])
def test_the_reader_does_not_see_a_stall(running: Running, service: Service, wire: str) -> None:
    reader = reader_of(running, service)
    load = start_load(running, service, 2.0, wire)
    reader.ask(f"report 200 {PATIENCE}")
    stall(service, 0.3)
    told = json.loads(load.communicate()[0])
    assert load.returncode == 0

    sent = told["events_sent"]
    seen = reader.ask(f"report {sent} {PATIENCE}")
    assert seen["count"] == sent
    # 300 events fell due in the stall, and those of its first 250 ms waited for 50 at least. From a client that sleeps as
    # long as the service does, a handful would be slow.
    assert slower_than(seen, 50) >= 200
    assert seen["max_us"] >= 290e3
    assert seen["p90_us"] >= 50e3


def test_the_reader_does_not_see_a_stall_at_the_end(running: Running, service: Service) -> None:
    reader = reader_of(running, service)
    load = start_load(running, service, 1.0, "ws")
    reader.ask(f"report 200 {PATIENCE}")
    # Goes on until long after the last event was due.
    stall(service, 1.5)
    told = json.loads(load.communicate()[0])
    assert load.returncode == 0

    sent = told["events_sent"]
    assert sent + told["unsent"] == RATE
    seen = reader.ask(f"report {sent} {PATIENCE}")
    assert seen["count"] == sent
    assert seen["max_us"] >= 1_000e3
    assert slower_than(seen, 500) >= 500
